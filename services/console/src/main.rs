//! Runs the console.

use std::process::ExitCode;

fn main() -> ExitCode {
    quadrille_runtime::program("console", 7000, quadrille_console::run)
}
