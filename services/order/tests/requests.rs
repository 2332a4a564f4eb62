//! Requests of customers: which are accepted, and which field of a refused one is named.

#![allow(clippy::unwrap_used)]

use axum::http::{HeaderMap, HeaderValue};
use quadrille_events::{Approval, PaymentMode};
use quadrille_order::request::{CancelOrder, ConfirmOrder, NewOrder};
use quadrille_runtime::http::{MAX_KEY, Problem, idempotency_key};
use serde_json::{Value, json};

fn good() -> Value {
    json!({
        "customer_id": "ada",
        "lines": [
            {"item_id": "apple", "quantity": 2, "unit_price": 250},
            {"item_id": "bread", "quantity": 1, "unit_price": 300},
        ],
        "total": 800,
        "currency": "EUR",
        "address": "1 Main St",
    })
}

fn request(body: Value) -> NewOrder {
    serde_json::from_value(body).unwrap()
}

fn problem(change: impl FnOnce(&mut Value)) -> Problem {
    let mut body = good();
    change(&mut body);
    request(body).check(None).unwrap_err()
}

#[track_caller]
fn names(problem: Problem, field: &str, words: &str) {
    assert_eq!(problem.status, 422);
    assert_eq!(problem.field.as_deref(), Some(field), "{problem}");
    assert!(problem.detail.contains(words), "{problem}");
}

#[test]
fn a_valid_order_is_accepted_unchanged() {
    let order = request(good()).check(None).unwrap();
    assert_eq!(
        (order.lines.len(), order.total, order.address.as_str()),
        (2, Some(800), "1 Main St")
    );
    assert_eq!(
        (order.payment, order.approval),
        (PaymentMode::Manual, Approval::Auto)
    );
}

#[test]
fn a_problem_names_the_wrong_field() {
    names(
        problem(|b| b["customer_id"] = json!("ada lovelace")),
        "customer_id",
        "' '",
    );
    names(problem(|b| b["customer_id"] = json!("")), "customer_id", "empty");
    names(problem(|b| b["lines"] = json!([])), "lines", "empty");
    names(
        problem(|b| b["lines"][1]["item_id"] = json!("a.b")),
        "lines[1].item_id",
        "'.'",
    );
    names(
        problem(|b| b["lines"][1]["quantity"] = json!(0)),
        "lines[1].quantity",
        "at least 1",
    );
    names(problem(|b| b["currency"] = json!("EURO")), "currency", "ISO 4217");
    names(problem(|b| b["address"] = json!("  ")), "address", "empty");
    names(
        problem(|b| b["address"] = json!("x".repeat(501))),
        "address",
        "500",
    );
    let line = json!({"item_id": "apple", "quantity": 1, "unit_price": 1});
    names(
        problem(|b| b["lines"] = json!(vec![line; 101])),
        "lines",
        "at most 100, not 101",
    );
}

#[test]
fn prices_and_total_may_be_left_out_and_have_an_upper_bound() {
    let mut body = good();
    body.as_object_mut().unwrap().remove("total");
    body["lines"][0].as_object_mut().unwrap().remove("unit_price");
    let order = request(body).check(None).unwrap();
    assert_eq!((order.total, order.lines[0].unit_price), (None, None));
    assert_eq!(order.lines[1].unit_price, Some(300));
    names(
        problem(|b| b["lines"][1]["unit_price"] = json!(u64::MAX)),
        "lines[1].unit_price",
        "at most 9007199254740991",
    );
    names(problem(|b| b["total"] = json!(u64::MAX)), "total", "at most");
    for null in ["/total", "/lines/0/unit_price"] {
        let mut body = good();
        *body.pointer_mut(null).unwrap() = Value::Null;
        assert!(request(body).check(None).is_ok(), "{null} is null");
    }
}

#[test]
fn unknown_fields_are_refused() {
    for path in ["/cupon", "/lines/0/colour"] {
        let mut body = good();
        let (parent, field) = path.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[field] = json!("x");
        let error = serde_json::from_value::<NewOrder>(body).unwrap_err().to_string();
        assert!(error.contains(&format!("unknown field `{field}`")), "{error}");
    }
    assert!(serde_json::from_value::<ConfirmOrder>(json!({"order_id": "1", "force": true})).is_err());
    assert!(serde_json::from_value::<CancelOrder>(json!({"order_id": "1", "force": true})).is_err());
}

#[test]
fn a_reason_to_cancel_is_optional_and_short() {
    let cancel = |body| serde_json::from_value::<CancelOrder>(body).unwrap().check();
    assert_eq!(
        cancel(json!({"order_id": "1"})).unwrap().1,
        "the customer cancelled the order"
    );
    assert_eq!(
        cancel(json!({"order_id": "1", "reason": "changed my mind"}))
            .unwrap()
            .1,
        "changed my mind"
    );
    names(
        cancel(json!({"order_id": "1", "reason": "x".repeat(201)})).unwrap_err(),
        "reason",
        "200",
    );
    names(
        cancel(json!({"order_id": "1", "reason": " "})).unwrap_err(),
        "reason",
        "200",
    );
    names(cancel(json!({"order_id": "*"})).unwrap_err(), "order_id", "'*'");
}

#[test]
fn the_same_key_of_the_same_customer_is_the_same_order() {
    let id = |customer: &str, key| {
        let mut body = good();
        body["customer_id"] = json!(customer);
        request(body).check(key).unwrap().order_id
    };
    // A fixed id: a key that is repeated after an update must find its order.
    assert_eq!(
        id("ada", Some("k1")).as_str(),
        "1bc76242-3cd8-5060-ba18-9fcd0c788d1b"
    );
    assert_eq!(id("ada", Some("k1")), id("ada", Some("k1")));
    assert_ne!(id("ada", Some("k1")), id("ada", Some("k2")));
    assert_ne!(id("ada", Some("k1")), id("bob", Some("k1")));
    assert_ne!(id("ada", None), id("ada", None));
}

#[test]
fn a_key_is_visible_ascii_and_given_once() {
    let headers = |keys: &[&[u8]]| {
        let values = keys.iter().map(|key| HeaderValue::from_bytes(key).unwrap());
        values.fold(HeaderMap::new(), |mut headers, value| {
            headers.append("idempotency-key", value);
            headers
        })
    };
    let longest = vec![b'x'; MAX_KEY];
    assert_eq!(idempotency_key(&headers(&[])), Ok(None));
    assert_eq!(
        idempotency_key(&headers(&[b"8e03978e-40d5"])),
        Ok(Some("8e03978e-40d5"))
    );
    assert!(idempotency_key(&headers(&[&longest])).is_ok());
    for malformed in [&b""[..], b"a b", "\u{e9}".as_bytes(), &vec![b'x'; MAX_KEY + 1]] {
        assert_eq!(idempotency_key(&headers(&[malformed])).unwrap_err().status, 400);
    }
    assert_eq!(idempotency_key(&headers(&[b"a", b"b"])).unwrap_err().status, 400);
}
