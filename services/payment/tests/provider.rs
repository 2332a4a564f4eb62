//! The payment providers: the built-in simulator, and the HTTP adapter against a small HTTP server that charges, declines,
//! fails, hangs and sends invalid answers.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use quadrille_decision::testing::order;
use quadrille_decision::{AskError, Service};
use quadrille_events::{Charged, Flow, Order, OrderId, Refunded};
use quadrille_payment::PaymentService;
use quadrille_payment::decide::{Ask, Input, key};
use quadrille_payment::provider::{ChargeResult, HttpProvider, Provider, SimulatedProvider};
use serde_json::{Value, json};

const KEY: &str = "payment/charged.42";

fn approved(reference: &str) -> ChargeResult {
    ChargeResult::Approved {
        reference: reference.to_owned(),
    }
}

fn declined(reason: &str) -> ChargeResult {
    ChargeResult::Declined {
        reason: reason.to_owned(),
    }
}

#[test]
fn the_key_of_a_call_tells_two_orders_with_one_id_apart_and_is_that_of_older_programs_otherwise() {
    let placed_at = |ms| Order {
        placed_at: jiff::Timestamp::from_millisecond(ms).ok(),
        ..order("42")
    };
    assert_eq!(key::<Charged>(&order("42")), KEY);
    assert_eq!(key::<Refunded>(&order("42")), "payment/refunded.42");
    assert_eq!(key::<Charged>(&placed_at(1)), "payment/charged.42@1");
    assert_ne!(key::<Charged>(&placed_at(1)), key::<Charged>(&placed_at(2)));
}

mod simulator {
    use super::*;

    #[tokio::test]
    async fn it_approves_every_charge_by_default() {
        let simulator = SimulatedProvider::default();
        assert_eq!(simulator.charge(&order("42"), KEY).await, Ok(approved("sim-42")));
        assert_eq!(simulator.refund(&order("42"), KEY).await, Ok(()));
        assert_eq!(simulator.void(&order("42"), KEY).await, Ok(()));
    }

    #[tokio::test]
    async fn it_declines_at_its_rate_and_always_the_same_orders() {
        let simulator = SimulatedProvider {
            decline_rate: 0.5,
            seed: 7,
            latency: Duration::ZERO,
        };
        let mut count = 0;
        for n in 0..1000 {
            let order = order(&n.to_string());
            let first = simulator.charge(&order, KEY).await;
            assert_eq!(first, simulator.charge(&order, KEY).await);
            count += u32::from(matches!(first, Ok(ChargeResult::Declined { .. })));
        }
        assert!((400..600).contains(&count), "{count} of 1000");
    }

    #[tokio::test]
    async fn it_always_declines_the_test_customer() {
        let order = Order {
            customer_id: "test-declined".parse().unwrap(),
            ..order("42")
        };
        let result = SimulatedProvider::default().charge(&order, KEY).await;
        assert!(matches!(result, Ok(ChargeResult::Declined { .. })), "{result:?}");
    }

    #[test]
    fn without_latency_it_answers_at_once() {
        let (simulator, order) = (SimulatedProvider::default(), order("42"));
        let mut charge = simulator.charge(&order, KEY);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(charge.as_mut().poll(&mut context).is_ready());
    }

    #[tokio::test]
    async fn with_latency_it_answers_after_the_latency() {
        let latency = Duration::from_millis(30);
        let start = Instant::now();
        let simulator = SimulatedProvider {
            latency,
            ..SimulatedProvider::default()
        };
        assert_eq!(simulator.charge(&order("42"), KEY).await, Ok(approved("sim-42")));
        assert!(start.elapsed() >= latency);
    }
}

mod http {
    use super::*;

    /// A provider whose answers are scripted, and which records its calls.
    #[derive(Default)]
    struct ScriptedProvider {
        /// How the first calls end. Later calls are approved.
        script: Vec<Attempt>,
        /// Path, key and body of each call.
        calls: Vec<(String, String, Value)>,
        /// The charged amounts by key. A repeated key charges once.
        taken: HashMap<String, u64>,
    }

    #[derive(Clone)]
    enum Attempt {
        /// Answers, and charges nothing.
        Answers(u16, &'static str),
        /// Charges, and loses the answer.
        TakesAndFails(u16),
        TakesAndHangs,
        Hangs,
    }

    type Shared = Arc<Mutex<ScriptedProvider>>;

    async fn call(
        State(server): State<Shared>,
        Path(call): Path<String>,
        headers: HeaderMap,
        axum::Json(body): axum::Json<Value>,
    ) -> Response {
        let key = headers["idempotency-key"].to_str().unwrap().to_owned();
        let amount = body["amount"].as_u64().unwrap();
        let attempt = {
            let mut server = server.lock().unwrap();
            server.calls.push((call.clone(), key.clone(), body));
            let attempt = if server.script.is_empty() {
                None
            } else {
                Some(server.script.remove(0))
            };
            if matches!(
                attempt,
                None | Some(Attempt::TakesAndFails(_) | Attempt::TakesAndHangs)
            ) && call == "charges"
            {
                server.taken.insert(key.clone(), amount);
            }
            attempt
        };
        match attempt {
            None => {
                axum::Json(json!({"status": "approved", "reference": format!("ref {key}")})).into_response()
            }
            Some(Attempt::Answers(status, body)) => {
                (StatusCode::from_u16(status).unwrap(), body).into_response()
            }
            Some(Attempt::TakesAndFails(status)) => StatusCode::from_u16(status).unwrap().into_response(),
            Some(Attempt::TakesAndHangs | Attempt::Hangs) => std::future::pending().await,
        }
    }

    /// Longer than any answer takes.
    const PATIENT: Duration = Duration::from_secs(60);

    /// Starts a scripted provider, and a client that waits for an answer as long as `patience`.
    async fn start(patience: Duration, script: impl IntoIterator<Item = Attempt>) -> (HttpProvider, Shared) {
        let server = Shared::default();
        server.lock().unwrap().script = script.into_iter().collect();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/", listener.local_addr().unwrap());
        let app = Router::new()
            .route("/v1/{call}", post(call))
            .with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (HttpProvider::new(url.parse().unwrap(), patience).unwrap(), server)
    }

    async fn charge_answered(status: u16, body: &'static str) -> Result<ChargeResult, AskError> {
        let (provider, _) = start(PATIENT, [Attempt::Answers(status, body)]).await;
        provider.charge(&order("42"), KEY).await
    }

    #[tokio::test]
    async fn a_call_has_amount_currency_customer_and_idempotency_key() {
        let (provider, server) = start(PATIENT, []).await;
        assert_eq!(
            provider.charge(&order("42"), KEY).await,
            Ok(approved("ref payment/charged.42"))
        );
        assert_eq!(provider.refund(&order("42"), "payment/refunded.42").await, Ok(()));
        assert_eq!(provider.void(&order("42"), "payment/cancelled.42").await, Ok(()));
        let body = json!({"order_id": "42", "amount": 500, "currency": "EUR", "customer_id": "ada"});
        let heard = |call: &str, key: &str| (call.to_owned(), key.to_owned(), body.clone());
        assert_eq!(
            server.lock().unwrap().calls,
            [
                heard("charges", "payment/charged.42"),
                heard("refunds", "payment/refunded.42"),
                heard("voids", "payment/cancelled.42"),
            ]
        );
    }

    #[tokio::test]
    async fn errors_contain_no_password() {
        let nobody = "http://shop:secret@127.0.0.1:1/v1".parse().unwrap();
        let nobody = HttpProvider::new(nobody, Duration::from_secs(1)).unwrap();
        let problem = nobody.charge(&order("42"), KEY).await.unwrap_err().to_string();
        assert!(problem.contains("http://127.0.0.1:1/v1/charges"), "{problem}");
        assert!(!problem.contains("secret"), "{problem}");
        let wrong = HttpProvider::new("ftp://shop:secret@host/".parse().unwrap(), Duration::from_secs(1));
        let problem = wrong.err().unwrap().to_string();
        assert!(problem.contains("PAYMENT_PROVIDER_URL=ftp://host/"), "{problem}");
    }

    #[tokio::test]
    async fn a_decline_is_an_outcome() {
        for (status, body, reason) in [
            (200, r#"{"status":"declined","reason":"no funds"}"#, "no funds"),
            (402, r#"{"reason":"no funds"}"#, "no funds"),
            (402, "", "the payment provider gives no reason"),
            (422, r#"{"reason":"card expired","code":7}"#, "card expired"),
        ] {
            assert_eq!(
                charge_answered(status, body).await,
                Ok(declined(reason)),
                "{status}"
            );
        }
    }

    #[tokio::test]
    async fn a_call_with_unknown_outcome_can_be_repeated() {
        for status in [408, 409, 425, 429, 500, 502, 503, 504] {
            let result = charge_answered(status, r#"{"reason":"not now"}"#).await;
            assert!(
                matches!(result, Err(AskError::Transient(_))),
                "{status}: {result:?}"
            );
        }
        let (provider, _) = start(Duration::from_millis(300), [Attempt::Hangs]).await;
        let result = provider.charge(&order("42"), KEY).await;
        assert!(matches!(result, Err(AskError::Transient(_))), "{result:?}");
        let nobody =
            HttpProvider::new("http://127.0.0.1:1".parse().unwrap(), Duration::from_secs(1)).unwrap();
        let result = nobody.charge(&order("42"), KEY).await;
        assert!(matches!(result, Err(AskError::Transient(_))), "{result:?}");
    }

    #[tokio::test]
    async fn an_unexpected_answer_is_a_permanent_error() {
        for (status, body) in [
            (200, "thank you"),
            (200, r#"{"status":"maybe"}"#),
            (302, ""),
            (400, r#"{"reason":"no such currency"}"#),
            (401, ""),
            (404, ""),
            (422, "what?"),
        ] {
            let result = charge_answered(status, body).await;
            assert!(
                matches!(result, Err(AskError::Permanent(_))),
                "{status}: {result:?}"
            );
        }
        // Only a charge can be declined.
        let (provider, _) = start(PATIENT, [Attempt::Answers(402, r#"{"reason":"no"}"#)]).await;
        let result = provider.refund(&order("42"), KEY).await;
        assert!(matches!(result, Err(AskError::Permanent(_))), "{result:?}");
    }

    #[tokio::test]
    async fn an_answer_that_is_too_long_is_not_read_to_its_end() {
        let result = charge_answered(200, Box::leak("x".repeat(1 << 20).into_boxed_str())).await;
        assert!(
            matches!(&result, Err(AskError::Permanent(why)) if why.contains("more than")),
            "{result:?}"
        );
    }

    #[tokio::test]
    async fn a_charge_that_is_repeated_after_failures_charges_once() {
        let script = [
            Attempt::Answers(503, ""),
            Attempt::TakesAndFails(502),
            Attempt::TakesAndHangs,
            Attempt::Answers(409, "in progress"),
        ];
        let (provider, server) = start(Duration::from_secs(2), script).await;
        let service = PaymentService {
            flow: Flow::PayFirst,
            pay_within: Duration::ZERO,
            provider: Box::new(provider),
        };
        let order = Arc::new(order("42"));
        let mut attempts = 0;
        let outcome = loop {
            attempts += 1;
            match service.ask(Ask::Charge { order: order.clone() }).await {
                Err(AskError::Transient(_)) => {}
                other => break other,
            }
        };
        let order_id = OrderId::new("42").unwrap();
        match outcome {
            Ok(Input::Charge { order, result }) => {
                assert_eq!(
                    (&order.order_id, result),
                    (&order_id, approved("ref payment/charged.42"))
                );
            }
            other => panic!("{other:?}"),
        }
        assert!(
            attempts >= 5,
            "{attempts} attempts, at least 5 expected (more if calls time out on a slow machine)"
        );
        assert_eq!(
            server.lock().unwrap().taken,
            HashMap::from([(KEY.to_owned(), 500)])
        );
    }

    #[test]
    fn a_url_that_cannot_be_called_is_refused_at_start() {
        let new = |url: &str| HttpProvider::new(url.parse().unwrap(), Duration::from_secs(1));
        for url in ["ftp://payments.example", "mailto:pay@example.com"] {
            let error = new(url).err().unwrap().to_string();
            assert!(
                error.contains("PAYMENT_PROVIDER_URL") && error.contains("http"),
                "{error}"
            );
        }
        let refused = new("https://payments.example").err();
        assert_eq!(refused.is_some(), cfg!(not(feature = "tls")));
        if let Some(error) = refused {
            assert!(error.to_string().contains("--features tls"), "{error}");
        }
    }
}
