//! The programs of a Quadrille: what they are called, where they listen by default, where their executables are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::env;

/// One of the four services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    Order,
    Payment,
    Inventory,
    Delivery,
}

impl Service {
    /// All of them, in the order of their first events.
    pub const ALL: [Self; 4] = [Self::Order, Self::Payment, Self::Inventory, Self::Delivery];

    /// The name of its bucket and of its program.
    pub fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Payment => "payment",
            Self::Inventory => "inventory",
            Self::Delivery => "delivery",
        }
    }

    /// The port that it listens on in a running system: `ORDER_PORT` and so on, else its default.
    pub fn port(self) -> Result<u16> {
        Program::from(self).port()
    }

    /// The environment variable of [`Service::port`].
    pub fn port_variable(self) -> &'static str {
        Program::from(self).port_variable()
    }
}

/// A program that listens on HTTP: a service, or the console beside them, which takes no part in the choreography.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Program {
    Service(Service),
    Console,
}

impl From<Service> for Program {
    fn from(service: Service) -> Self {
        Self::Service(service)
    }
}

impl Program {
    /// The four services and the console, in the order in which `run-all` shows them.
    pub const ALL: [Self; 5] = [
        Self::Service(Service::Order),
        Self::Service(Service::Payment),
        Self::Service(Service::Inventory),
        Self::Service(Service::Delivery),
        Self::Console,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Service(service) => service.name(),
            Self::Console => "console",
        }
    }

    pub fn default_port(self) -> u16 {
        match self {
            Self::Console => 7000,
            Self::Service(Service::Order) => 7001,
            Self::Service(Service::Payment) => 7002,
            Self::Service(Service::Inventory) => 7003,
            Self::Service(Service::Delivery) => 7004,
        }
    }

    /// The environment variable by which `run-all` moves it to another port.
    pub fn port_variable(self) -> &'static str {
        match self {
            Self::Console => "CONSOLE_PORT",
            Self::Service(Service::Order) => "ORDER_PORT",
            Self::Service(Service::Payment) => "PAYMENT_PORT",
            Self::Service(Service::Inventory) => "INVENTORY_PORT",
            Self::Service(Service::Delivery) => "DELIVERY_PORT",
        }
    }

    /// The port that the environment gives it, else its default.
    pub fn port(self) -> Result<u16> {
        let variable = self.port_variable();
        env(variable).map_or(Ok(self.default_port()), |port| {
            port.parse()
                .with_context(|| format!("{variable} is {port:?}, which is no port (0 to 65535)"))
        })
    }

    /// Its executable: in `folder`, or beside this executable, or one folder up (tests and benches are in
    /// `target/<profile>/deps`).
    ///
    /// Cargo does not rebuild the programs of other packages for a test: `just test` does, and so must whoever runs
    /// `cargo test` by hand after a change of a service.
    pub fn executable(self, folder: Option<&Path>) -> Result<PathBuf> {
        let name = self.name();
        let this = std::env::current_exe().context("cannot find out where this program is")?;
        let folders = match folder {
            Some(folder) => vec![folder],
            None => this.ancestors().skip(1).take(2).collect(),
        };
        let mut programs = folders.iter().map(|folder| folder.join(name));
        programs.find(|program| program.is_file()).with_context(|| {
            let folder = folders.first().copied().unwrap_or(Path::new("."));
            let release = if folder.ancestors().any(|a| a.ends_with("release")) { " --release" } else { "" };
            format!(
                "the {name} program is not built: there is no `{name}` in or above {}. Run `cargo build --workspace --bins \
                 --locked{release}`",
                folder.display()
            )
        })
    }
}

/// The address that services listen on: `BIND`, else the loopback address.
pub fn bind() -> String {
    env("BIND").unwrap_or_else(|| String::from("127.0.0.1"))
}

/// The base URL of a program on this machine that listens on this address.
pub fn local_url(bind: &str, port: u16) -> String {
    match bind {
        "0.0.0.0" => format!("http://127.0.0.1:{port}"),
        "::" => format!("http://[::1]:{port}"),
        v6 if v6.contains(':') => format!("http://[{v6}]:{port}"),
        host => format!("http://{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_listens_everywhere_is_asked_on_the_loopback_address() {
        assert_eq!(local_url("0.0.0.0", 7001), "http://127.0.0.1:7001");
        assert_eq!(local_url("::", 7001), "http://[::1]:7001");
        assert_eq!(local_url("::1", 7001), "http://[::1]:7001");
        assert_eq!(local_url("10.0.0.7", 7001), "http://10.0.0.7:7001");
    }

    #[test]
    fn a_program_that_is_not_built_is_named_with_the_command_that_builds_it() {
        let error = Program::Console
            .executable(Some(Path::new("/nowhere/target/release")))
            .expect_err("there is none")
            .to_string();
        assert!(
            error.contains("the console program is not built") && error.contains("--locked --release"),
            "{error}"
        );
    }
}
