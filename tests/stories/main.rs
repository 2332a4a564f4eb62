//! Whole journeys: a real nats-server, the real programs, and orders over HTTP. After each story the audit checks that
//! all that must always hold does.
//!
//! `UPDATE_EXPECT=1 cargo test -p quadrille-tests` writes the golden transcripts anew.

#![allow(clippy::unwrap_used)]

mod endings;

mod cancelling;
mod contention;
mod deadlines;
mod repeats;
mod requests;

mod broker;
mod crashes;
mod dead_letters;
mod provider;
mod stopping;

mod continuity;
mod gift_cards;
mod hardening;
mod operator;
mod running;
