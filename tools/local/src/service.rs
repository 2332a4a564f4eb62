//! The four services: what they are called, where they listen, which program each is.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::env;
use super::process::{Process, ProcessBuilder};

/// One of the four services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// Takes orders, confirms and completes them.
    Order,
    /// Charges and refunds.
    Payment,
    /// Keeps the stock and reserves it.
    Inventory,
    /// Assigns couriers.
    Delivery,
}

impl Service {
    /// All of them, in the order in which they first speak.
    pub const ALL: [Self; 4] = [Self::Order, Self::Payment, Self::Inventory, Self::Delivery];

    /// Its name: of its bucket, of its program, in its log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Payment => "payment",
            Self::Inventory => "inventory",
            Self::Delivery => "delivery",
        }
    }

    /// The port that it listens on if nobody says otherwise.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Order => 7001,
            Self::Payment => 7002,
            Self::Inventory => 7003,
            Self::Delivery => 7004,
        }
    }

    /// The environment variable by which `run-all` moves it to another port.
    pub fn port_variable(self) -> &'static str {
        match self {
            Self::Order => "ORDER_PORT",
            Self::Payment => "PAYMENT_PORT",
            Self::Inventory => "INVENTORY_PORT",
            Self::Delivery => "DELIVERY_PORT",
        }
    }

    /// The port that the environment gives it, else its default. What talks to a running system finds it by this too.
    pub fn port(self) -> Result<u16> {
        port(self.port_variable(), self.default_port())
    }

    /// Its program: beside this executable, or one folder up (tests and benches live in `target/<profile>/deps`).
    ///
    /// Cargo does not rebuild the programs of other packages for a test: `just test` does, and so must whoever runs
    /// `cargo test` by hand after a change of a service.
    pub fn binary(self) -> Result<PathBuf> {
        program(self.name())
    }

    /// Describes one instance of it, on this server and port (0 is any free one).
    pub fn on(self, nats_url: &str, port: u16) -> Result<ProcessBuilder> {
        Ok(Process::builder(self.name(), self.binary()?)
            .env("NATS_URL", nats_url)
            .env("PORT", port.to_string()))
    }
}

/// The port that `variable` gives, else this one.
pub(super) fn port(variable: &str, default: u16) -> Result<u16> {
    env(variable).map_or(Ok(default), |port| {
        port.parse()
            .with_context(|| format!("{variable} is {port:?}, which is no port (0 to 65535)"))
    })
}

/// A program of ours: see [`Service::binary`].
pub(super) fn program(name: &str) -> Result<PathBuf> {
    let exe = std::env::current_exe().context("cannot find out where this program is")?;
    exe.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
        .with_context(|| {
            let folder = exe.parent().unwrap_or(Path::new("."));
            let release = if exe.ancestors().any(|a| a.ends_with("release")) { " --release" } else { "" };
            format!(
                "the {name} service is not built: there is no `{name}` in or above {}. Run `cargo build --workspace \
                 --bins --locked{release}`",
                folder.display()
            )
        })
}
