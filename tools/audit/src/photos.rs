//! The photos of items, and what is wrong with their stored bytes.

use std::collections::BTreeMap;

use quadrille_events::{Body, Event, ItemId, ItemPhoto, ItemUpdated, PHOTOS};
use quadrille_runtime::ObjectError;
use quadrille_runtime::operator::Operator;

use crate::prices::item_of;
use crate::report::Found;

/// The photo of each item, in its newest version.
pub(crate) type ItemPhotos = BTreeMap<ItemId, (u64, Option<ItemPhoto>)>;

/// Keeps what an event says of the photo of an item, unless a newer version is known.
pub(crate) fn file_photo(event: &Event, photos: &mut ItemPhotos) {
    let Some((item_id, version, item)) = item_of(event) else {
        return;
    };
    let (newest, photo) = photos.entry(item_id.clone()).or_default();
    if version > *newest {
        (*newest, *photo) = (version, item.photo.clone());
    }
}

/// Reads the bytes of all photos, one after the other, and returns what is wrong with them.
pub(crate) async fn wrong_photos(operator: &Operator, photos: &ItemPhotos) -> anyhow::Result<Found> {
    if photos.is_empty() {
        return Ok(Found::new());
    }
    let replicas = operator.replicas(ItemUpdated::NAME.service).await?;
    let objects = operator.objects(PHOTOS, replicas);
    let mut found = Found::new();
    for (item_id, (_, photo)) in photos {
        let Some(photo) = photo else { continue };
        let ItemPhoto {
            digest,
            media_type,
            size,
        } = photo;
        match objects.get(digest).await {
            Ok(Some(object))
                if object.info.media_type != *media_type || object.bytes.len() as u64 != *size =>
            {
                found.push(format!(
                    "item {item_id} has a photo of {size} bytes, {media_type}, and {digest} has {} bytes, {}",
                    object.bytes.len(),
                    object.info.media_type
                ));
            }
            Ok(Some(_)) => {}
            Ok(None) => found.push(format!(
                "item {item_id} has the photo {digest}, which is not stored"
            )),
            Err(error @ ObjectError::Damaged(_)) => found.push(format!("item {item_id}: {error}")),
            Err(error @ ObjectError::Unavailable(_)) => return Err(error.into()),
        }
    }
    Ok(found)
}
