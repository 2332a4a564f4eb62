//! Runs the order service.

use std::process::ExitCode;

use quadrille_order::{OrderService, http};
use quadrille_runtime::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    quadrille_runtime::main(7001, OrderService::new, http::routes)
}
