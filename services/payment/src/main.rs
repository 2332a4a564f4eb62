//! Runs the payment service.

use std::process::ExitCode;

use quadrille_payment::{PaymentService, http};
use quadrille_runtime::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    // Every reqwest client of the process needs one, the one that exports spans too, which comes first.
    #[cfg(feature = "tls")]
    let _ = rustls::crypto::ring::default_provider().install_default();
    quadrille_runtime::main(7002, PaymentService::new, http::routes)
}
