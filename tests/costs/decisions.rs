//! Allocations of a decision: most of its cost, and the same number in every run.

use allocation_counter::measure;
use quadrille_decision::testing::{NOW, NamedInputs, Samples, id, order};
use quadrille_decision::{Context, Service};
use quadrille_delivery::DeliveryService;
use quadrille_events::{Created, Envelope, Event, OrderEvent, OrderId, Said, TraceParent, TypedId};
use quadrille_inventory::InventoryService;
use quadrille_order::OrderService;
use quadrille_payment::PaymentService;

/// The decision with the most allocations, over all states and these inputs.
fn most_expensive<S: Service>(samples: &Samples<S>, inputs: &NamedInputs<S::Input>) -> (u64, String) {
    let context = Context {
        now: NOW,
        records: &samples.records,
    };
    let mut most = (0, String::new());
    for (state, said) in &samples.states {
        let mut folded = S::State::default();
        for event in said {
            S::fold(&mut folded, event);
        }
        for (name, input) in inputs {
            let count = measure(|| drop(S::decide(&folded, input, &context))).count_total;
            most = most.max((count, format!("{state} on {name}")));
        }
    }
    most
}

/// A decision on an event allocates at most `heard` times, on a command at most `commands` times.
#[track_caller]
fn costs_at_most<S: Service>(samples: &Samples<S>, heard: u64, commands: u64) {
    for (inputs, bound) in [(&samples.heard, heard), (&samples.commands, commands)] {
        let (count, pair) = most_expensive(samples, inputs);
        assert!(count > 0 || inputs.is_empty(), "nothing is counted");
        assert!(count <= bound, "{pair}: {count} allocations, {bound} are allowed");
    }
}

#[test]
fn a_decision_of_order_allocates_little() {
    // A new order is made of the request and the prices: the keys of prices, the lines, the address, the order.
    costs_at_most::<OrderService>(&quadrille_order::samples::samples(), 2, 5);
}

#[test]
fn a_decision_of_payment_allocates_little() {
    costs_at_most::<PaymentService>(&quadrille_payment::samples::samples(), 3, 3);
}

#[test]
fn a_decision_of_inventory_allocates_little() {
    // A changed item is a copy with other texts, those of its photo among them.
    costs_at_most::<InventoryService>(&quadrille_inventory::samples::samples(), 5, 13);
}

#[test]
fn a_decision_of_delivery_allocates_little() {
    // Who calls a courier back copies the reason, and the list of what the courier carries.
    costs_at_most::<DeliveryService>(&quadrille_delivery::samples::samples(), 6, 6);
}

#[test]
fn an_event_is_written_and_read_with_few_allocations() {
    let order = std::sync::Arc::new(order("01a1fce1-6e03-7519-9ba4-ae31b3a879f8"));
    let event = OrderEvent::from(Created { order });
    let body = event.encode();
    let written = measure(|| drop(event.encode())).count_total;
    let read = measure(|| drop(OrderEvent::decode(event.name().entry, &body))).count_total;
    let order_id: OrderId = id("01a1fce1-6e03-7519-9ba4-ae31b3a879f8");
    let about = order_id.aggregate();
    let trace = TraceParent::of(&order_id.aggregate());
    let name = Event::names().next().unwrap();
    let headers = measure(|| {
        drop(Envelope::new(name, &about, 0, NOW, "http/create", &trace).headers());
    })
    .count_total;
    assert!(written <= 1, "writing a body: {written}");
    assert!(read <= 7, "reading it: {read}");
    // Ten headers, most of which are strings of their own.
    assert!(headers <= 13, "its headers: {headers}");
}
