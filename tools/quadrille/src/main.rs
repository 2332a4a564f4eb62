//! `quadrille`: runs, drives and audits a Quadrille. The recipes of the `justfile` are its subcommands.

mod audit;
mod demo;
mod letters;
mod run_all;
mod scrub;
mod stuck;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use quadrille_runtime::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// Runs, drives and audits a Quadrille, an order system of four services on NATS JetStream.
#[derive(Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    RunAll(run_all::RunAllArgs),
    Demo(demo::DemoArgs),
    Watch(watch::WatchArgs),
    Trace(watch::TraceArgs),
    Stuck(stuck::StuckArgs),
    Audit(audit::AuditArgs),
    Scrub(scrub::ScrubArgs),
    DeadLetters(letters::ListArgs),
    DeadLetter(letters::ShowArgs),
    Retry(letters::RetryArgs),
}

impl Command {
    async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::RunAll(args) => run_all::run(args).await,
            Self::Demo(args) => demo::run(args).await,
            Self::Watch(args) => watch::watch(args).await,
            Self::Trace(args) => watch::trace(args).await,
            Self::Stuck(args) => stuck::run(args).await,
            Self::Audit(args) => audit::run(args).await,
            Self::Scrub(args) => scrub::run(args).await,
            Self::DeadLetters(args) => letters::list(args).await,
            Self::DeadLetter(args) => letters::show(args).await,
            Self::Retry(args) => letters::retry(args).await,
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
