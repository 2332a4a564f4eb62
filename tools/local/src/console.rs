//! The console: a program beside the four services, which takes no part in the choreography.

use std::path::PathBuf;

use anyhow::Result;

use super::process::{Process, ProcessBuilder};
use super::service;

/// Its name: of its program, in its log.
pub const NAME: &str = "console";
/// The port that it listens on if nobody says otherwise.
pub const DEFAULT_PORT: u16 = 7000;
/// The environment variable by which `run-all` moves it to another port.
pub const PORT_VARIABLE: &str = "CONSOLE_PORT";

/// The port that the environment gives it, else its default.
///
/// # Errors
/// The variable is no port.
pub fn port() -> Result<u16> {
    service::port(PORT_VARIABLE, DEFAULT_PORT)
}

/// Its program.
///
/// # Errors
/// It is not built.
pub fn binary() -> Result<PathBuf> {
    service::program(NAME)
}

/// Describes an instance of it, on this server and port, that hands commands on to these services.
///
/// # Errors
/// It is not built.
pub fn on(nats_url: &str, port: u16, order_url: &str, payment_url: &str) -> Result<ProcessBuilder> {
    Ok(Process::builder(NAME, binary()?)
        .env("NATS_URL", nats_url)
        .env("PORT", port.to_string())
        .env("ORDER_URL", order_url)
        .env("PAYMENT_URL", payment_url))
}
