//! The packages of a workspace, as `cargo metadata` lists them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::read;
use crate::source::Crate;

/// A workspace: its root folder and its packages.
pub struct Workspace {
    /// The folder of the workspace's `Cargo.toml`.
    pub root: PathBuf,
    /// In the order of their names.
    pub packages: Vec<Package>,
    /// The names under `[workspace.dependencies]`.
    pub shared_dependencies: BTreeSet<String>,
}

/// A package of the workspace.
#[derive(Deserialize)]
pub struct Package {
    /// Its name: `quadrille-order`.
    pub name: String,
    /// Its folder, relative to the root: `services/order`.
    #[serde(skip)]
    pub folder: PathBuf,
    /// What its manifest declares, for every platform and feature.
    pub dependencies: Vec<Dependency>,
    /// Library, programs, tests.
    pub targets: Vec<Target>,
    manifest_path: PathBuf,
}

/// A dependency as a manifest declares it.
#[derive(Deserialize)]
pub struct Dependency {
    /// The name of the package.
    pub name: String,
    /// The name by which the manifest calls it, if that is another one.
    pub rename: Option<String>,
    /// What it is needed for.
    #[serde(default, deserialize_with = "kind")]
    pub kind: Kind,
}

/// What a dependency is needed for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// The package itself.
    #[default]
    Normal,
    /// Tests, examples and benchmarks.
    Dev,
    /// The build script.
    Build,
}

/// A crate of a package.
#[derive(Deserialize)]
pub struct Target {
    /// `lib`, `bin`, `test`, `custom-build`.
    pub kind: Vec<String>,
    /// Its name.
    pub name: String,
    /// Its root file.
    pub src_path: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
}

/// The part of the root manifest that `cargo metadata` does not show.
#[derive(Deserialize)]
struct Manifest {
    workspace: Shared,
}

#[derive(Deserialize)]
struct Shared {
    #[serde(default)]
    dependencies: toml::Table,
}

fn kind<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
    Ok(match Option::<String>::deserialize(deserializer)?.as_deref() {
        Some("dev") => Kind::Dev,
        Some("build") => Kind::Build,
        None | Some(_) => Kind::Normal,
    })
}

impl Workspace {
    /// Reads the manifests of the workspace at `root`. Needs neither network nor lock file.
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
            .current_dir(root)
            .output()
            .context("running cargo metadata")?;
        ensure!(
            output.status.success(),
            "cargo metadata in {}: {}",
            root.display(),
            String::from_utf8_lossy(&output.stderr)
        );
        let metadata: Metadata = serde_json::from_slice(&output.stdout).context("reading cargo metadata")?;
        let root = metadata.workspace_root;
        let mut packages = metadata.packages;
        for package in &mut packages {
            let folder = package.manifest_path.parent().unwrap_or(&root);
            package.folder = folder.strip_prefix(&root).unwrap_or(folder).to_owned();
        }
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self {
            shared_dependencies: shared_dependencies(&root)?,
            root,
            packages,
        })
    }

    /// The package of this name, if it belongs to the workspace.
    pub fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }

    /// Parses the sources of a package, one crate per target.
    pub fn crates<'a>(&self, package: &'a Package) -> anyhow::Result<Vec<(&'a Target, Crate)>> {
        let targets = package.targets.iter();
        targets
            .map(|target| Ok((target, read::read(&self.root, &target.src_path)?)))
            .collect()
    }
}

fn shared_dependencies(root: &Path) -> anyhow::Result<BTreeSet<String>> {
    let file = root.join("Cargo.toml");
    let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let manifest: Manifest = toml::from_str(&text).with_context(|| format!("reading {}", file.display()))?;
    Ok(manifest.workspace.dependencies.keys().cloned().collect())
}

impl Package {
    /// The top folder in which it is: `services`.
    pub fn floor(&self) -> String {
        let first = self.folder.components().next();
        first
            .map(|folder| folder.as_os_str().to_string_lossy().into_owned())
            .unwrap_or_default()
    }

    /// Its name and its folder, for messages: `quadrille-order (services/order)`.
    pub fn label(&self) -> String {
        format!("{} ({})", self.name, self.folder.display())
    }
}

impl Dependency {
    /// The name by which sources call it: `async_nats`.
    pub fn ident(&self) -> String {
        self.rename.as_ref().unwrap_or(&self.name).replace('-', "_")
    }
}

impl Target {
    /// Whether it is part of what the package ships: library, programs, procedural macros.
    pub fn is_shipped(&self) -> bool {
        let shipped = ["lib", "rlib", "dylib", "cdylib", "staticlib", "proc-macro", "bin"];
        self.kind.iter().any(|kind| shipped.contains(&kind.as_str()))
    }

    /// Whether it is the build script.
    pub fn is_build_script(&self) -> bool {
        self.kind.iter().any(|kind| kind == "custom-build")
    }
}
