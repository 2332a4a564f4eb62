//! The rules, checked on this workspace.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use quadrille_events::Event;
use quadrille_house::workspace::Workspace;
use quadrille_house::{Violation, decisions, dependencies, layers, modules};

fn workspace() -> Workspace {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    Workspace::read(&root).unwrap()
}

#[track_caller]
fn assert_none(violations: &[Violation]) {
    let all: Vec<_> = violations.iter().map(Violation::to_string).collect();
    assert!(
        all.is_empty(),
        "{} violations:\n\n{}\n",
        all.len(),
        all.join("\n")
    );
}

#[test]
fn packages_depend_on_their_own_floor_and_lower_ones() {
    let workspace = workspace();
    assert_none(&layers::check(&workspace));
    // The rules name packages; renaming one must not make its rule empty.
    assert!(workspace.package(layers::DECISION).is_some());
    for name in layers::BROKER_USERS {
        let user = workspace.package(name).unwrap();
        let mut needed = user.dependencies.iter();
        assert!(
            needed.any(|needed| needed.name == layers::BROKER_CLIENT),
            "{name}"
        );
    }
    for floor in layers::FLOORS {
        let inhabited = workspace.packages.iter().any(|package| package.floor() == floor);
        assert!(inhabited, "no package is in {floor}/");
    }
}

#[test]
fn modules_form_no_cycles() {
    assert_none(&modules::check(&workspace()).unwrap());
}

#[test]
fn decisions_use_neither_clock_nor_chance_nor_network() {
    let report = decisions::check(&workspace()).unwrap();
    assert_none(&report.violations);
    for service in Event::SERVICES {
        let file = Path::new("services").join(service).join("src/decide.rs");
        assert!(report.files.contains(&file), "{} was not checked", file.display());
    }
}

#[test]
fn every_declared_dependency_is_used() {
    assert_none(&dependencies::check(&workspace()).unwrap());
}
