//! Small workspaces in a folder of their own.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use quadrille_house::workspace::Workspace;
use quadrille_house::{Rule, Violation};
use tempfile::TempDir;

/// A workspace that is written for one test.
pub struct Tree {
    folder: TempDir,
    members: BTreeSet<String>,
    shared: &'static str,
}

impl Tree {
    /// A workspace without packages.
    pub fn new() -> Self {
        Tree {
            folder: tempfile::tempdir().unwrap(),
            members: BTreeSet::new(),
            shared: "",
        }
    }

    /// The sound workspace that violations are planted in: one package on each floor, as the rules name them.
    pub fn sound() -> Self {
        Self::new()
            .package("events", "quadrille-events", "")
            .package("kit/decision", "quadrille-decision", &normal(&["../../events"]))
            .package(
                "kit/runtime",
                "quadrille-runtime",
                &format!("{}async-nats = '1'", normal(&["../decision"])),
            )
            .package(
                "services/order",
                "quadrille-order",
                &normal(&["../../kit/runtime"]),
            )
            .package(
                "services/payment",
                "quadrille-payment",
                &normal(&["../../kit/runtime"]),
            )
            .package(
                "services/console",
                "quadrille-console",
                &normal(&["../../kit/runtime"]),
            )
            .package("tools/map", "quadrille-map", &normal(&["../../services/order"]))
            .package(
                "tests/stories",
                "quadrille-stories",
                &normal(&["../../tools/map"]),
            )
    }

    /// Writes a package: its manifest, with this text after the name, and an empty library.
    pub fn package(mut self, folder: &str, name: &str, dependencies: &str) -> Self {
        self.members.insert(folder.to_owned());
        let manifest =
            format!("[package]\nname = '{name}'\nversion = '0.1.0'\nedition = '2024'\n{dependencies}\n");
        self.file(&format!("{folder}/Cargo.toml"), &manifest)
            .file(&format!("{folder}/src/lib.rs"), "")
    }

    /// A workspace with one package, `services/order`, of these files.
    pub fn of_one(dependencies: &str, files: &[(&str, &str)]) -> Self {
        let tree = Self::new().package("services/order", "quadrille-order", dependencies);
        files.iter().fold(tree, |tree, (file, text)| {
            tree.file(&format!("services/order/{file}"), text)
        })
    }

    /// Writes a file, with the folders it needs.
    pub fn file(self, path: &str, text: &str) -> Self {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// Sets `[workspace.dependencies]`.
    pub fn shared(mut self, dependencies: &'static str) -> Self {
        self.shared = dependencies;
        self
    }

    /// Reads it as the checks do.
    pub fn read(&self) -> Workspace {
        let manifest = format!(
            "[workspace]\nresolver = '3'\nmembers = {}\n[workspace.dependencies]\n{}\n",
            serde_json::json!(self.members),
            self.shared
        );
        fs::write(self.root().join("Cargo.toml"), manifest).unwrap();
        Workspace::read(self.root()).unwrap()
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }
}

/// `[dependencies]` on the packages in these folders.
pub fn normal(folders: &[&str]) -> String {
    format!("[dependencies]\n{}", paths(folders))
}

/// `[dev-dependencies]` on the packages in these folders.
pub fn dev(folders: &[&str]) -> String {
    format!("[dev-dependencies]\n{}", paths(folders))
}

fn paths(folders: &[&str]) -> String {
    folders
        .iter()
        .map(|folder| {
            let name = folder.rsplit('/').next().unwrap();
            format!("quadrille-{name} = {{ path = '{folder}' }}\n")
        })
        .collect()
}

/// The check found exactly one violation, of this rule, and its message has all these words.
#[track_caller]
pub fn assert_one(violations: &[Violation], rule: Rule, words: &[&str]) {
    let [violation] = violations else {
        panic!("one violation expected, found {violations:#?}");
    };
    assert_eq!(violation.rule, rule, "{violation}");
    for word in words {
        assert!(violation.message.contains(word), "no `{word}` in: {violation}");
    }
}

/// The check found nothing.
#[track_caller]
pub fn assert_none(violations: &[Violation]) {
    assert!(violations.is_empty(), "{violations:#?}");
}
