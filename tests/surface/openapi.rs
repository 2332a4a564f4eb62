//! What the services' OpenAPI documents promise is what the services do: every operation is sent its documented
//! example, and then all that leads to each of its documented answers. Whatever comes back must be documented, as its
//! status, content type, headers and body.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use quadrille_events::{
    AwaitingApproval, Body, CancelOrder, Charged, Created, Opened, OrderCancelled, OrderId,
};
use quadrille_local::client::{NewOrder, until};
use quadrille_local::picture::picture;
use quadrille_local::{Service, shop};
use quadrille_tests::{PATIENCE, PLENTY, SOLD_OUT, World};
use reqwest::Method;
use reqwest::redirect::Policy;
use serde_json::{Value, json};

/// What this test does not provoke: an operator's or the broker's trouble, and a body that does not arrive in 10 s
/// (`hostile` has that one).
const NOT_PROVOKED: [&str; 3] = ["408", "500", "503"];

/// The largest photo.
const MAX_PHOTO: usize = 2 * 1024 * 1024;

/// A service's document, and what was seen of it.
struct Document {
    url: String,
    api: Value,
    seen: BTreeSet<(String, String)>,
}

/// A request that differs from the documented example in what is given.
#[derive(Clone, Default)]
struct Request {
    id: Option<String>,
    headers: Vec<(&'static str, String)>,
    body: Option<Vec<u8>>,
    content_type: Option<&'static str>,
}

fn with_id(id: impl ToString) -> Request {
    Request {
        id: Some(id.to_string()),
        ..Request::default()
    }
}

fn with_body(body: &Value) -> Request {
    Request {
        body: Some(body.to_string().into_bytes()),
        ..Request::default()
    }
}

fn raw(body: impl Into<Vec<u8>>) -> Request {
    Request {
        body: Some(body.into()),
        ..Request::default()
    }
}

impl Request {
    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

impl Document {
    async fn of(world: &World, service: Service) -> Self {
        let url = world.api().url(service).to_owned();
        let api = reqwest::get(format!("{url}/openapi.json"))
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        Self {
            url,
            api,
            seen: BTreeSet::new(),
        }
    }

    /// Method, path and operation of an operation id.
    fn operation(&self, id: &str) -> (String, String, Value) {
        self.operations()
            .remove(id)
            .unwrap_or_else(|| panic!("{} documents no operation `{id}`", self.url))
    }

    fn operations(&self) -> BTreeMap<String, (String, String, Value)> {
        let paths = self.api["paths"].as_object().unwrap();
        let all = paths.iter().flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            methods.map(move |(method, operation)| {
                let id = operation["operationId"].as_str().unwrap().to_owned();
                (id, (method.to_uppercase(), path.clone(), operation.clone()))
            })
        });
        let mut operations = BTreeMap::new();
        for (id, operation) in all {
            assert!(
                operations.insert(id.clone(), operation).is_none(),
                "{} has two operations `{id}`",
                self.url
            );
        }
        operations
    }

    /// What a `$ref` refers to.
    fn follow<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => self.api.pointer(reference.trim_start_matches('#')).unwrap(),
            None => value,
        }
    }

    fn body_schema(&self, operation: &Value) -> Option<Value> {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        (!schema.is_null()).then(|| self.follow(schema).clone())
    }

    fn validator(&self, schema: &Value) -> jsonschema::Validator {
        let root = json!({ "components": self.api["components"], "allOf": [schema] });
        let options = jsonschema::options().with_draft(jsonschema::Draft::Draft202012);
        options.should_validate_formats(true).build(&root).unwrap()
    }

    /// Sends an operation's documented example, or what differs from it; the answer must be a documented one.
    async fn send(&mut self, id: &str, request: Request) -> (u16, Value) {
        let (method, mut path, operation) = self.operation(id);
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        for parameter in parameters.iter().filter(|parameter| parameter["in"] == "path") {
            let example = parameter["example"]
                .as_str()
                .unwrap_or_else(|| panic!("{id} has no example of its path"));
            let value = request.id.as_deref().unwrap_or(example);
            path = path.replace(&format!("{{{}}}", parameter["name"].as_str().unwrap()), value);
        }
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        // A redirect is an answer.
        let client = reqwest::Client::builder()
            .redirect(Policy::none())
            .build()
            .unwrap();
        let mut sending = client.request(method, format!("{}{path}", self.url));
        for (name, value) in &request.headers {
            sending = sending.header(*name, value);
        }
        if let Some(schema) = self.body_schema(&operation) {
            let example = schema["example"].clone();
            assert!(example.is_object(), "{id} has no example of its body");
            assert!(
                self.validator(&schema).is_valid(&example),
                "{id}: its example does not fit its schema"
            );
            let body = request
                .body
                .clone()
                .unwrap_or_else(|| example.to_string().into_bytes());
            sending = sending
                .header("content-type", request.content_type.unwrap_or("application/json"))
                .body(body);
        } else if operation["requestBody"].is_object() {
            sending = sending.body(request.body.clone().unwrap_or_else(|| picture(0)));
        }
        let response = sending.send().await.unwrap();

        let status = response.status().as_u16();
        let what = format!("{id} ({path}) answered {status}");
        let documented = self.follow(&operation["responses"][status.to_string()]).clone();
        assert!(
            documented.is_object(),
            "{what}, which is not documented: {:?}",
            response.text().await
        );
        for header in documented["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name)
        {
            assert!(
                response.headers().contains_key(header.as_str()),
                "{what} without the documented `{header}`"
            );
        }
        let header = response
            .headers()
            .get("content-type")
            .map(|value| value.to_str().unwrap().to_owned());
        let kind = header
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default()
            .to_owned();
        if status == 204 {
            assert!(documented["content"].is_null(), "{what}");
            self.seen.insert((id.to_owned(), status.to_string()));
            assert_eq!(response.text().await.unwrap(), "", "{what}");
            return (status, Value::Null);
        }
        let content = &documented["content"][&kind];
        if documented["content"].is_null() {
            self.seen.insert((id.to_owned(), status.to_string()));
            let body = response.bytes().await.unwrap();
            assert!(body.is_empty(), "{what} with a body, which is not documented");
            return (status, Value::Null);
        }
        assert!(content.is_object(), "{what} as `{kind}`, which is not documented");
        if status >= 400 {
            assert_eq!(kind, "application/problem+json", "{what}");
        }
        self.seen.insert((id.to_owned(), status.to_string()));
        if kind == "text/event-stream" || kind.starts_with("image/") {
            return (status, Value::Null);
        }
        let text = response.text().await.unwrap();
        let body = if kind.ends_with("json") {
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{what}: {error}: {text}"))
        } else {
            Value::from(text)
        };
        let validator = self.validator(&content["schema"]);
        let wrong: Vec<_> = validator
            .iter_errors(&body)
            .map(|error| error.to_string())
            .collect();
        assert!(
            wrong.is_empty(),
            "{what} with a body that does not fit its schema: {wrong:?}\n{body:#}"
        );
        if status >= 400 {
            assert_eq!(body["status"], status, "{what}");
        }
        (status, body)
    }

    /// As [`Document::send`]; and the status is this one.
    async fn expect(&mut self, status: u16, id: &str, request: Request) -> Value {
        let (answered, body) = self.send(id, request).await;
        assert_eq!(answered, status, "{id}: {body:#}");
        body
    }

    /// Each documented operation's example, then the example spoilt in every way that its schema rules out.
    async fn examples_and_spoilt_ones(&mut self) {
        for (id, (_, path, operation)) in self.operations() {
            self.send(&id, Request::default()).await;
            let rebound = Request::default().header("host", "evil.example");
            self.expect(421, &id, rebound).await;
            if operation["responses"]["403"].is_object() {
                let foreign = Request::default().header("sec-fetch-site", "cross-site");
                self.expect(403, &id, foreign).await;
            }
            if path.contains('{') {
                self.expect(400, &id, with_id("%FF")).await;
                if operation["responses"]["422"].is_object() {
                    self.expect(422, &id, with_id("a.b")).await;
                    self.expect(422, &id, with_id("x".repeat(65))).await;
                }
            }
            if operation["requestBody"].is_object() && self.body_schema(&operation).is_none() {
                self.expect(413, &id, raw(vec![0; MAX_PHOTO + 1])).await;
                self.expect(415, &id, raw("text")).await;
                self.expect(422, &id, raw(&picture(0)[..20])).await;
            }
            let Some(schema) = self.body_schema(&operation) else {
                continue;
            };
            self.expect(400, &id, raw("{")).await;
            self.expect(413, &id, raw(vec![b' '; 300_000])).await;
            let text = Request {
                content_type: Some("text/plain"),
                ..Request::default()
            };
            self.expect(415, &id, text).await;

            let example = schema["example"].as_object().unwrap();
            let mut spoilt = vec![json!([]), json!("a text"), Value::Null];
            let mut more = example.clone();
            more.insert("surprise".to_owned(), json!(1));
            spoilt.push(more.into());
            for name in schema["required"].as_array().into_iter().flatten() {
                let mut less = example.clone();
                less.remove(name.as_str().unwrap());
                spoilt.push(less.into());
            }
            for (name, property) in schema["properties"].as_object().unwrap() {
                let property = self.follow(property);
                let mut bad = vec![json!({}), json!(true)];
                let kinds = &property["type"];
                let is = |kind: &str| {
                    kinds == kind || kinds.as_array().is_some_and(|all| all.contains(&json!(kind)))
                };
                let at_least = |limit: &str| property[limit].as_u64().unwrap_or_default() > 0;
                if is("integer") {
                    bad.extend([json!(-1), json!(1.5), json!("1")]);
                    bad.extend(property["maximum"].as_u64().map(|maximum| json!(maximum + 1)));
                    bad.extend(at_least("minimum").then_some(json!(0)));
                } else if is("array") {
                    bad.push(json!(vec![json!({}); 101]));
                    bad.extend(at_least("minItems").then_some(json!([])));
                } else {
                    let longest = property["maxLength"].as_u64().unwrap_or(500) as usize;
                    bad.extend([json!("a\u{1b}[31mb"), json!("x".repeat(longest + 1)), json!(7)]);
                    if property["pattern"].is_null() || at_least("minLength") {
                        bad.extend([json!(""), json!(" ")]);
                    }
                }
                if !kinds.is_null() && !is("null") && !is("string") {
                    bad.push(Value::Null);
                }
                for bad in bad {
                    let mut worse = example.clone();
                    worse.insert(name.clone(), bad);
                    spoilt.push(worse.into());
                }
            }
            let validator = self.validator(&schema);
            for spoilt in spoilt {
                assert!(
                    !validator.is_valid(&spoilt),
                    "{id}: the schema has nothing against {spoilt}"
                );
                let (status, problem) = self.send(&id, with_body(&spoilt)).await;
                // To serde_json an object where an enum stands is no syntax at all.
                assert!(matches!(status, 400 | 422), "{id} takes {spoilt}: {problem:#}");
            }
        }
    }

    /// Documented, and never seen.
    fn unseen(&self) -> Vec<String> {
        let mut unseen = Vec::new();
        for (id, (_, _, operation)) in self.operations() {
            for status in operation["responses"].as_object().unwrap().keys() {
                if !NOT_PROVOKED.contains(&status.as_str())
                    && !self.seen.contains(&(id.clone(), status.clone()))
                {
                    unseen.push(format!("{id} {status}"));
                }
            }
        }
        unseen
    }
}

/// A payment provider that takes everybody's money, except that it cannot make sense of "riddle" while it is confused.
async fn provider(confused: Arc<AtomicBool>) -> String {
    async fn charge(
        State(confused): State<Arc<AtomicBool>>,
        axum::Json(call): axum::Json<Value>,
    ) -> (StatusCode, axum::Json<Value>) {
        if call["customer_id"] == "riddle" && confused.load(Ordering::Relaxed) {
            return (StatusCode::BAD_REQUEST, axum::Json(json!({ "reason": "who?" })));
        }
        (
            StatusCode::OK,
            axum::Json(json!({ "status": "approved", "reference": "ref-1" })),
        )
    }
    let done = async || axum::Json(json!({}));
    let routes = axum::Router::new()
        .route("/charges", post(charge))
        .route("/refunds", post(done))
        .route("/voids", post(done))
        .with_state(confused);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, routes).into_future());
    url
}

/// What leads to the answers about photos.
async fn photos(inventory: &mut Document) {
    let any = || Request::default().header("if-match", "*");
    let griffin = || Request {
        id: Some("griffin".to_owned()),
        ..any()
    };
    for operation in ["put_photo", "remove_photo"] {
        inventory.expect(428, operation, Request::default()).await;
        let old = Request::default().header("if-match", "\"0\"");
        inventory.expect(412, operation, old.clone()).await;
        inventory.expect(404, operation, griffin()).await;
        let malformed = Request::default().header("if-match", "no tag");
        inventory.expect(400, operation, malformed).await;
        if operation == "put_photo" {
            let item = inventory.expect(200, operation, any()).await;
            inventory.expect(302, "show_photo", Request::default()).await;
            let digest = item["photo"]["digest"].as_str().unwrap();
            inventory.expect(200, "photo", with_id(digest)).await;
            let known = with_id(digest).header("if-none-match", "*");
            inventory.expect(304, "photo", known).await;
            inventory.expect(404, "photo", with_id("0".repeat(64))).await;
        } else {
            inventory.expect(200, operation, any()).await;
            inventory.expect(404, "show_photo", Request::default()).await;
        }
    }
}

fn one_apple() -> NewOrder {
    NewOrder::new().line(1, "apple")
}

fn order(id: &OrderId) -> Request {
    with_body(&json!({ "order_id": id }))
}

#[tokio::test]
async fn what_the_documents_promise_is_what_the_services_do() {
    let confused = Arc::new(AtomicBool::new(true));
    let provider = provider(confused.clone()).await;
    let world = World::with()
        .env("PAYMENT_PROVIDER_URL", &provider)
        .start()
        .await
        .unwrap();
    let mut documents = BTreeMap::new();
    for service in Service::ALL {
        documents.insert(service, Document::of(&world, service).await);
    }
    for document in documents.values_mut() {
        document.examples_and_spoilt_ones().await;
    }

    // Orders at every turn of the way.
    let open = world.place(one_apple().paid_by_hand()).await.unwrap();
    let to_confirm = world.place(one_apple().paid_by_hand()).await.unwrap();
    let to_cancel = world.place(one_apple().paid_by_hand()).await.unwrap();
    for id in [&open, &to_confirm, &to_cancel] {
        world.said(Opened::NAME, id).await.unwrap();
    }
    let waiting = world.place(one_apple().approved_by_hand()).await.unwrap();
    world.said(AwaitingApproval::NAME, &waiting).await.unwrap();
    let completed = world.place(one_apple()).await.unwrap();
    assert_eq!(world.ended(&completed).await.unwrap().state, "completed");
    let unassigned = world.place(one_apple().to("test-no-courier")).await.unwrap();
    assert_eq!(world.ended(&unassigned).await.unwrap().state, "cancelled");

    let apple = shop::ShopItem::new("apple", PLENTY);
    let orders = documents.get_mut(&Service::Order).unwrap();
    let price = orders.expect(200, "show_price", Request::default()).await;
    assert_eq!(price["price"], apple.price);
    orders.expect(404, "show_price", with_id("griffin")).await;
    let key = "0c8f9f4e-6f0e-4a5b-9c1d-2f7a0e3b5d61";
    let first = orders
        .expect(201, "create", Request::default().header("Idempotency-Key", key))
        .await;
    let again = orders
        .expect(201, "create", Request::default().header("Idempotency-Key", key))
        .await;
    assert_eq!(first, again);
    let other = orders.operation("create").2;
    let mut other = orders.body_schema(&other).unwrap()["example"].clone();
    other["address"] = json!("2 Main St");
    orders
        .expect(422, "create", with_body(&other).header("Idempotency-Key", key))
        .await;
    orders
        .expect(400, "create", Request::default().header("Idempotency-Key", "a b"))
        .await;
    let mut sold_out = other.clone();
    sold_out["lines"] = json!([{ "item_id": SOLD_OUT, "quantity": 1 }]);
    sold_out.as_object_mut().unwrap().remove("total");
    orders
        .expect(409, "create", with_body(&sold_out).header("Prefer", "wait=10"))
        .await;
    // To JSON Schema a whole number is one however it is written.
    other["total"] = json!(500.0);
    other["lines"][0]["quantity"] = json!(2.0);
    orders.expect(201, "create", with_body(&other)).await;
    for id in [&open, &waiting, &completed, &unassigned] {
        orders.expect(200, "show", with_id(id)).await;
        let story = orders.expect(200, "events", with_id(id)).await;
        assert_eq!(story[0]["event"], Created::NAME.subject);
    }
    orders
        .expect(
            200,
            "events",
            with_id(&open).header("accept", "text/event-stream"),
        )
        .await;
    orders.expect(409, "confirm", order(&open)).await;
    orders.expect(200, "confirm", order(&waiting)).await;
    orders.expect(404, "confirm", Request::default()).await;
    orders.expect(409, "cancel", order(&completed)).await;
    orders.expect(200, "cancel", order(&open)).await;
    assert_eq!(world.ended(&open).await.unwrap().state, "cancelled");
    orders.expect(200, "show", with_id(&open)).await;

    let payments = documents.get_mut(&Service::Payment).unwrap();
    payments.expect(200, "show", with_id(&to_confirm)).await;
    payments.expect(200, "confirm", order(&to_confirm)).await;
    payments.expect(200, "show", with_id(&to_confirm)).await;
    payments.expect(409, "cancel", order(&to_confirm)).await;
    payments.expect(200, "cancel", order(&to_cancel)).await;
    payments.expect(409, "confirm", order(&to_cancel)).await;
    payments.expect(200, "show", with_id(&to_cancel)).await;

    let inventory = documents.get_mut(&Service::Inventory).unwrap();
    inventory
        .expect(409, "put", with_body(&json!({ "quantity": 0 })))
        .await;
    inventory
        .expect(200, "put", with_body(&json!({ "quantity": 200.0 })))
        .await;
    let version = |version: &str| Request::default().header("if-match", version);
    let other = with_body(&json!({ "name": "Other", "price": 1, "currency": "EUR", "quantity": 200 }));
    inventory.expect(428, "put", other.clone()).await;
    inventory
        .expect(412, "put", other.header("if-match", "\"0\""))
        .await;
    inventory.expect(428, "change", Request::default()).await;
    inventory.expect(412, "change", version("\"0\"")).await;
    inventory.expect(400, "change", version("no tag")).await;
    let change = |body: Value| with_body(&body).header("if-match", "*");
    inventory
        .expect(409, "change", change(json!({ "quantity": 0 })))
        .await;
    inventory
        .expect(200, "change", change(json!({ "price": null, "tags": [] })))
        .await;
    inventory
        .expect(
            404,
            "change",
            Request {
                id: Some("griffin".to_owned()),
                ..version("*")
            },
        )
        .await;
    photos(inventory).await;
    inventory.expect(409, "withdraw", version("*")).await;
    inventory.expect(412, "withdraw", version("\"0\"")).await;
    inventory.expect(428, "withdraw", Request::default()).await;
    for (status, id) in [(404, "griffin"), (200, "plum"), (200, "plum")] {
        let gone = Request {
            id: Some(id.to_owned()),
            ..version("*")
        };
        inventory.expect(status, "withdraw", gone).await;
    }
    let withdrawn = Request {
        id: Some("plum".to_owned()),
        ..version("*")
    };
    inventory.expect(409, "put_photo", withdrawn.clone()).await;
    inventory.expect(409, "remove_photo", withdrawn).await;
    inventory.expect(200, "show", Request::default()).await;
    inventory.expect(404, "show", with_id("griffin")).await;
    let listed = inventory.expect(200, "list", Request::default()).await;
    assert_eq!(listed["items"][0]["item_id"], "apple");
    let few = inventory.expect(200, "check", Request::default()).await;
    assert_eq!(few["status"], "available");
    let many = inventory
        .expect(
            200,
            "check",
            with_body(&json!({ "item_id": "apple", "quantity": 9999 })),
        )
        .await;
    assert_eq!(many["status"], "out_of_stock");

    let deliveries = documents.get_mut(&Service::Delivery).unwrap();
    for id in [&completed, &unassigned] {
        deliveries.expect(200, "show", with_id(id)).await;
    }
    let couriers = deliveries.expect(200, "list", Request::default()).await;
    let busy = couriers["couriers"]
        .as_array()
        .unwrap()
        .iter()
        .find(|courier| courier["load"] != 0)
        .unwrap();
    let busy = Request {
        id: busy["courier_id"].as_str().map(str::to_owned),
        ..with_body(&json!({ "capacity": 0 }))
    };
    deliveries.expect(409, "report", busy.clone()).await;
    deliveries.expect(409, "remove", busy).await;
    deliveries.expect(200, "report", with_id("idle")).await;
    deliveries.expect(204, "remove", with_id("idle")).await;
    deliveries.expect(404, "remove", with_id("idle")).await;

    // Dead letters: one that nobody can ever read in each service, and one that is settled once the provider is itself.
    let heard = [
        CancelOrder::NAME,
        Created::NAME,
        Charged::NAME,
        OrderCancelled::NAME,
    ];
    for (service, name) in Service::ALL.into_iter().zip(heard) {
        let subject = name.stored_as(&"poison");
        world
            .operator
            .publish(&subject, std::iter::empty(), b"not json")
            .await
            .unwrap();
        let document = documents.get_mut(&service).unwrap();
        let letter = until(PATIENCE, async || {
            let letters = document.expect(200, "dead_letters", Request::default()).await;
            anyhow::Ok(letters["dead_letters"][0]["id"].as_str().map(str::to_owned))
        });
        let letter = letter.await.unwrap().unwrap();
        document.expect(200, "dead_letter", with_id(&letter)).await;
        document.expect(409, "retry", with_id(&letter)).await;
    }
    let riddle = world.place(one_apple().by("riddle")).await.unwrap();
    let payments = documents.get_mut(&Service::Payment).unwrap();
    let letter = until(PATIENCE, async || {
        let letters = payments.expect(200, "dead_letters", Request::default()).await;
        let letters = letters["dead_letters"].as_array().unwrap().clone();
        let of_riddle = |letter: &Value| {
            letter["id"]
                .as_str()
                .filter(|id| id.ends_with(riddle.as_str()))
                .map(str::to_owned)
        };
        anyhow::Ok(letters.iter().find_map(of_riddle))
    });
    let letter = letter.await.unwrap().unwrap();
    let orders = documents.get_mut(&Service::Order).unwrap();
    let shown = orders.expect(200, "show", with_id(&riddle)).await;
    assert_eq!(shown["dead_letters"][0]["service"], "payment");
    confused.store(false, Ordering::Relaxed);
    let payments = documents.get_mut(&Service::Payment).unwrap();
    let retried = payments.expect(200, "retry", with_id(&letter)).await;
    assert_eq!(retried["outcome"], "acted");
    assert_eq!(world.ended(&riddle).await.unwrap().state, "completed");

    for (service, document) in &documents {
        let mut unseen = document.unseen();
        if *service != Service::Payment {
            // Only payment asks somebody who can be confused.
            unseen.retain(|unseen| unseen != "retry 200");
        }
        assert_eq!(unseen, Vec::<String>::new(), "{}", service.name());
    }
}

#[tokio::test]
async fn what_is_not_documented_is_refused() {
    let world = World::start().await.unwrap();
    for service in Service::ALL {
        let document = Document::of(&world, service).await;
        let client = reqwest::Client::new();
        let nowhere = client
            .get(format!("{}/nowhere", document.url))
            .send()
            .await
            .unwrap();
        assert_eq!(nowhere.status().as_u16(), 404);
        assert_eq!(nowhere.headers()["content-type"], "application/problem+json");
        for (path, item) in document.api["paths"].as_object().unwrap() {
            for method in [
                Method::GET,
                Method::PUT,
                Method::POST,
                Method::PATCH,
                Method::DELETE,
            ] {
                // Other paths have a place where `{order_id}` stands, so what is no command there is shown.
                if item[method.as_str().to_lowercase()].is_object()
                    || path.starts_with("/orders/c")
                    || path.starts_with("/payments/c")
                {
                    continue;
                }
                let url = format!("{}{}", document.url, path.replace(['{', '}'], ""));
                let response = client.request(method.clone(), url).send().await.unwrap();
                assert_eq!(response.status().as_u16(), 405, "{method} {path}");
                assert!(response.headers().contains_key("allow"), "{method} {path}");
                assert_eq!(
                    response.headers()["content-type"],
                    "application/problem+json",
                    "{method} {path}"
                );
            }
        }
    }
}

#[tokio::test]
async fn the_page_asks_nobody_but_its_service() {
    let world = World::start().await.unwrap();
    for service in Service::ALL {
        let page = reqwest::get(format!("{}/docs", world.api().url(service)))
            .await
            .unwrap();
        let policy = page.headers()["content-security-policy"]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("connect-src 'self'"),
            "{policy}"
        );
        let html = page.text().await.unwrap();
        for foreign in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!html.contains(foreign), "the page has `{foreign}`");
        }
    }
}
