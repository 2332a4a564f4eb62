//! End-to-end tests: a real nats-server, the real programs, and orders over HTTP. At the end of each test the audit checks the
//! invariants.
//!
//! `UPDATE_EXPECT=1 cargo test -p quadrille-tests` rewrites the golden transcripts.

#![allow(clippy::unwrap_used)]

mod endings;

mod cancelling;
mod contention;
mod deadlines;
mod items;
mod photos;
mod repeats;
mod requests;
mod waiting;

mod broker;
mod crashes;
mod dead_letters;
mod provider;
mod stopping;

mod continuity;
mod gift_cards;
mod hardening;
mod operator;
mod retention;
mod running;
