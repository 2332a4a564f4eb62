//! `faults`: strikes the running system in every way, and prints what came of it.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use quadrille_faults::{Campaign, Plan, Ran, header, row, run, sentences};
use quadrille_local::{repo_root, unless_interrupted};

/// Strikes the running system again and again, under load, and checks that nothing was lost, doubled or left hanging.
#[derive(Parser)]
struct Arguments {
    /// A few strikes of each kind: a minute or two
    #[arg(long)]
    short: bool,
    /// From which everything random is drawn; another one every time if it is not given
    #[arg(long)]
    seed: Option<u64>,
    /// Only these campaigns
    #[arg(long, value_enum)]
    only: Vec<Campaign>,
    /// So many strikes instead
    #[arg(long)]
    strikes: Option<usize>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match unless_interrupted(strike(Arguments::parse())).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Goes through the campaigns; says whether all was well.
async fn strike(arguments: Arguments) -> Result<bool> {
    let seed = arguments.seed.unwrap_or_else(|| rand::random_range(0..1_000_000));
    println!("seed {seed}");
    let folder = repo_root().join("target/faults");
    let mut lines = vec![header()];
    let mut notes = Vec::new();
    let mut good = true;
    for campaign in Campaign::ALL {
        if !arguments.only.is_empty() && !arguments.only.contains(&campaign) {
            continue;
        }
        let plan = if arguments.short {
            Plan::short(campaign, seed)
        } else {
            Plan::long(campaign, seed)
        };
        let plan = Plan {
            strikes: arguments.strikes.unwrap_or(plan.strikes),
            ..plan
        };
        let name = campaign.name();
        let ran = run(plan, &folder, |progress| eprintln!("{name}: {progress}")).await;
        match ran {
            Ok(ran) => {
                println!("{}\n{}", lines[0], row(campaign, &ran));
                lines.push(row(campaign, &ran));
                if let Ran::Through(outcome) = &ran {
                    good &= outcome.violations.is_empty();
                    for sentence in sentences(outcome) {
                        println!("{sentence}");
                        notes.push(sentence);
                    }
                }
            }
            Err(problem) => {
                good = false;
                println!("{name}: BROKEN OFF: {problem:#}");
                lines.push(format!("{name:<15}broken off: {problem:#}"));
            }
        }
    }
    println!("\n{}\n\n{}", lines.join("\n"), notes.join("\n"));
    println!("\nseed {seed}; histories in {}", folder.display());
    Ok(good)
}
