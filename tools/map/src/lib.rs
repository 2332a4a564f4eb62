//! The map of the choreography, found by exploring the decisions of the services.
//!
//! To read it: [`Explorer::explore`] takes every way that one order can take through the services, each of them a
//! `SampledService`; [`Exploration::problems`] says what is wrong with what was found; `markdown`, `asyncapi` and `reachable`
//! write it down.

mod asyncapi;
mod bucket;
mod check;
mod explore;
mod markdown;
mod reachable;
mod sampled;

use std::path::{Path, PathBuf};

pub use asyncapi::{document, yaml};
pub use explore::{
    Effect, Exploration, ExploredFlows, Explorer, Moment, OrderModes, RestingPoint, Transition, both,
};
pub use markdown::{BROKER, MapEdge, OUTSIDE, PEOPLE, choreography};
pub use reachable::reachable;
pub use sampled::Trigger;

/// What is generated: each file, and what is to be in it. Fails on a schema that is no JSON.
pub fn files(flows: &ExploredFlows) -> anyhow::Result<[(PathBuf, String); 3]> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    Ok([
        (root.join("events/CHOREOGRAPHY.md"), choreography(flows)),
        (root.join("events/asyncapi.yaml"), yaml(&document(flows)?)?),
        (root.join("tools/audit/src/reachable.txt"), reachable(flows)),
    ])
}
