//! Exploring worlds, and telling what came of it.

use std::time::{Duration, Instant};

use quadrille_events::Flow;
use stateright::{Checker, Expectation, HasDiscoveries, Model};

use crate::choreography::Choreography;
use crate::configuration::{Configuration, small};
use crate::mutation::Mutation;
use crate::story::tell;

/// How many threads explore: the machine is not ours alone.
pub const THREADS: usize = 2;

/// What came of exploring one world.
#[derive(Clone, Debug)]
pub struct WorldReport {
    /// Which.
    pub configuration: Configuration,
    /// How many different states were met.
    pub states: usize,
    /// How many steps were taken, many of them to states that were met before.
    pub steps: usize,
    /// The longest of the shortest ways to a state.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// How many claims hold in every state and on every path, of how many.
    pub held: (usize, usize),
    /// Which possibilities were met.
    pub witnessed: Vec<&'static str>,
    /// Which were not: then what holds may hold for want of an occasion.
    pub missed: Vec<&'static str>,
    /// What does not hold, with the shortest story.
    pub counterexamples: Vec<Counterexample>,
}

/// A claim that does not hold.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// Which.
    pub claim: &'static str,
    /// One line a step.
    pub story: Vec<String>,
}

impl WorldReport {
    /// Whether all holds, and nothing holds for want of an occasion.
    pub fn is_good(&self) -> bool {
        self.counterexamples.is_empty() && self.missed.is_empty()
    }
}

/// Explores one world: all of it, or until a claim fails. With one thread a counterexample is the shortest there is.
pub fn check(configuration: &Configuration, mutation: Option<Mutation>, threads: usize) -> WorldReport {
    let began = Instant::now();
    let checker = Choreography::new(configuration.clone(), mutation)
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let discoveries = checker.discoveries();
    let model = checker.model();
    let (mut witnessed, mut missed, mut counterexamples) = (Vec::new(), Vec::new(), Vec::new());
    let (mut held, mut claims) = (0, 0);
    for property in model.properties() {
        let found = discoveries.get(property.name);
        match property.expectation {
            Expectation::Sometimes if found.is_some() => witnessed.push(property.name),
            Expectation::Sometimes => missed.push(property.name),
            Expectation::Always | Expectation::Eventually => {
                claims += 1;
                match found {
                    None => held += 1,
                    Some(path) => counterexamples.push(Counterexample {
                        claim: property.name,
                        story: tell(model, path.clone()),
                    }),
                }
            }
        }
    }
    WorldReport {
        configuration: configuration.clone(),
        states: checker.unique_state_count(),
        steps: checker.state_count(),
        depth: checker.max_depth(),
        took: began.elapsed(),
        held: (held, claims),
        witnessed,
        missed,
        counterexamples,
    }
}

/// Explores these worlds and prints a table, line by line. Returns whether all is good.
pub fn run_all(configurations: &[Configuration]) -> bool {
    println!(
        "{:<15}{:<52}{:>11}{:>12}{:>7}{:>9}{:>8}{:>11}",
        "flow", "orders", "states", "steps", "depth", "time", "hold", "witnessed"
    );
    let mut good = true;
    let mut total = (0, Duration::ZERO);
    for configuration in configurations {
        let mut outcome = check(configuration, None, THREADS);
        if !outcome.counterexamples.is_empty() {
            outcome = check(configuration, None, 1);
        }
        println!(
            "{:<15}{:<52}{:>11}{:>12}{:>7}{:>8.1}s{:>8}{:>11}",
            flow(configuration.flow),
            configuration.name,
            outcome.states,
            outcome.steps,
            outcome.depth,
            outcome.took.as_secs_f64(),
            format!("{}/{}", outcome.held.0, outcome.held.1),
            format!(
                "{}/{}",
                outcome.witnessed.len(),
                outcome.witnessed.len() + outcome.missed.len()
            ),
        );
        total = (total.0 + outcome.states, total.1 + outcome.took);
        print_trouble(&outcome);
        good &= outcome.is_good();
    }
    println!("{} states in {:.1}s", total.0, total.1.as_secs_f64());
    good
}

fn print_trouble(outcome: &WorldReport) {
    for Counterexample { claim, story } in &outcome.counterexamples {
        println!("\nDOES NOT HOLD: {claim}");
        for line in story {
            println!("    {line}");
        }
    }
    if outcome.counterexamples.is_empty() {
        for missed in &outcome.missed {
            println!("NEVER HAPPENS: {missed}");
        }
    }
}

/// The name of a flow, as its setting has it.
pub fn flow(flow: Flow) -> &'static str {
    match flow {
        Flow::PayFirst => "pay-first",
        Flow::ReserveFirst => "reserve-first",
    }
}

/// The first claim that catches a mistake, and the world in which it does.
pub fn catch(mutation: Mutation) -> Option<(Configuration, Counterexample)> {
    small().into_iter().find_map(|configuration| {
        let outcome = check(&configuration, Some(mutation), 1);
        let mut caught = outcome.counterexamples;
        caught.sort_by_key(|counterexample| counterexample.story.len());
        (!caught.is_empty()).then(|| (configuration, caught.swap_remove(0)))
    })
}

/// Makes every mistake in turn and prints what caught it. Returns whether every one was caught.
pub fn run_mutants(stories: bool) -> bool {
    println!(
        "Each mistake is made in the model only, in what it takes over from the shipped code; that code stays as it is.\n"
    );
    println!("{:<11}{:<70}caught by", "whose", "mistake");
    let mut all = true;
    for mutation in Mutation::ALL {
        let caught = catch(*mutation);
        let by = match &caught {
            Some((configuration, Counterexample { claim, story })) => {
                // The story begins with what is there, and ends with the books of each order.
                let steps = story.len() - 1 - configuration.orders.len();
                format!("{claim} ({steps} steps)")
            }
            None => "NOTHING".to_owned(),
        };
        println!("{:<11}{:<70}{by}", mutation.whose(), mutation.in_words());
        if let (true, Some((_, Counterexample { story, .. }))) = (stories, &caught) {
            for line in story {
                println!("        {line}");
            }
        }
        all &= caught.is_some();
    }
    all
}
