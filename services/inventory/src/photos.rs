//! Photos of items: what is accepted as one, where the bytes are, and how those are removed that no item refers to.
//!
//! The bytes are stored first, under their digest, and only then does inventory say that the item has this photo. An upload that is
//! interrupted in between leaves bytes that nothing refers to; so does a photo that is replaced or withdrawn. The sweep removes them.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use imagesize::ImageType;
use quadrille_events::{ItemId, ItemListed, ItemPhoto, PHOTOS};
use quadrille_runtime::http::{Id, Problem, is_known};
use quadrille_runtime::{COMMAND_TIMEOUT, Door, ObjectInfo, Objects, PUT_TIMEOUT, Removals};
use serde::Serialize;
use tracing::{info, warn};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::{InventoryService, SHORTEST_GRACE};

/// The largest photo in bytes: a good photo for a page of a shop is a tenth of it.
pub const MAX_PHOTO: usize = 2 * 1024 * 1024;

/// The most pixels of a side. A browser needs four bytes for each pixel, however few the file has.
pub const MAX_SIDE: usize = 8_192;

const _: () = assert!(PUT_TIMEOUT.as_secs() + COMMAND_TIMEOUT.as_secs() < SHORTEST_GRACE.as_secs());

/// How many sweeps there are at least within the grace, so that nothing is kept much longer than that.
const SWEEPS: u32 = 4;

/// The items that a sweep reads at once.
const PAGE: usize = 100;

/// What a client may do with a photo: the bytes of a digest never change.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

pub fn routes(door: Door<InventoryService>) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(photo)).with_state(door)
}

/// The digest of a photo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
struct PhotoDigest(String);

impl FromStr for PhotoDigest {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == 64 && text.bytes().all(is_digit) {
            return Ok(Self(text.to_owned()));
        }
        Err("must be a SHA-256 digest: 64 hexadecimal digits, in lower case")
    }
}

/// What an item would say of a photo with these bytes, or why they are none.
pub fn described(bytes: &[u8]) -> Result<ItemPhoto, Problem> {
    let media_type = match imagesize::image_type(bytes) {
        Ok(ImageType::Jpeg) => "image/jpeg",
        Ok(ImageType::Png) => "image/png",
        Ok(ImageType::Webp) => "image/webp",
        Ok(_) | Err(_) => {
            let detail = "a photo must be JPEG, PNG or WebP; the bytes are none of these";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
    };
    let size = imagesize::blob_size(bytes)
        .map_err(|error| Problem::invalid("photo", format!("is a damaged {media_type}: {error}")))?;
    let (width, height) = (size.width, size.height);
    if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
        let detail = format!("each side must have 1 to {MAX_SIDE} pixels, not {width} by {height}");
        return Err(Problem::invalid("photo", detail));
    }
    let ObjectInfo {
        digest,
        media_type,
        size,
    } = Objects::describe(media_type, bytes);
    Ok(ItemPhoto {
        digest,
        media_type,
        size,
    })
}

pub fn bucket(door: &Door<InventoryService>) -> Objects {
    door.objects(PHOTOS)
}

/// The path at which the bytes are served.
pub fn path(photo: &ItemPhoto) -> String {
    format!("/inventory/photos/{}", photo.digest)
}

/// Serves the bytes of a photo. They never change: another photo has another digest.
#[utoipa::path(get, path = "/inventory/photos/{digest}", tag = "inventory",
    params(
        ("digest" = PhotoDigest, Path, description = "The SHA-256 digest of the bytes.",
            example = "90c3ca66a8ecd8f3fd7f7f9a3ea6d9b5a1d6e1b6a0d2d3c1c9f7a3f0b2f6e4d8"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of what the client has."),
    ),
    responses(
        (status = 200, description = "The bytes.", headers(
            ("ETag" = String, description = "The digest."),
            ("Cache-Control" = String, description = "For a year, and immutable."),
            ("X-Content-Type-Options" = String, description = "`nosniff`"),
        ), content((Vec<u8> = "image/jpeg"), (Vec<u8> = "image/png"), (Vec<u8> = "image/webp"))),
        (status = 304, description = "The client has it.", headers(("ETag" = String, description = "The digest."))),
        (status = 404, description = "There is no such photo, or no item has it any more.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn photo(
    Shared(door): Shared<Door<InventoryService>>,
    Id(PhotoDigest(digest)): Id<PhotoDigest>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let none = || Problem::not_found(format!("there is no photo {digest}"));
    let caching = [
        (header::ETAG, format!("\"{digest}\"")),
        (header::CACHE_CONTROL, IMMUTABLE.to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    if is_known(&headers, &digest) {
        bucket(&door).info(&digest).await?.ok_or_else(none)?;
        return Ok((StatusCode::NOT_MODIFIED, caching).into_response());
    }
    let object = bucket(&door).get(&digest).await?.ok_or_else(none)?;
    let kind = [(header::CONTENT_TYPE, object.info.media_type)];
    Ok((caching, kind, object.bytes).into_response())
}

/// Sweeps again and again, until the service stops.
pub fn keep_swept(door: &Door<InventoryService>) {
    let grace = door.service().photo_grace;
    door.repeat(grace / SWEEPS, move |door| async move {
        match sweep(&door, grace).await {
            Ok(Removals {
                objects: 0,
                uploads: 0,
            }) => {}
            Ok(Removals { objects, uploads }) => {
                info!(
                    photos = objects,
                    uploads, "removed photos that no item has, and interrupted uploads"
                );
            }
            Err(problem) => warn!(%problem, "photos that no item has are not removed now"),
        }
    });
}

async fn sweep(door: &Door<InventoryService>, grace: Duration) -> Result<Removals, Problem> {
    let used = async || photos_of_items(door).await;
    bucket(door).remove_unused(grace, used).await
}

/// The digests of the photos of all items.
async fn photos_of_items(door: &Door<InventoryService>) -> Result<BTreeSet<String>, Problem> {
    let (mut digests, mut next) = (BTreeSet::new(), Some(0));
    while let Some(after) = next {
        let page = door.page::<ItemListed>(after, PAGE).await?;
        next = page.next;
        let ids: Vec<ItemId> = page.ids.into_iter().map(|(item_id, _)| item_id).collect();
        let states = door.states(&ids).await?;
        let photos = states.iter().filter_map(|state| state.item()?.1.photo.as_ref());
        digests.extend(photos.map(|photo| photo.digest.clone()));
    }
    Ok(digests)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The head of a PNG of this size.
    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        bytes.extend([width.to_be_bytes(), height.to_be_bytes()].concat());
        bytes.extend([0; 16]);
        bytes
    }

    fn status(bytes: &[u8]) -> u16 {
        described(bytes).map_or_else(|problem| problem.status, |_| 200)
    }

    #[test]
    fn photos_are_recognized_by_their_content() {
        let photo = described(&png(640, 480)).unwrap();
        assert_eq!((photo.media_type.as_str(), photo.size), ("image/png", 40));
        let jpeg = b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x10\x00\x20\x03";
        assert_eq!(described(jpeg).unwrap().media_type, "image/jpeg");
        let webp = b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\x0f\xc0\x03\0\0\0\0\0\0";
        assert_eq!(described(webp).unwrap().media_type, "image/webp");
        for other in [
            &b"GIF89a\x01\0\x01\0"[..],
            b"",
            b"<svg/>",
            b"%PDF-1.7",
            b"\x89PN",
            b"RIFF",
        ] {
            assert_eq!(status(other), 415, "{other:?}");
        }
    }

    #[test]
    fn damaged_and_huge_photos_are_refused() {
        for damaged in [
            &png(640, 480)[..20],
            b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01",
            &png(0, 480),
        ] {
            assert_eq!(status(damaged), 422, "{damaged:?}");
        }
        let side = u32::try_from(MAX_SIDE).unwrap();
        assert_eq!(status(&png(side, side)), 200);
        assert_eq!(status(&png(side + 1, 1)), 422);
        assert_eq!(status(&png(1, u32::MAX)), 422);
    }
}
