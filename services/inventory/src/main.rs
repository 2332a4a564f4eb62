//! Runs the inventory service.

use std::process::ExitCode;

use quadrille_inventory::{InventoryService, http};
use quadrille_runtime::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    quadrille_runtime::main(7003, InventoryService::new, http::routes)
}
