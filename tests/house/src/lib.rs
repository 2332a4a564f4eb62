//! The rules of the source tree, checked by reading manifests and sources.
//!
//! - [`layers`]: packages depend on packages of their own floor or a lower one; who may depend on what by name.
//! - [`modules`]: no cycles among the modules of a crate.
//! - [`decisions`]: decisions use neither clock nor chance nor I/O, and no catch-all match arm.
//! - [`dependencies`]: every declared dependency is used.
//!
//! [`workspace`] reads the manifests, [`source`] the module tree of one crate, [`resolve`] finds the module that a path
//! leads to, [`graph`] finds cycles. Every check takes a [`workspace::Workspace`], which is read from any root folder, so
//! that `tests/planted.rs` can show each check failing on a small tree with one violation in it.

pub mod decisions;
pub mod dependencies;
pub mod graph;
pub mod layers;
pub mod modules;
pub mod resolve;
pub mod source;
pub mod workspace;

mod read;
mod syntax;
mod walk;

use std::fmt::{self, Display};

/// What a check found: the message names the culprit and the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// The rule that is broken.
    pub rule: Rule,
    /// Who breaks it, where, and what to do if that is not obvious.
    pub message: String,
}

/// The rules, one per kind of violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A package is in a folder that is not a floor.
    Placement,
    /// A package depends on a package of a higher floor.
    UpwardDependency,
    /// Packages of one floor depend on each other in a circle, through development dependencies.
    PackageCycle,
    /// A package depends on one that it must not know.
    ForbiddenDependency,
    /// Modules of a crate use each other in a circle.
    ModuleCycle,
    /// A decision uses something that is not pure.
    ImpureDecision,
    /// A decision has a match arm that takes everything else.
    CatchAll,
    /// A declared dependency is not used.
    UnusedDependency,
}

impl Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.message)
    }
}
