//! What came of it, as lines of text.

use std::time::Duration;

use crate::campaign::{Outcome, Ran};
use crate::plan::Campaign;

/// How many violations of one campaign are printed.
const SHOWN: usize = 20;
/// With fewer trials the rule of three is no approximation any more.
const ENOUGH: usize = 30;

/// The line above the table.
pub fn header() -> String {
    format!(
        "{:<15}{:>19}{:>9}{:>8}{:>9}{:>10}{:>8}{:>7}{:>12}{:>29}{:>8}",
        "campaign",
        "strikes",
        "ok",
        "failed",
        "unknown",
        "accepted",
        "orders",
        "ended",
        "violations",
        "catch-up p50 / max / last",
        "time"
    )
}

/// The line of one campaign.
pub fn row(campaign: Campaign, ran: &Ran) -> String {
    let outcome = match ran {
        Ran::LeftOut(reason) => return format!("{:<15}left out: {reason}", campaign.name()),
        Ran::Through(outcome) => outcome,
    };
    let mut catch_up = outcome.catch_up.clone();
    let last = catch_up.last().copied().unwrap_or_default();
    catch_up.sort_unstable();
    let median = catch_up.get(catch_up.len() / 2).copied().unwrap_or_default();
    let most = catch_up.last().copied().unwrap_or_default();
    format!(
        "{:<15}{:>19}{:>9}{:>8}{:>9}{:>10}{:>8}{:>7}{:>12}{:>29}{:>7}s",
        campaign.name(),
        format!("{} {}", outcome.strikes, campaign.strike()),
        outcome.tally.ok,
        outcome.tally.failed,
        outcome.tally.unknown,
        outcome.accepted,
        outcome.orders,
        outcome.ended,
        outcome.violations.len(),
        format!("{} / {} / {}", seconds(median), seconds(most), seconds(last)),
        outcome.took.as_secs(),
    )
}

/// What the table has no column for.
pub fn sentences(outcome: &Outcome) -> Vec<String> {
    let mut sentences = Vec::new();
    let name = outcome.campaign.name();
    let n = outcome.strikes;
    if outcome.violations.is_empty() && n >= ENOUGH && is_counted(outcome.campaign) {
        sentences.push(format!(
            "{name}: 0 violations in {n} {}: the rate is below 3/{n} = {:.2} % at 95 %",
            outcome.campaign.strike(),
            300.0 / n as f64
        ));
    }
    let endings: Vec<String> = outcome
        .endings
        .iter()
        .map(|(ending, count)| format!("{count} {ending}"))
        .collect();
    sentences.push(format!("{name}: {}", endings.join(", ")));
    sentences.extend(outcome.notes.iter().map(|note| format!("{name}: {note}")));
    for violation in outcome.violations.iter().take(SHOWN) {
        sentences.push(format!(
            "{name}: VIOLATION of \"{}\": {}",
            violation.invariant, violation.sentence
        ));
    }
    if outcome.violations.len() > SHOWN {
        sentences.push(format!(
            "{name}: and {} more violations",
            outcome.violations.len() - SHOWN
        ));
    }
    sentences
}

/// Whether its strikes count as independent trials: each is drawn for itself and hits once, whatever the ones before left
/// behind. With none failed of n, the rate of failures is below 3/n with a confidence of 95 %, the rule of three:
/// (1 - 3/n)^n is about e^-3, which is 5 %.
fn is_counted(campaign: Campaign) -> bool {
    match campaign {
        Campaign::KillServices | Campaign::KillBroker => true,
        Campaign::Freeze
        | Campaign::Repeat
        | Campaign::LoseAcks
        | Campaign::Disconnect
        | Campaign::Poison
        | Campaign::FullDisk
        | Campaign::Cluster
        | Campaign::Hostile => false,
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
