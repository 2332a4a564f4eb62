//! `model`: explores every world of the choreography and prints what holds in it.

use std::process::ExitCode;

use clap::Parser;
use quadrille_events::Flow;
use quadrille_model::{full, quick, run_all, run_mutants};

/// Checks the shipped decisions of the four services in a world where everything goes wrong.
#[derive(Parser)]
struct ModelArguments {
    /// The large worlds as well: minutes, and some gigabytes of memory.
    #[arg(long)]
    full: bool,
    /// Only this flow: pay-first or reserve-first.
    #[arg(long)]
    flow: Option<Flow>,
    /// Only the worlds whose name holds this.
    #[arg(long)]
    only: Option<String>,
    /// Make seeded mistakes, and show what catches them.
    #[arg(long)]
    mutants: bool,
    /// With `--mutants`: tell how each was caught.
    #[arg(long, requires = "mutants")]
    stories: bool,
}

fn main() -> ExitCode {
    let arguments = ModelArguments::parse();
    let good = if arguments.mutants {
        run_mutants(arguments.stories)
    } else {
        let mut worlds = quick();
        if arguments.full {
            worlds.extend(full());
        }
        worlds.retain(|world| arguments.flow.is_none_or(|flow| world.flow == flow));
        worlds.retain(|world| {
            arguments
                .only
                .as_ref()
                .is_none_or(|words| world.name.contains(words))
        });
        run_all(&worlds)
    };
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
