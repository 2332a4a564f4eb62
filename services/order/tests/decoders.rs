//! Property tests of the request decoders: every body is a valid order, or a problem that says what is wrong. Seeds of failures
//! are kept in `decoders.regressions`.

#![allow(clippy::unwrap_used)]

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use quadrille_events::{MAX_ADDRESS, MAX_LINES, MAX_MONEY, Order};
use quadrille_order::price::{self, ItemPrice, LineRequest};
use quadrille_order::request::{CancelOrder, ConfirmOrder, NewOrder};
use quadrille_runtime::http::{Json, MAX_KEY, MAX_REASON, Problem, idempotency_key};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 512,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    }
}

/// Decodes a body with the extractor of the service's handlers.
fn receive<T: DeserializeOwned + Send>(body: &[u8]) -> Result<T, Problem> {
    let request = Request::post("/")
        .header("content-type", "application/json")
        .body(Body::from(body.to_vec()));
    let received = pin!(Json::<T>::from_request(request.unwrap(), &()));
    // The body is complete already, so the first poll is the last.
    match received.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(received) => received.map(|Json(body)| body),
        Poll::Pending => panic!("the extractor waits for a body that is complete"),
    }
}

/// The order that a body asks for, where everything costs what the body says.
fn take(body: &[u8], key: Option<&str>) -> Result<Order, Problem> {
    let request = receive::<NewOrder>(body)?.check(key)?;
    let price = |line: &LineRequest| {
        let price = ItemPrice {
            version: 1,
            price: line.unit_price.unwrap_or(7),
            currency: request.currency,
            withdrawn: false,
        };
        (price::key(&line.item_id), price)
    };
    Ok(request.priced(&request.lines.iter().map(price).collect())?)
}

/// A problem quotes at most what was sent.
fn is_sound(problem: &Problem, sent: usize) {
    assert!([400, 422].contains(&problem.status), "{problem}");
    assert!(!problem.detail.is_empty());
    assert!(
        problem.detail.len() <= 3 * sent + 500,
        "{} bytes",
        problem.detail.len()
    );
}

fn adds_up(order: &Order) {
    assert!((1..=MAX_LINES).contains(&order.lines.len()));
    let sum: u128 = order
        .lines
        .iter()
        .map(|line| u128::from(line.quantity) * u128::from(line.unit_price))
        .sum();
    assert_eq!(u128::from(order.total), sum);
    assert!(order.total <= MAX_MONEY && order.lines.iter().all(|line| line.quantity > 0));
    assert!(!order.address.trim().is_empty() && order.address.len() <= MAX_ADDRESS);
    let body = serde_json::to_vec(order).unwrap();
    assert_eq!(serde_json::from_slice::<Order>(&body).unwrap(), *order);
}

/// A number, often the last or first of a range.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..5_u64,
        any::<u64>(),
        prop::sample::select(vec![
            u64::from(u32::MAX),
            u64::from(u32::MAX) + 1,
            MAX_MONEY,
            MAX_MONEY + 1,
            u64::MAX
        ]),
    ]
}

/// Any JSON.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map("\\PC{0,12}", inner, 0..5).prop_map(Value::from_iter),
        ]
    })
}

/// An almost valid request: one field can be arbitrary, another one missing.
fn almost_valid() -> impl Strategy<Value = Value> {
    let line = (prop_oneof![4 => "[a-z]{1,8}", 1 => any::<String>()], number(), number()).prop_map(
        |(item_id, quantity, unit_price)| json!({"item_id": item_id, "quantity": quantity, "unit_price": unit_price}),
    );
    let lines = prop::collection::vec(line, 0..6);
    let strange = (prop::sample::select(FIELDS.to_vec()), json());
    (
        lines,
        number(),
        "\\PC{0,20}",
        prop::option::weighted(0.4, strange),
        prop::option::weighted(0.2, 0..FIELDS.len()),
    )
        .prop_map(|(lines, total, address, strange, gone)| {
            let sum = lines.iter().try_fold(0_u64, |sum, line| {
                sum.checked_add(
                    line["quantity"]
                        .as_u64()?
                        .checked_mul(line["unit_price"].as_u64()?)?,
                )
            });
            let mut body = json!({
                "customer_id": "ada", "lines": lines, "total": sum.unwrap_or(total), "currency": "EUR",
                "address": address, "payment": "auto", "approval": "manual",
            });
            if let Some((field, value)) = strange {
                body[field] = value;
            }
            if let Some(gone) = gone {
                body.as_object_mut().unwrap().remove(FIELDS[gone]);
            }
            body
        })
}

const FIELDS: [&str; 8] = [
    "customer_id",
    "lines",
    "total",
    "currency",
    "address",
    "payment",
    "approval",
    "something-else",
];

proptest! {
    #![proptest_config(config())]

    #[test]
    fn an_almost_valid_body_is_a_valid_order_or_a_problem(body in almost_valid(), key in prop::option::of("[!-~]{1,255}")) {
        let body = serde_json::to_vec(&body).unwrap();
        match take(&body, key.as_deref()) {
            Ok(order) => {
                adds_up(&order);
                let again = take(&body, key.as_deref()).unwrap();
                prop_assert_eq!(again.order_id == order.order_id, key.is_some());
            }
            Err(problem) => is_sound(&problem, body.len()),
        }
    }

    #[test]
    fn arbitrary_json_is_a_problem(body in json()) {
        let body = serde_json::to_vec(&body).unwrap();
        is_sound(&take(&body, None).unwrap_err(), body.len());
        if let Err(problem) = receive::<ConfirmOrder>(&body) { is_sound(&problem, body.len()) }
        if let Err(problem) = receive::<CancelOrder>(&body) { is_sound(&problem, body.len()) }
    }

    #[test]
    fn arbitrary_bytes_are_a_problem(body in prop::collection::vec(any::<u8>(), 0..400)) {
        is_sound(&take(&body, None).unwrap_err(), body.len());
    }

    #[test]
    fn a_deeply_nested_body_is_a_problem(depth in 1..20_000_usize, object in any::<bool>()) {
        let body = if object { r#"{"a":"#.repeat(depth) } else { "[".repeat(depth) };
        is_sound(&take(body.as_bytes(), None).unwrap_err(), body.len());
    }

    #[test]
    fn a_cancellation_gives_a_reason_within_bounds(order_id in any::<String>(), reason in prop::option::of("\\PC{0,250}")) {
        let body = serde_json::to_vec(&json!({"order_id": order_id, "reason": reason})).unwrap();
        match receive::<CancelOrder>(&body).and_then(CancelOrder::check) {
            Ok((_, reason)) => prop_assert!((1..=MAX_REASON).contains(&reason.chars().count())),
            Err(problem) => is_sound(&problem, body.len()),
        }
    }

    #[test]
    fn an_idempotency_key_is_used_unchanged_or_refused(values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..3)) {
        let mut headers = HeaderMap::new();
        for value in values.iter().filter_map(|value| HeaderValue::from_bytes(value).ok()) {
            headers.append(HeaderName::from_static("idempotency-key"), value);
        }
        match idempotency_key(&headers) {
            Ok(None) => prop_assert!(headers.is_empty()),
            Ok(Some(key)) => {
                prop_assert_eq!(headers.len(), 1);
                prop_assert_eq!(headers["idempotency-key"].as_bytes(), key.as_bytes());
                prop_assert!((1..=MAX_KEY).contains(&key.len()));
            }
            Err(problem) => is_sound(&problem, 0),
        }
    }
}
