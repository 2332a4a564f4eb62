//! `quadrille`: runs, drives and audits a Quadrille. The recipes of the `justfile` are its subcommands.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use quadrille_deploy::run_all;

/// Runs, drives and audits a Quadrille, an order system of four services on NATS JetStream.
#[derive(Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    RunAll(run_all::Args),
}

impl Command {
    async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::RunAll(args) => run_all::run(args).await,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().command.run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
