//! Runs the payment service.

use std::process::ExitCode;

use quadrille_payment::{PaymentService, http};

fn main() -> ExitCode {
    quadrille_runtime::main(7002, PaymentService::new, http::routes)
}
