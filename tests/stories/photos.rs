//! Photos of items: put, served, replaced, taken away; what is no photo; uploads that are interrupted; and what the sweep removes.

use std::collections::BTreeMap;

use futures::future::{join, join_all};
use quadrille_events::{Body, ItemUpdated, PHOTOS};
use quadrille_local::Service::Inventory;
use quadrille_local::picture::picture;
use quadrille_local::shop::ShopItem;
use quadrille_runtime::nats::Broker;
use quadrille_tests::{PATIENCE, World, eventually};
use reqwest::Method;
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The largest photo.
const MAX_PHOTO: usize = 2 * 1024 * 1024;

/// The shortest `PHOTO_GRACE` that is accepted.
const GRACE: &str = "30s";

/// An answer whose body may be a photo.
struct PhotoReply {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl PhotoReply {
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    #[track_caller]
    fn expect(self, status: u16) -> Self {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!(
            self.status,
            status,
            "{}",
            body.chars().take(500).collect::<String>()
        );
        self
    }
}

/// Sends a request to inventory, to the next instance each time. Redirects are answers.
async fn ask(
    world: &World,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> PhotoReply {
    let url = format!("{}{path}", world.api().url(Inventory));
    ask_at(method, url, headers, body).await.unwrap()
}

async fn ask_at(
    method: Method,
    url: String,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> reqwest::Result<PhotoReply> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .build()?;
    let mut request = client.request(method, url).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await?;
    Ok(PhotoReply {
        status: answer.status().as_u16(),
        headers: answer.headers().clone(),
        body: answer.bytes().await?.to_vec(),
    })
}

async fn get(world: &World, path: &str) -> PhotoReply {
    ask(world, Method::GET, path, &[], Vec::new()).await
}

fn photo_of(item_id: &str) -> String {
    format!("/inventory/items/{item_id}/photo")
}

/// Puts a photo, whatever version the item has.
async fn put(world: &World, item_id: &str, photo: &[u8]) -> PhotoReply {
    let any = [("If-Match", "*")];
    ask(world, Method::PUT, &photo_of(item_id), &any, photo.to_vec()).await
}

/// Where the photo of an item is.
async fn place(world: &World, item_id: &str) -> String {
    let redirect = get(world, &photo_of(item_id)).await.expect(302);
    redirect.header("location").to_owned()
}

/// A picture that is as large as a photo may be; its bytes depend on `number`.
fn large(number: u16) -> Vec<u8> {
    let mut photo = picture(number);
    photo.resize(MAX_PHOTO - 2, 0);
    photo.extend(number.to_be_bytes());
    photo
}

/// What the bucket holds: objects, and versions of which there are chunks.
async fn stored(broker: &Broker) -> (usize, usize) {
    #[derive(Deserialize)]
    struct BucketInfo {
        state: BucketState,
    }
    #[derive(Deserialize)]
    struct BucketState {
        #[serde(default)]
        subjects: BTreeMap<String, u64>,
    }
    let count = async |filter: &str| {
        let request = json!({ "subjects_filter": filter });
        let info: Result<BucketInfo, _> = broker.ask(&format!("STREAM.INFO.OBJ_{PHOTOS}"), &request).await;
        // There is no bucket before the first photo.
        info.map_or(0, |info| info.state.subjects.len())
    };
    (count("$O.photos.M.>").await, count("$O.photos.C.>").await)
}

#[tokio::test]
async fn a_photo_is_put_served_replaced_and_taken_away() {
    let world = World::start().await.unwrap();
    let (red, green) = (picture(0), picture(120));
    get(&world, &photo_of("apple")).await.expect(404);
    let listed = ask(&world, Method::GET, "/inventory/items/apple", &[], Vec::new()).await;
    let tag = listed.header("etag").to_owned();

    // The content decides what it is, not the header.
    let headers = [("If-Match", tag.as_str()), ("Content-Type", "text/plain")];
    let put_red = ask(&world, Method::PUT, &photo_of("apple"), &headers, red.clone()).await;
    let put_red = put_red.expect(200);
    let view = put_red.json();
    assert_eq!(put_red.header("etag"), format!("\"{}\"", view["version"]));
    assert_eq!(
        (&view["photo"]["media_type"], &view["photo"]["size"]),
        (&json!("image/png"), &json!(red.len()))
    );
    let heard = eventually(async || {
        let log = world.operator.log().await?;
        let subject = ItemUpdated::NAME.subject;
        let entry = log
            .iter()
            .rfind(|entry| entry.subject == format!("{subject}.apple"));
        Ok(entry.map(|entry| serde_json::from_slice::<Value>(&entry.body).unwrap()))
    });
    assert_eq!(heard.await.unwrap()["item"]["photo"], view["photo"]);

    // The redirect is asked for each time, the bytes once.
    let redirect = get(&world, &photo_of("apple")).await.expect(302);
    assert_eq!(redirect.header("cache-control"), "no-cache");
    let path = redirect.header("location").to_owned();
    let digest = view["photo"]["digest"].as_str().unwrap();
    assert_eq!(path, format!("/inventory/photos/{digest}"));
    let served = get(&world, &path).await.expect(200);
    assert_eq!(served.body, red);
    for (name, value) in [
        ("content-type", "image/png"),
        ("etag", &format!("\"{digest}\"")),
        ("cache-control", "public, max-age=31536000, immutable"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(served.header(name), value, "{name}");
    }
    let known = [("If-None-Match", served.header("etag"))];
    let unchanged = ask(&world, Method::GET, &path, &known, Vec::new())
        .await
        .expect(304);
    assert_eq!(
        (unchanged.body.len(), unchanged.header("etag")),
        (0, served.header("etag"))
    );
    let other = [("If-None-Match", "\"other\"")];
    ask(&world, Method::GET, &path, &other, Vec::new())
        .await
        .expect(200);

    // A change needs the version, and the same photo again changes nothing.
    ask(&world, Method::PUT, &photo_of("apple"), &[], green.clone())
        .await
        .expect(428);
    let old = [("If-Match", tag.as_str())];
    ask(&world, Method::PUT, &photo_of("apple"), &old, green.clone())
        .await
        .expect(412);
    let again = ask(&world, Method::PUT, &photo_of("apple"), &old, red.clone())
        .await
        .expect(200);
    assert_eq!(again.json()["version"], view["version"]);

    // Another photo is elsewhere; a page that still shows the old one gets it.
    put(&world, "apple", &green).await.expect(200);
    let new_path = place(&world, "apple").await;
    assert_ne!(new_path, path);
    assert_eq!(get(&world, &new_path).await.expect(200).body, green);
    get(&world, &path).await.expect(200);

    // All of it is on disk.
    world.restart_nats().await.unwrap();
    let served =
        eventually(async || Ok(Some(get(&world, &new_path).await).filter(|reply| reply.status == 200)));
    assert_eq!(served.await.unwrap().body, green);
    world.audit().await.unwrap();

    ask(&world, Method::DELETE, &photo_of("apple"), &[], Vec::new())
        .await
        .expect(428);
    let any = [("If-Match", "*")];
    let without = ask(&world, Method::DELETE, &photo_of("apple"), &any, Vec::new())
        .await
        .expect(200);
    assert!(without.json()["photo"].is_null());
    get(&world, &photo_of("apple")).await.expect(404);
    ask(&world, Method::DELETE, &photo_of("griffin"), &any, Vec::new())
        .await
        .expect(404);
    world.audit().await.unwrap();
}

#[tokio::test]
async fn what_is_no_photo_is_refused_and_not_stored() {
    let world = World::start().await.unwrap();
    let broker = Broker::connect(&world.nats_url, "counter").await.unwrap();
    let mut huge = picture(0);
    huge[16..20].copy_from_slice(&8_193_u32.to_be_bytes());
    for (body, status, words) in [
        (Vec::new(), 415, "JPEG, PNG or WebP"),
        (b"GIF89a\x01\0\x01\0\0\0\0".to_vec(), 415, "JPEG, PNG or WebP"),
        (
            b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec(),
            415,
            "JPEG, PNG or WebP",
        ),
        (picture(0)[..20].to_vec(), 422, "damaged image/png"),
        (huge, 422, "8193 by 240"),
        (vec![0xff; MAX_PHOTO + 1], 413, "larger than 2097152 bytes"),
    ] {
        let headers = [("If-Match", "*"), ("Content-Type", "image/png")];
        let problem = ask(&world, Method::PUT, &photo_of("apple"), &headers, body)
            .await
            .expect(status);
        assert_eq!(problem.header("content-type"), "application/problem+json");
        let problem = problem.json();
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
    }
    // A body of unknown length is counted while it comes, and a client that waits for leave is refused before it sends anything.
    for (headers, body) in [
        (
            "Transfer-Encoding: chunked\r\nConnection: close",
            chunked(&large(0), &[0; 3]),
        ),
        ("Content-Length: 2097153\r\nExpect: 100-continue", Vec::new()),
    ] {
        let answer = raw_put(&world, headers, &body).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    }
    put(&world, "griffin", &picture(0)).await.expect(404);
    get(&world, "/inventory/photos/griffin").await.expect(422);
    get(&world, &format!("/inventory/photos/{}", "0".repeat(64)))
        .await
        .expect(404);

    // So is the photo of an item that is withdrawn.
    world.api().list_item(&ShopItem::new("fig", 1)).await.unwrap();
    world.api().withdraw_item("fig").await.unwrap();
    put(&world, "fig", &picture(0)).await.expect(409);
    assert_eq!(stored(&broker).await, (0, 0));

    // The largest photo is none of this, and a client that closes its connection leaves nothing.
    let head = "Content-Length: 2097152";
    cut_off(&world, head, &large(1)[..MAX_PHOTO / 2]).await;
    put(&world, "apple", &large(2)).await.expect(200);
    let path = place(&world, "apple").await;
    assert_eq!(get(&world, &path).await.expect(200).body, large(2));
    assert_eq!(stored(&broker).await, (1, 1));
    world.audit().await.unwrap();
}

/// Two chunks of a body, and its end.
fn chunked(first: &[u8], second: &[u8]) -> Vec<u8> {
    let chunk = |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    [chunk(first), chunk(second), chunk(&[])].concat()
}

async fn connect(world: &World, headers: &str) -> TcpStream {
    let authority = world
        .api()
        .url(Inventory)
        .trim_start_matches("http://")
        .to_owned();
    let mut connection = TcpStream::connect(&authority).await.unwrap();
    let head = format!(
        "PUT {} HTTP/1.1\r\nHost: {authority}\r\nIf-Match: *\r\n{headers}\r\n\r\n",
        photo_of("apple")
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    connection
}

/// Sends bytes, and returns the answer until its connection is closed or its first read is over.
async fn raw_put(world: &World, headers: &str, body: &[u8]) -> String {
    let mut connection = connect(world, headers).await;
    connection.write_all(body).await.unwrap();
    let mut answer = vec![0; 4_096];
    let length = connection.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

async fn cut_off(world: &World, headers: &str, body: &[u8]) {
    let mut connection = connect(world, headers).await;
    connection.write_all(body).await.unwrap();
    connection.shutdown().await.unwrap();
}

#[tokio::test]
async fn photos_that_no_item_has_and_interrupted_uploads_are_swept() {
    let world = World::with()
        .instances(2)
        .env("PHOTO_GRACE", GRACE)
        .start()
        .await
        .unwrap();
    let broker = Broker::connect(&world.nats_url, "counter").await.unwrap();
    let [red, green, blue, grey] = [0, 120, 240, 300].map(picture);
    world.api().list_item(&ShopItem::new("fig", 1)).await.unwrap();
    // Two items have the same photo, and one of them gives it up; one is replaced; one is withdrawn.
    for (item_id, photo) in [("apple", &red), ("pear", &red), ("plum", &green), ("fig", &grey)] {
        put(&world, item_id, photo).await.expect(200);
    }
    let (replaced, withdrawn) = (place(&world, "plum").await, place(&world, "fig").await);
    let any = [("If-Match", "*")];
    ask(&world, Method::DELETE, &photo_of("pear"), &any, Vec::new())
        .await
        .expect(200);
    put(&world, "plum", &blue).await.expect(200);
    world.api().withdraw_item("fig").await.unwrap();
    get(&world, &photo_of("fig")).await.expect(404);
    assert_eq!(stored(&broker).await, (4, 4), "nothing is removed at once");
    let torn = tear_an_upload(&world, &broker).await;
    assert!(torn > 0);

    // Nothing of the torn upload can be seen, and in the end nothing of it is left.
    assert_eq!(
        get(&world, &place(&world, "apple").await).await.expect(200).body,
        red
    );
    eventually(async || Ok((stored(&broker).await == (2, 2)).then_some(())))
        .await
        .unwrap();
    for path in [replaced, withdrawn] {
        get(&world, &path).await.expect(404);
    }
    for (item_id, photo) in [("apple", &red), ("plum", &blue)] {
        let path = place(&world, item_id).await;
        assert_eq!(&get(&world, &path).await.expect(200).body, photo);
    }
    world.audit().await.unwrap();
}

/// Kills both instances of inventory while one of them stores a photo. Returns how many versions there are of which the bucket has
/// chunks and no object.
async fn tear_an_upload(world: &World, broker: &Broker) -> usize {
    for attempt in 0..50 {
        let (objects, versions) = stored(broker).await;
        let url = format!("{}{}", world.api().url(Inventory), photo_of("apple"));
        let any = [("If-Match", "*")];
        let uploading = ask_at(Method::PUT, url, &any, large(attempt));
        let killing = async {
            eventually(async || Ok((stored(broker).await.1 > versions).then_some(())))
                .await
                .unwrap();
            let (first, second) = join(world.kill9(Inventory, 0), world.kill9(Inventory, 1)).await;
            (first.unwrap(), second.unwrap())
        };
        let (uploaded, _) = join(uploading, killing).await;
        for instance in [0, 1] {
            world.restart(Inventory, instance).await.unwrap();
        }
        let (objects_now, versions_now) = stored(broker).await;
        if uploaded.is_err() && objects_now == objects {
            return versions_now - versions;
        }
        // The kill came after the object was there.
        put(world, "apple", &picture(0)).await.expect(200);
    }
    panic!("no kill came in the middle of an upload");
}

#[tokio::test]
async fn photos_that_are_put_at_the_same_time_leave_one_that_is_whole() {
    let world = World::with().instances(2).start().await.unwrap();
    let listed = ask(&world, Method::GET, "/inventory/items/apple", &[], Vec::new()).await;
    let first = [("If-Match", listed.header("etag"))];
    let racing = [0, 90, 180, 270].map(|hue| {
        let path = photo_of("apple");
        let (world, first) = (&world, &first);
        async move { ask(world, Method::PUT, &path, first, picture(hue)).await.status }
    });
    let mut statuses = join_all(racing).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412]);
    // The same bytes as well: each upload stores them again, and removes those that were there.
    let racing = (0..12).map(|number| {
        let world = &world;
        async move {
            let photo = large(number % 3);
            let put = put(world, "apple", &photo).await;
            assert!(matches!(put.status, 200 | 503), "{}", put.status);
        }
    });
    join_all(racing).await;
    let path = place(&world, "apple").await;
    let photo = get(&world, &path).await.expect(200).body;
    assert!((0..3).any(|number| photo == large(number)));
    world.audit().await.unwrap();
}

#[tokio::test]
async fn the_audit_finds_a_photo_that_is_damaged_or_gone() {
    let world = World::start().await.unwrap();
    let broker = Broker::connect(&world.nats_url, "meddler").await.unwrap();
    put(&world, "apple", &picture(0)).await.expect(200);
    let path = place(&world, "apple").await;
    for (filter, words, status) in [
        ("$O.photos.C.>", "is damaged", 500),
        ("$O.photos.M.>", "which is not stored", 404),
    ] {
        let purge = json!({ "filter": filter });
        let _: Value = broker
            .ask(&format!("STREAM.PURGE.OBJ_{PHOTOS}"), &purge)
            .await
            .unwrap();
        get(&world, &path).await.expect(status);
        let report = world.report(None, PATIENCE).await.unwrap();
        let [violation] = &report.violations[..] else {
            panic!("{report}");
        };
        assert!(violation.sentence.contains(words), "{report}");
    }
    // Putting the photo again heals it.
    put(&world, "apple", &picture(0)).await.expect(200);
    get(&world, &path).await.expect(200);
    world.audit().await.unwrap();
}
