//! What the system shows to the outside: HTTP against its OpenAPI documents, telemetry, the console in a browser.

#![allow(clippy::unwrap_used)]

mod asyncapi;
mod console;
mod hostile;
mod openapi;
mod telemetry;
