//! The model: the shipped decisions of the four services, in a world where everything that can go wrong does, checked
//! exhaustively by [stateright](https://docs.rs/stateright).
//!
//! What is real here: `Service::decide`, `fold`, `wires`, `opens`, `reads` and `ask` of the four services, and every
//! event as bytes, encoded by its owner and decoded by its listeners' wires. What is modelled: the broker (entries, the
//! check of a commit, deliveries), the engine's rule (what may rest on a guess and what may not), the provider's
//! books, the courier desk, the customers, crashes.
//!
//! How the engine is modelled: an input may be decided on what is stored, on what any instance may remember (any
//! beginning of what is stored), or on the guess that nothing was said, where the service guesses. Saying goes through
//! the broker's check; ignoring and refusing count only on what is stored; asking counts always. So instances need not
//! be modelled: there are as many as it takes, and a crash is the loss of a call in hand. An event may be delivered at
//! any time after it is stored, and again at any time after that; what such a delivery must not do is change anything.
//!
//! What is left out: groups (a group is a run of steps that nothing interrupts, and its parts are here), more than two
//! orders, retention, dead letters, and the code of the engine itself, which the stories and the faults are for.
//!
//! To read it: [`Configuration`] says which world; [`WorldState`] is one state of it, and [`Choreography`] its steps; `model` says
//! which of them are possible; `claims` are what must hold in it; [`Mutation`] are the mistakes that the claims must catch;
//! [`check`] explores.

mod choreography;
mod claims;
mod configuration;
mod model;
mod mutation;
mod outside;
mod participant;
mod run;
mod stimulus;
mod story;
mod world;

pub use choreography::{Choreography, WorldAction};
pub use configuration::{Configuration, CustomerHabits, full, quick, small};
pub use mutation::Mutation;
pub use run::{Counterexample, THREADS, WorldReport, catch, check, flow, run_all, run_mutants};
pub use world::{
    Fault, InputCause, InstanceView, ModelCommand, OrderJourney, PendingCall, ProviderBooks, Slot, Stage,
    Who, WorldState,
};
