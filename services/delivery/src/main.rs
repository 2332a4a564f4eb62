//! Runs the delivery service.

use std::process::ExitCode;

use quadrille_delivery::{DeliveryService, http};
use quadrille_runtime::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    quadrille_runtime::main(7004, DeliveryService::new, http::routes)
}
