//! Planted impurities in decisions.

use std::path::Path;

use quadrille_house::Rule;
use quadrille_house::decisions::{Report, check};

use crate::tree::{Tree, assert_none, assert_one};

const PURE: &str = "
use std::collections::BTreeMap;
use std::time::Duration;
use jiff::Timestamp;
use quadrille_decision::Decision;
use crate::provider::Charge as Outcome;

pub enum State { Open, Closed }

pub fn decide(state: &State, at: Timestamp, charge: Outcome) -> String {
    let limits = BTreeMap::<u8, u64>::from([(1, u64::MAX)]);
    match (state, limits.get(&1)) {
        (State::Open, Some(_)) => String::new(),
        (State::Open, None) | (State::Closed, _) => at.to_string() + tokio,
    }
}

#[cfg(test)]
mod tests {
    fn now() -> std::time::Instant { match 1 { _ => std::time::Instant::now() } }
}
";

fn report(decisions: &str) -> Report {
    let tree = Tree::of_one(
        "",
        &[
            ("src/lib.rs", "pub mod decide; pub mod provider;"),
            ("src/decide.rs", decisions),
            ("src/provider.rs", "use std::time::Instant; pub struct Charge;"),
        ],
    );
    check(&tree.read()).unwrap()
}

#[test]
fn pure_decisions_pass() {
    let report = report(PURE);
    assert_none(&report.violations);
    assert_eq!(report.files, [Path::new("services/order/src/decide.rs")]);
}

#[test]
fn what_is_not_pure_is_named() {
    for (line, culprit) in [
        ("use std::time::{Duration, Instant};", "Instant"),
        (
            "use std::time::Instant as Moment; fn t() { Moment::now(); }",
            "Instant",
        ),
        ("fn t() { std::time::SystemTime::now(); }", "SystemTime"),
        ("fn t() { jiff::Timestamp::now(); }", "Timestamp::now"),
        (
            "use jiff::Timestamp; fn t() { Timestamp::now(); }",
            "Timestamp::now",
        ),
        ("use jiff::Timestamp as T; fn t() { T::now(); }", "Timestamp::now"),
        (
            "fn t() { format!(\"{}\", jiff::Timestamp::now()); }",
            "Timestamp::now",
        ),
        ("fn t() { rand::random::<u8>(); }", "rand"),
        ("fn t() { ::rand::random::<u8>(); }", "rand"),
        ("use uuid::Uuid; fn t() { Uuid::now_v7(); }", "Uuid::now_v7"),
        ("use tokio::time;", "tokio"),
        ("use axum::Json; fn t(_: Json<u8>) {}", "axum"),
        ("use async_nats as nats; fn t(_: nats::Client) {}", "async_nats"),
        ("use quadrille_runtime::Door;", "quadrille_runtime"),
        ("use std::{fs, fmt};", "std::fs"),
        ("#[tokio::main] fn t() {}", "tokio"),
    ] {
        let words = ["services/order/src/decide.rs:1: ", &format!("`{culprit}`")];
        assert_one(&report(line).violations, Rule::ImpureDecision, &words);
    }
}

#[test]
fn a_catch_all_is_named() {
    for arm in ["_ => 2", "_ if true => 2", "(_, _) => 2"] {
        let text = format!("fn t(x: (u8, u8)) -> u8 {{\n    match x {{ (1, _) => 1,\n    {arm} }} }}");
        let words = ["services/order/src/decide.rs:3"];
        assert_one(&report(&text).violations, Rule::CatchAll, &words);
    }
}

#[test]
fn decisions_in_a_folder_are_checked() {
    let tree = Tree::of_one(
        "",
        &[
            ("src/lib.rs", "pub mod decide;"),
            ("src/decide/mod.rs", "mod fold;"),
            ("src/decide/fold.rs", "use std::net::IpAddr;"),
        ],
    );
    let report = check(&tree.read()).unwrap();
    assert_one(
        &report.violations,
        Rule::ImpureDecision,
        &["decide/fold.rs:1: use std::net::IpAddr"],
    );
    assert_eq!(report.files.len(), 2);
}
