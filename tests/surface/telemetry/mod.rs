//! What can be seen of the system from outside, with the programs that look at it in earnest: traces at an OTLP receiver,
//! metrics as Prometheus reads them, alerts that fire.

#![allow(clippy::unwrap_used)]

mod alerts;
mod collector;
mod logs;
mod metrics;
mod prometheus;
mod scrape;
mod traces;
