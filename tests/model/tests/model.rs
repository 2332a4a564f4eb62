//! Every world of `just model` without `--full`: what design 7 demands holds in all of them, and nothing for want of an
//! occasion. And every mistake of `just mutants` is caught: a model that finds nothing has looked.

use quadrille_model::{Mutation, catch, check, quick};

#[test]
fn every_claim_holds_in_every_small_world() {
    for configuration in quick() {
        let outcome = check(&configuration, None, 2);
        let name = format!("{:?}, {}", configuration.flow, configuration.name);
        if let Some(broken) = outcome.counterexamples.first() {
            panic!(
                "{name}: does not hold: {}\n  {}",
                broken.claim,
                broken.story.join("\n  ")
            );
        }
        assert!(
            outcome.missed.is_empty(),
            "{name}: never happens: {:?}",
            outcome.missed
        );
        assert!(
            outcome.states > 10_000,
            "{name}: only {} states; is the world still whole?",
            outcome.states
        );
    }
}

#[test]
fn every_mistake_is_caught() {
    let missed: Vec<_> = Mutation::ALL
        .iter()
        .filter(|mutation| catch(**mutation).is_none())
        .collect();
    assert!(missed.is_empty(), "nothing catches {missed:?}");
}
