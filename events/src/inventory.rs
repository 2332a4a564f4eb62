//! The events of the inventory service.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Currency, ItemId, Money, Order, Tag};

crate::said! {
    /// Everything that the inventory service says about orders and items.
    InventoryEvent by "inventory" {
        /// Stock is reserved for every line of the order.
        Reserved(Reserved) = "reserved" => "inventory.reserved" undone by "released",
        /// Nothing is reserved, because not all lines could be reserved.
        ReservationFailed(ReservationFailed) = "reservation-failed" => "inventory.reservation.failed" with reason,
        /// The reserved stock is available again.
        Released(Released) = "released" => "inventory.released" for outside,
        /// The shop offers the item. Said once: what changes afterwards is told by `item.updated`.
        ItemListed(ItemListed) = "listed" => "item.listed" about item_id: ItemId,
        /// The shop owner has changed the item: its price, its texts, or how many there are. Carries the whole item.
        ItemUpdated(ItemUpdated) = "updated" => "item.updated" about item_id: ItemId as latest,
        /// The item is not offered any more. Final.
        ItemWithdrawn(ItemWithdrawn) = "withdrawn" => "item.withdrawn" about item_id: ItemId,
    }
}

/// `inventory.reserved`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Reserved {
    /// The order.
    pub order: Arc<Order>,
}

/// `inventory.reservation.failed`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ReservationFailed {
    /// The order.
    pub order: Arc<Order>,
    /// Why not all lines could be reserved, in words for the customer.
    pub reason: String,
}

/// `inventory.released`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Released {
    /// The order.
    pub order: Arc<Order>,
}

/// The longest name of an item, in bytes: a line of a list.
pub const MAX_ITEM_NAME: usize = 200;

/// The longest description of an item, in bytes: a page, far below the broker's `max_payload`.
pub const MAX_DESCRIPTION: usize = 4_000;

/// The most tags of an item.
pub const MAX_TAGS: usize = 16;

/// The largest quantity of one item: what every JSON reader holds exactly, as with money.
pub const MAX_QUANTITY: u64 = crate::MAX_MONEY;

/// An item as the shop owner describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Item {
    /// The name: 1 to [`MAX_ITEM_NAME`] bytes.
    #[cfg_attr(feature = "schema", schema(min_length = 1, max_length = 200))]
    pub name: String,
    /// The description, at most [`MAX_DESCRIPTION`] bytes; may be empty.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(max_length = 4_000))]
    pub description: String,
    /// The price of one piece, in minor units.
    #[cfg_attr(feature = "schema", schema(value_type = u64, minimum = 1, maximum = 9_007_199_254_740_991_u64))]
    pub price: Money,
    /// The currency of the price: ISO 4217.
    #[cfg_attr(feature = "schema", schema(value_type = String, pattern = "^[A-Z]{3}$"))]
    pub currency: Currency,
    /// How many pieces there were when the event was said, reserved ones among them; at most [`MAX_QUANTITY`]. What orders do to
    /// the stock is told by the events about orders.
    #[cfg_attr(feature = "schema", schema(maximum = 9_007_199_254_740_991_u64))]
    pub quantity: u64,
    /// At most [`MAX_TAGS`] tags.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(max_items = 16))]
    pub tags: Vec<Tag>,
    /// The photo, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub photo: Option<ItemPhoto>,
}

/// The bucket of JetStream's Object Store with the bytes of all photos, each under its digest.
pub const PHOTOS: &str = "photos";

/// The photo of an item. Its bytes are in the Object Store bucket `photos`, under the digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ItemPhoto {
    /// The SHA-256 digest of the bytes, in hexadecimal digits.
    #[cfg_attr(feature = "schema", schema(pattern = "^[0-9a-f]{64}$"))]
    pub digest: String,
    /// The media type: `image/jpeg`.
    #[cfg_attr(feature = "schema", schema(max_length = 64))]
    pub media_type: String,
    /// The number of bytes.
    pub size: u64,
}

/// `item.listed`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ItemListed {
    /// The id of the item.
    pub item_id: ItemId,
    /// The version of the item: 1.
    pub version: u64,
    /// The item.
    pub item: Arc<Item>,
}

/// `item.updated`
///
/// A listener that hears the versions of an item in another order keeps the one with the largest number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ItemUpdated {
    /// The id of the item.
    pub item_id: ItemId,
    /// The version of the item: one more with each event about it.
    pub version: u64,
    /// The item after the change.
    pub item: Arc<Item>,
}

/// `item.withdrawn`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ItemWithdrawn {
    /// The id of the item.
    pub item_id: ItemId,
    /// The version of the item: one more than that of the event before.
    pub version: u64,
    /// The item as it was offered last, without its photo: the bytes of that are removed.
    pub item: Arc<Item>,
}
