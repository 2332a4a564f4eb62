//! Runs, drives and audits a Quadrille: run-all, demo, watch, audit.

pub mod local;
pub mod run_all;
