//! Telemetry: the log, metrics, spans.

pub(crate) mod fields;
pub(crate) mod log;
pub(crate) mod meters;
mod sampling;
pub(crate) mod spans;
