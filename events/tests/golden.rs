//! The contract held still: an example of each event lies in `events/golden/`, and a change of its JSON must be meant. The examples are also
//! what other tests make events of. `UPDATE_EXPECT=1 cargo test -p quadrille-events --test golden` brings one into the form of the others.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use expect_test::expect_file;
use quadrille_events::*;

/// Where the golden JSON of an event lies: `events/golden/<service>/<key>.json`.
fn golden(name: &EventName) -> PathBuf {
    folder(name.service).join(format!("{}.json", name.key()))
}

fn folder(service: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(service)
}

#[test]
fn every_event_has_a_golden_json_that_reads_back_as_it_is() {
    for name in Event::names() {
        let path = golden(name);
        let golden = std::fs::read(&path)
            .unwrap_or_else(|error| panic!("{}: {error}: write an example of {name} there", path.display()));
        let event = Event::decode(name.service, &name.key(), &golden)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // Written again, with every field that has a default, in the form of the others.
        let value: serde_json::Value = serde_json::from_slice(&event.encode()).unwrap();
        let pretty = format!("{}\n", serde_json::to_string_pretty(&value).unwrap());
        expect_file![&path].assert_eq(&pretty);
    }
}

#[test]
fn no_golden_file_is_left_of_an_event_that_is_gone() {
    for service in Event::SERVICES {
        for file in std::fs::read_dir(folder(service)).into_iter().flatten() {
            let file = file.unwrap().file_name().into_string().unwrap();
            assert!(
                Event::names().any(|name| name.service == service && format!("{}.json", name.key()) == file),
                "golden/{service}/{file} belongs to no event",
            );
        }
    }
}

#[test]
fn entries_are_one_token_and_unique_in_their_bucket() {
    let mut seen = BTreeMap::new();
    for name in Event::names() {
        assert!(!name.entry.contains(['.', '*', '>', ' ']), "{}", name.entry);
        assert!(
            seen.insert((name.service, name.entry), name).is_none(),
            "{} twice",
            name.entry
        );
    }
}

#[test]
fn an_envelope_survives_its_headers() {
    let about = OrderId::new("42").unwrap().aggregate();
    let name = Created::NAME;
    let trace = TraceParent::of(&about);
    let envelope = Envelope::new(
        name,
        &about,
        0,
        "2026-01-02T03:04:05.678Z".parse().unwrap(),
        "http/create",
        &trace,
    );
    let headers: BTreeMap<_, _> = envelope.clone().headers().into_iter().collect();
    let read = |without: &'static str| {
        Envelope::read(name, &about, |key| {
            headers.get(key).filter(|_| key != without).map(String::as_str)
        })
    };
    assert_eq!(read(""), Ok(envelope));
    assert_eq!(read("ce-type"), Err(EnvelopeError::Missing("ce-type")));
    assert_eq!(read("traceparent"), Err(EnvelopeError::Missing("traceparent")));
}

#[test]
fn an_unknown_version_is_named() {
    let about = OrderId::new("42").unwrap().aggregate();
    let name = Created::NAME;
    let envelope = Envelope::new(
        name,
        &about,
        0,
        jiff::Timestamp::UNIX_EPOCH,
        "x",
        &TraceParent::of(&about),
    );
    let headers: BTreeMap<_, _> = envelope.headers().into_iter().collect();
    let error = Envelope::read(name, &about, |key| {
        if key == "ce-eventversion" {
            Some("2")
        } else {
            headers.get(key).map(String::as_str)
        }
    })
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the header `ce-eventversion` is `2`: this version of the event is not known here"
    );
}
