//! Which package may depend on which.

use std::collections::BTreeSet;

use crate::graph::Graph;
use crate::workspace::{Dependency, Kind, Package, Workspace};
use crate::{Rule, Violation};

/// The top folders that hold packages, lowest first. A package depends on its own floor and on lower ones.
pub const FLOORS: [&str; 5] = ["events", "kit", "services", "tools", "tests"];

/// The package that holds the vocabulary of decisions, which are pure.
pub const DECISION: &str = "quadrille-decision";

/// What [`DECISION`] may depend on outside its tests: values and their encoding, nothing that does I/O.
pub const PURE: [&str; 7] = [
    "quadrille-events",
    "anyhow",
    "jiff",
    "serde",
    "serde_json",
    "thiserror",
    "uuid",
];

/// The client of the broker.
pub const BROKER_CLIENT: &str = "async-nats";

/// The packages that may depend on [`BROKER_CLIENT`]: the runtime, and the benchmark, which measures the bare broker.
pub const BROKER_USERS: [&str; 2] = ["quadrille-runtime", "quadrille-bench"];

/// Checks the dependencies between packages.
pub fn check(workspace: &Workspace) -> Vec<Violation> {
    let mut violations = Vec::new();
    for package in &workspace.packages {
        violations.extend(placement(package));
        for dependency in &package.dependencies {
            violations.extend(upward(workspace, package, dependency));
            violations.extend(forbidden(workspace, package, dependency));
        }
    }
    violations.extend(cycles(workspace));
    violations
}

fn floor(package: &Package) -> Option<usize> {
    FLOORS.iter().position(|floor| *floor == package.floor())
}

fn placement(package: &Package) -> Option<Violation> {
    floor(package).is_none().then(|| Violation {
        rule: Rule::Placement,
        message: format!(
            "{} is not in one of the folders that hold packages: {}",
            package.label(),
            FLOORS.join(", ")
        ),
    })
}

/// Development dependencies are no exception: what a test needs from a higher floor belongs in `tests/`.
fn upward(workspace: &Workspace, package: &Package, dependency: &Dependency) -> Option<Violation> {
    let needed = workspace.package(&dependency.name)?;
    (floor(package)? < floor(needed)?).then(|| Violation {
        rule: Rule::UpwardDependency,
        message: format!(
            "{} depends on {}, which is on a higher floor ({:?} dependency)",
            package.label(),
            needed.label(),
            dependency.kind
        ),
    })
}

fn forbidden(workspace: &Workspace, package: &Package, dependency: &Dependency) -> Option<Violation> {
    let name = dependency.name.as_str();
    let in_services = workspace
        .package(name)
        .is_some_and(|needed| needed.floor() == "services");
    let reason = if name == BROKER_CLIENT && !BROKER_USERS.contains(&package.name.as_str()) {
        format!("only {} may", BROKER_USERS.join(" and "))
    } else if package.floor() == "services" && in_services {
        "services meet in their events only".to_owned()
    } else if package.name == DECISION && dependency.kind != Kind::Dev && !PURE.contains(&name) {
        format!("decisions are pure, and may use only {}", PURE.join(", "))
    } else {
        return None;
    };
    Some(Violation {
        rule: Rule::ForbiddenDependency,
        message: format!("{} depends on {name}: {reason}", package.label()),
    })
}

/// Cargo refuses cycles of packages except through development dependencies. Those within one floor are found here;
/// one that spans floors has an upward dependency in it.
fn cycles(workspace: &Workspace) -> Vec<Violation> {
    let mut graph = Graph::default();
    for package in &workspace.packages {
        let needed: BTreeSet<_> = package.dependencies.iter().map(|needed| &needed.name).collect();
        for needed in needed.into_iter().filter_map(|name| workspace.package(name)) {
            if needed.floor() == package.floor() {
                graph.add(&package.name, &needed.name, ());
            }
        }
    }
    let cycles = graph.cycles().into_iter();
    cycles
        .map(|mut cycle| {
            cycle.push(cycle[0]);
            let names: Vec<_> = cycle.into_iter().map(String::as_str).collect();
            Violation {
                rule: Rule::PackageCycle,
                message: names.join(" -> "),
            }
        })
        .collect()
}
