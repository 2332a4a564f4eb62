//! What can be seen from outside: metrics, spans, the log.

pub(crate) mod fields;
pub(crate) mod log;
pub(crate) mod meters;
mod sampling;
pub(crate) mod spans;
