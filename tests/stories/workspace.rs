//! What the parts of this repository must not know of each other.

use std::collections::BTreeMap;
use std::process::Command;

use quadrille_events::Event;
use quadrille_local::repo_root;
use serde_json::Value;

/// Each package of the workspace, and what it depends on when it is built (not only tested).
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let metadata = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--locked",
            "--offline",
        ])
        .current_dir(repo_root())
        .output()
        .unwrap();
    assert!(
        metadata.status.success(),
        "{}",
        String::from_utf8_lossy(&metadata.stderr)
    );
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of = |package: &Value| {
        let all = package["dependencies"].as_array().into_iter().flatten();
        all.filter(|dependency| dependency["kind"].is_null())
            .map(|dependency| text(&dependency["name"]))
            .collect()
    };
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| (text(&package["name"]), of(package)))
        .collect()
}

#[test]
fn only_the_runtime_knows_nats() {
    for (package, dependencies) in dependencies() {
        let knows = dependencies.iter().any(|name| name == "async-nats");
        let may = ["quadrille-runtime", "quadrille-bench"].contains(&package.as_str());
        assert_eq!(knows, may, "{package}");
    }
}

#[test]
fn no_service_knows_another() {
    let services = Event::SERVICES.map(|service| format!("quadrille-{service}"));
    let all = dependencies();
    for service in &services {
        let siblings: Vec<_> = all[service]
            .iter()
            .filter(|name| services.contains(name))
            .collect();
        assert!(siblings.is_empty(), "{service} depends on {siblings:?}");
    }
    assert!(
        all["quadrille-events"]
            .iter()
            .all(|name| !name.starts_with("quadrille-")),
        "the contract stands alone"
    );
}

#[test]
fn decisions_know_neither_clock_nor_chance_nor_network() {
    for service in Event::SERVICES {
        let file = repo_root().join("services").join(service).join("src/decide.rs");
        let source = std::fs::read_to_string(&file).unwrap();
        for forbidden in [
            "tokio",
            "rand::",
            "axum",
            "async_nats",
            "Timestamp::now",
            "SystemTime",
            "Instant::",
            "_ =>",
        ] {
            assert!(
                !source.contains(forbidden),
                "{} has `{forbidden}`",
                file.display()
            );
        }
    }
}
