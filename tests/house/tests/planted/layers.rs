//! Planted dependencies between packages.

use quadrille_house::Rule;
use quadrille_house::layers::check;

use crate::tree::{Tree, assert_none, assert_one, dev, normal};

#[test]
fn a_sound_workspace_passes() {
    assert_none(&check(&Tree::sound().read()));
}

#[test]
fn a_package_outside_the_floors_is_named() {
    let tree = Tree::sound().package("deploy", "quadrille-deploy", "");
    assert_one(
        &check(&tree.read()),
        Rule::Placement,
        &["quadrille-deploy (deploy)"],
    );
}

#[test]
fn an_upward_dependency_is_named() {
    let tree = Tree::sound().package(
        "kit/testing",
        "quadrille-testing",
        &normal(&["../../services/order"]),
    );
    assert_one(
        &check(&tree.read()),
        Rule::UpwardDependency,
        &[
            "quadrille-testing (kit/testing)",
            "quadrille-order (services/order)",
        ],
    );
}

#[test]
fn an_upward_development_dependency_is_named() {
    let tree = Tree::sound().package("tools/bench", "quadrille-bench", &dev(&["../../tests/stories"]));
    assert_one(
        &check(&tree.read()),
        Rule::UpwardDependency,
        &["quadrille-bench", "quadrille-stories", "Dev"],
    );
}

#[test]
fn a_circle_of_development_dependencies_is_named() {
    let tree = Tree::sound()
        .package("tools/local", "quadrille-local", &dev(&["../audit"]))
        .package("tools/audit", "quadrille-audit", &normal(&["../local"]));
    assert_one(
        &check(&tree.read()),
        Rule::PackageCycle,
        &["quadrille-audit", "quadrille-local"],
    );
}

#[test]
fn an_impure_dependency_of_decisions_is_named() {
    let dependencies = format!("{}tokio = '1'", normal(&["../../events"]));
    let tree = Tree::sound().package("kit/decision", "quadrille-decision", &dependencies);
    assert_one(
        &check(&tree.read()),
        Rule::ForbiddenDependency,
        &["quadrille-decision", "tokio"],
    );
}

#[test]
fn tests_of_decisions_may_use_what_they_like() {
    let dependencies = format!("{}[dev-dependencies]\nproptest = '1'", normal(&["../../events"]));
    let tree = Tree::sound().package("kit/decision", "quadrille-decision", &dependencies);
    assert_none(&check(&tree.read()));
}

#[test]
fn a_package_that_may_not_use_the_brokers_client_is_named() {
    let tree = Tree::sound().package(
        "tools/audit",
        "quadrille-audit",
        "[dependencies]\nasync-nats = '1'",
    );
    assert_one(
        &check(&tree.read()),
        Rule::ForbiddenDependency,
        &["quadrille-audit", "async-nats", "only quadrille-runtime"],
    );
}

#[test]
fn a_service_that_depends_on_another_is_named() {
    for service in ["order", "console"] {
        let name = format!("quadrille-{service}");
        let tree = Tree::sound().package(&format!("services/{service}"), &name, &normal(&["../payment"]));
        assert_one(
            &check(&tree.read()),
            Rule::ForbiddenDependency,
            &[&name, "quadrille-payment"],
        );
    }
}
