//! The map of the choreography, found by exploring the decisions of the services.
//!
//! To read it: `participant` is a service as the exploration sees it; [`Choreography::explore`] takes every way that one
//! order can take; [`Explored::problems`] says what is wrong with it; `markdown` and `asyncapi` write it down.

mod asyncapi;
mod check;
mod explore;
mod markdown;
mod participant;

use std::path::{Path, PathBuf};

use quadrille_events::Flow;

pub use asyncapi::{document, yaml};
pub use explore::{Choreography, Does, Explored, Modes, Rest, Step};
pub use markdown::{Arrow, BROKER, OUTSIDE, PEOPLE, choreography};
pub use participant::Trigger;

/// The two flows, explored: `pay-first` and `reserve-first`.
pub fn both() -> [(&'static str, Explored); 2] {
    [
        ("pay-first", Flow::PayFirst),
        ("reserve-first", Flow::ReserveFirst),
    ]
    .map(|(name, flow)| (name, Choreography::of(flow).explore()))
}

/// What is generated: each file, and what is to be in it.
///
/// # Errors
/// A schema that is no JSON.
pub fn files() -> anyhow::Result<[(PathBuf, String); 2]> {
    let [(pay, pay_first), (reserve, reserve_first)] = both();
    let events = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events");
    let document = document(&[(pay, &pay_first), (reserve, &reserve_first)])?;
    Ok([
        (
            events.join("CHOREOGRAPHY.md"),
            choreography(&pay_first, &reserve_first),
        ),
        (events.join("asyncapi.yaml"), yaml(&document)?),
    ])
}
