//! Whatever comes in: what is encoded reads back as it was, what is no event is refused in few words, and nothing makes
//! a decoder panic. Seeds of failures are kept in `decoders.regressions`.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use quadrille_events::*;

/// The longest that an error may say, in bytes: it is logged and shown, whoever sent what it is about.
const MAX_ERROR: usize = 1_600;

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 512,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    }
}

fn id<T: std::str::FromStr<Err = IdError> + std::fmt::Debug>() -> impl Strategy<Value = T> {
    "[A-Za-z0-9_-]{1,64}".prop_map(|text| text.parse().unwrap())
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["\\PC{0,40}", any::<String>()]
}

fn order() -> impl Strategy<Value = Arc<Order>> {
    let line = (id(), any::<u32>(), any::<u64>()).prop_map(|(item_id, quantity, unit_price)| Line {
        item_id,
        quantity,
        unit_price,
    });
    let currency = prop::sample::select(vec![Currency::EUR, Currency::USD, Currency::JPY, Currency::XXX]);
    let payment = prop::sample::select(vec![PaymentMode::Auto, PaymentMode::Manual]);
    let approval = prop::sample::select(vec![Approval::Auto, Approval::Manual]);
    let lines = prop::collection::vec(line, 0..5);
    (
        id(),
        id(),
        lines,
        any::<u64>(),
        currency,
        text(),
        payment,
        approval,
        prop::option::of(time()),
    )
        .prop_map(
            |(order_id, customer_id, lines, total, currency, address, payment, approval, placed_at)| {
                Arc::new(Order {
                    order_id,
                    customer_id,
                    lines,
                    total,
                    currency,
                    address,
                    payment,
                    approval,
                    placed_at,
                })
            },
        )
}

/// A moment that RFC 3339 can write.
fn time() -> impl Strategy<Value = jiff::Timestamp> {
    (-62_135_596_800_i64..253_402_207_200, 0..1_000_000_000)
        .prop_map(|(s, ns)| jiff::Timestamp::new(s, ns).unwrap())
}

/// The example of any event, about any order.
fn event() -> impl Strategy<Value = Event> {
    let names: Vec<_> = Event::names().collect();
    (prop::sample::select(names), order()).prop_map(|(name, order)| {
        let file = format!(
            "{}/golden/{}/{}.json",
            env!("CARGO_MANIFEST_DIR"),
            name.service,
            name.key()
        );
        let mut body: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        if let Some(example) = body.get_mut("order") {
            *example = serde_json::to_value(&*order).unwrap();
        }
        Event::decode(name.service, &name.key(), body.to_string().as_bytes()).unwrap()
    })
}

/// A name of the contract, or something like one.
fn name() -> impl Strategy<Value = (String, String)> {
    let known: Vec<_> = Event::names()
        .map(|name| (name.service.to_owned(), name.key()))
        .collect();
    prop_oneof![9 => prop::sample::select(known), 1 => (text(), text())]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn an_event_of_one_name_is_read_by_no_other_unless_it_says_all_that_the_other_does(event in event(), other in name()) {
        if let Ok(read) = Event::decode(&other.0, &other.1, &event.encode()) {
            prop_assert_eq!(read.order(), event.order());
            prop_assert_eq!((read.name().service, read.name().key()), (other.0.as_str(), other.1));
        }
    }

    #[test]
    fn any_bytes_are_refused_in_few_words(name in name(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let error = Event::decode(&name.0, &name.1, &bytes).unwrap_err();
        prop_assert!(error.to_string().len() <= MAX_ERROR, "{error}");
    }

    #[test]
    fn a_damaged_event_is_refused_in_few_words_or_reads_as_something_sound(
        event in event(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>(),
    ) {
        let (name, mut body) = (event.name(), event.encode());
        let at = at.index(body.len());
        if cut { body.truncate(at) } else { body[at] = byte }
        match Event::decode(name.service, &name.key(), &body) {
            Ok(read) => {
                prop_assert!(!cut);
                let again = Event::decode(name.service, &name.key(), &read.encode()).unwrap();
                prop_assert_eq!(again, read);
            }
            Err(error) => prop_assert!(error.to_string().len() <= MAX_ERROR, "{error}"),
        }
    }

    #[test]
    fn a_long_wrong_word_is_not_repeated_at_length(event in event(), word in "[a-z]{1000,3000}") {
        let (name, body) = (event.name(), String::from_utf8(event.encode()).unwrap());
        for (right, wrong) in [
            ("\"payment\":\"manual\"", format!("\"payment\":\"{word}\"")),
            ("\"payment\":\"auto\"", format!("\"payment\":\"{word}\"")),
            ("\"item_id\"", format!("\"{word}\"")),
        ] {
            if let Err(error) = Event::decode(name.service, &name.key(), body.replacen(right, &wrong, 1).as_bytes()) {
                prop_assert!(error.to_string().len() <= MAX_ERROR, "{} bytes", error.to_string().len());
            }
        }
    }

    #[test]
    fn an_id_is_what_it_says_or_is_none(text in prop_oneof![text(), "[A-Za-z0-9_.*> -]{0,70}"]) {
        let sound = (1..=MAX_ID).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        match OrderId::new(&text) {
            Ok(id) => {
                prop_assert!(sound);
                prop_assert_eq!(id.as_str(), &text);
                let json = serde_json::to_string(&id).unwrap();
                prop_assert_eq!(serde_json::from_str::<OrderId>(&json).unwrap(), id);
            }
            Err(error) => {
                prop_assert!(!sound);
                prop_assert!(error.to_string().len() < MAX_ERROR);
                prop_assert!(serde_json::from_value::<OrderId>(text.into()).is_err());
            }
        }
    }

    #[test]
    fn an_envelope_survives_its_headers(
        n in 0..Event::names().count(), order_id in id::<OrderId>(), time in time(), cause in text(), trace in trace(),
    ) {
        let name = Event::names().nth(n).unwrap();
        let envelope = Envelope::new(name, &order_id.aggregate(), 0, time, &cause, &trace);
        let headers = envelope.clone().headers();
        let header = |key: &str| headers.iter().find(|(known, _)| *known == key).map(|(_, value)| value.as_str());
        prop_assert_eq!(Envelope::read(name, &order_id.aggregate(), header).unwrap(), envelope);
    }

    #[test]
    fn a_wrong_header_is_named_and_not_repeated_at_length(
        n in 0..Event::names().count(), order_id in id::<OrderId>(), at in 0..10_usize, value in any::<String>(),
        long in 0..2000_usize, missing in any::<bool>(),
    ) {
        let name = Event::names().nth(n).unwrap();
        let trace = TraceParent::of(&order_id.aggregate());
        let envelope = Envelope::new(name, &order_id.aggregate(), 0, jiff::Timestamp::UNIX_EPOCH, "http/create", &trace);
        let headers = envelope.headers();
        let wrong = format!("{value}{}", "x".repeat(long));
        let read = Envelope::read(name, &order_id.aggregate(), |key| {
            let (at_key, right) = headers.iter().enumerate().find(|(_, (known, _))| *known == key)?;
            if at_key != at { Some(right.1.as_str()) } else if missing { None } else { Some(wrong.as_str()) }
        });
        if let Err(error) = read {
            prop_assert!(error.to_string().contains(headers[at].0), "{error}");
            prop_assert!(error.to_string().len() <= MAX_ERROR, "{} bytes", error.to_string().len());
        }
    }

    #[test]
    fn a_traceparent_survives_its_header_and_no_text_breaks_it(
        trace in trace(), noise in prop_oneof![any::<String>(), "[0-9a-fA-F-]{0,60}", "00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"],
    ) {
        prop_assert_eq!(TraceParent::parse(&trace.to_string()), Some(trace.clone()));
        let child = trace.child("payment", &noise);
        prop_assert_eq!(TraceParent::parse(&child.to_string()), Some(child));
        if let Some(read) = TraceParent::parse(&noise) {
            prop_assert_eq!(read.to_string(), noise);
        }
    }
}

fn trace() -> impl Strategy<Value = TraceParent> {
    (1..u128::MAX, 1..u64::MAX, any::<u8>()).prop_map(|(trace, span, flags)| {
        TraceParent::parse(&format!("00-{trace:032x}-{span:016x}-{flags:02x}")).unwrap()
    })
}
