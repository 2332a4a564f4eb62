//! The items of the shop that `run-all` opens with, and the prices at which tools and tests list and order items.

use quadrille_events::Money;
use serde::Serialize;

use crate::picture::picture;

/// An item to be listed, in euro cents.
#[derive(Clone, Debug, Serialize)]
pub struct ShopItem {
    /// The id of the item.
    #[serde(skip)]
    pub item_id: String,
    /// The name of the item.
    pub name: String,
    /// A sentence about the item.
    pub description: String,
    /// The price of one, in minor units.
    pub price: Money,
    /// ISO 4217.
    pub currency: &'static str,
    /// How many there are.
    pub quantity: u64,
    /// What kind of item it is.
    pub tags: Vec<String>,
}

/// Id, name, price, tags and description of each item of the shop.
const SHOP: [(&str, &str, Money, &[&str], &str); 12] = [
    (
        "apple",
        "Apple",
        250,
        &["fruit"],
        "A kilogram of red apples from the valley.",
    ),
    (
        "pear",
        "Pear",
        90,
        &["fruit"],
        "One pear, ripe on the day of delivery.",
    ),
    ("plum", "Plum", 45, &["fruit"], "One plum, dark blue and sweet."),
    (
        "bread",
        "Rye bread",
        320,
        &["bakery"],
        "A loaf of rye bread, baked in the morning.",
    ),
    ("roll", "Roll", 60, &["bakery"], "A crisp wheat roll."),
    (
        "cake",
        "Apple cake",
        1_800,
        &["bakery", "fruit"],
        "A whole cake of twelve pieces.",
    ),
    (
        "milk",
        "Milk",
        140,
        &["dairy"],
        "A litre of whole milk in a glass bottle.",
    ),
    (
        "butter",
        "Butter",
        290,
        &["dairy"],
        "A quarter of a kilogram, lightly salted.",
    ),
    (
        "cheese",
        "Mountain cheese",
        650,
        &["dairy"],
        "A piece of cheese, aged for ten months.",
    ),
    (
        "honey",
        "Honey",
        780,
        &["pantry"],
        "A jar of honey from the bees on the roof.",
    ),
    (
        "coffee",
        "Coffee",
        990,
        &["pantry"],
        "A bag of whole beans, roasted this week.",
    ),
    (
        "teapot",
        "Teapot",
        4_900,
        &["kitchen"],
        "A teapot of white china for six cups.",
    ),
];

/// The degrees of all hues.
const FULL_CIRCLE: usize = 360;

/// The price of an item that is not in the shop's list, such as those that tests make up.
const OTHER_PRICE: Money = 100;

/// The items that `run-all` lists, with this quantity of each.
pub fn items(quantity: u64) -> Vec<ShopItem> {
    SHOP.iter()
        .map(|(item_id, ..)| ShopItem::new(item_id, quantity))
        .collect()
}

/// The price at which an item is listed and ordered, in euro cents.
pub fn price(item_id: &str) -> Money {
    let known = SHOP.iter().find(|(known, ..)| *known == item_id);
    known.map_or(OTHER_PRICE, |(_, _, price, ..)| *price)
}

impl ShopItem {
    /// An item at its usual price. One that is not in the shop's list is named by its id.
    pub fn new(item_id: &str, quantity: u64) -> Self {
        let known = SHOP.iter().find(|(known, ..)| *known == item_id);
        let (name, tags, description) =
            known.map_or((item_id, &[][..], ""), |known| (known.1, known.3, known.4));
        Self {
            item_id: item_id.to_owned(),
            name: name.to_owned(),
            description: description.to_owned(),
            price: price(item_id),
            currency: "EUR",
            quantity,
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        }
    }

    /// A photo of the item. Those of the shop's list have different colours.
    pub fn photo(&self) -> Vec<u8> {
        let known = SHOP.iter().position(|(known, ..)| *known == self.item_id);
        let hues = FULL_CIRCLE / SHOP.len();
        picture(u16::try_from(known.unwrap_or_default() * hues).unwrap_or_default())
    }

    /// At another price.
    #[must_use]
    pub fn at(mut self, price: Money) -> Self {
        self.price = price;
        self
    }
}
