//! Runs, drives and audits a Quadrille: run-all, demo, watch, stuck, audit.

pub mod audit;
pub mod bench;
pub mod client;
pub mod demo;
pub mod letters;
pub mod local;
pub mod run_all;
pub mod story;
pub mod stuck;
pub mod watch;
