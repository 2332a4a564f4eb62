//! Whatever is delivered: every wire of every service reads it as its event, or refuses it in few words. Seeds of
//! failures are kept in `wires.regressions`.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use quadrille_decision::Service;
use quadrille_decision::testing::order;
use quadrille_delivery::DeliveryService;
use quadrille_events::Flow;
use quadrille_events::{Body, Charged, Created};
use quadrille_inventory::InventoryService;
use quadrille_order::OrderService;
use quadrille_payment::PaymentService;
use quadrille_runtime::Settings;

/// The longest that a refusal may say, in bytes: it is logged, and kept with the dead letter.
const MAX_ERROR: usize = 1_600;

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 256,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    }
}

/// Puts a body on every wire; returns by which names it was read.
fn hear<S: Service>(service: &S, body: &[u8]) -> Vec<&'static str> {
    let mut read = Vec::new();
    for wire in service.wires() {
        match wire.decode(body) {
            Ok((about, input)) => {
                assert_eq!(S::about(&input), Some(about));
                S::opens(&input);
                S::reads(&input);
                read.push(wire.name.subject);
            }
            Err(error) => assert!(
                error.to_string().len() <= MAX_ERROR,
                "{} bytes",
                error.to_string().len()
            ),
        }
    }
    read
}

fn everybody(flow: Flow, body: &[u8]) -> Vec<&'static str> {
    let settings = Settings::of([("NONE", "")]);
    let payment = PaymentService {
        flow,
        ..PaymentService::new(&settings).unwrap()
    };
    assert_eq!(payment.pay_within, Duration::from_secs(900));
    [
        hear(&OrderService { flow }, body),
        hear(&payment, body),
        hear(
            &InventoryService {
                flow,
                ..InventoryService::default()
            },
            body,
        ),
        hear(&DeliveryService::new(&settings).unwrap(), body),
    ]
    .concat()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_bytes_break_a_wire(body in prop::collection::vec(any::<u8>(), 0..300)) {
        for flow in [Flow::PayFirst, Flow::ReserveFirst] {
            prop_assert!(everybody(flow, &body).is_empty());
        }
    }

    #[test]
    fn a_damaged_event_breaks_no_wire(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let order = std::sync::Arc::new(order("42"));
        let mut body = serde_json::to_vec(&Charged { order, reference: "sim".to_owned() }).unwrap();
        let at = at.index(body.len());
        if cut { body.truncate(at) } else { body[at] = byte }
        for flow in [Flow::PayFirst, Flow::ReserveFirst] {
            everybody(flow, &body);
        }
    }
}

#[test]
fn each_flow_moves_wires_and_cuts_none() {
    let body = serde_json::to_vec(&Created {
        order: std::sync::Arc::new(order("42")),
    })
    .unwrap();
    assert!(everybody(Flow::PayFirst, &body).contains(&Created::NAME.subject));
    assert!(everybody(Flow::ReserveFirst, &body).contains(&Created::NAME.subject));
}
