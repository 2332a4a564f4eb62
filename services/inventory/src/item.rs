//! What the shop owner says of an item, and which version of it was seen before.

use quadrille_events::{Currency, Item, Money, Tag};

/// The fields of an item that a command sets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ItemChange {
    pub name: Option<String>,
    pub description: Option<String>,
    pub price: Option<Money>,
    pub currency: Option<Currency>,
    pub quantity: Option<u64>,
    pub tags: Option<Vec<Tag>>,
}

/// The version on which a command is to take effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// None is named.
    Nothing,
    /// There is no such item yet.
    Absent,
    /// There is such an item, in whichever version.
    Any,
    /// One of these.
    Versions(Vec<u64>),
}

impl ItemChange {
    /// Whether only the quantity is set.
    pub fn is_quantity_alone(&self) -> bool {
        let quantity = self.quantity;
        quantity.is_some()
            && *self
                == Self {
                    quantity,
                    ..Self::default()
                }
    }

    /// The item that has these fields and no others, or the name of the first field that is missing.
    pub fn whole(&self) -> Result<Item, &'static str> {
        Ok(Item {
            name: self.name.clone().ok_or("name")?,
            description: self.description.clone().unwrap_or_default(),
            price: self.price.ok_or("price")?,
            currency: self.currency.ok_or("currency")?,
            quantity: self.quantity.ok_or("quantity")?,
            tags: self.tags.clone().unwrap_or_default(),
            photo: None,
        })
    }

    /// The item with these fields changed.
    pub fn applied_to(&self, item: Item) -> Item {
        Item {
            name: self.name.clone().unwrap_or(item.name),
            description: self.description.clone().unwrap_or(item.description),
            price: self.price.unwrap_or(item.price),
            currency: self.currency.unwrap_or(item.currency),
            quantity: self.quantity.unwrap_or(item.quantity),
            tags: self.tags.clone().unwrap_or(item.tags),
            photo: item.photo,
        }
    }
}
