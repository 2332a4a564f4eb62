//! Runs the inventory service.

use std::process::ExitCode;

use quadrille_inventory::{InventoryService, http};

fn main() -> ExitCode {
    quadrille_runtime::main(7003, InventoryService::new, http::routes)
}
