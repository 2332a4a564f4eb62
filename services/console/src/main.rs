//! Runs the console.

use std::process::ExitCode;

use quadrille_runtime::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    quadrille_runtime::program("console", 7000, quadrille_console::run)
}
