//! What can be seen from outside: metrics, spans, the log.

pub(crate) mod log;
pub(crate) mod meters;
pub(crate) mod spans;
