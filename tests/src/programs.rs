//! The programs under test, built from the sources of this test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow};
use quadrille_local::repo_root;

/// Builds all programs once per process: cargo builds only the test's own package for a test, and a story of yesterday's
/// services proves nothing. Whoever has just built them all says so with `QUADRILLE_BUILT=1`. A program that stands
/// beside them was built with them.
pub fn build() -> Result<()> {
    static BUILT: OnceLock<std::result::Result<(), String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        if std::env::var_os("QUADRILLE_BUILT").is_some() {
            return Ok(());
        }
        let Some(folder) = test_folder() else {
            return Ok(());
        };
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--workspace", "--bins", "--locked", "--quiet"]);
        if folder.ends_with("release") {
            cargo.arg("--release");
        }
        // What the outer cargo says about this package would make build scripts run again, here and there.
        let about_us = [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_BIN_",
            "CARGO_CRATE_",
            "CARGO_PRIMARY_",
            "OUT_DIR",
        ];
        for (name, _) in std::env::vars_os() {
            if about_us
                .iter()
                .any(|prefix| name.to_string_lossy().starts_with(prefix))
            {
                cargo.env_remove(name);
            }
        }
        cargo
            .arg("--target-dir")
            .arg(folder.parent().unwrap_or(Path::new("target")))
            .current_dir(repo_root());
        let output = cargo
            .output()
            .map_err(|error| format!("cannot run cargo: {error}"))?;
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    });
    built
        .clone()
        .map_err(|error| anyhow!("the programs do not build:\n{error}"))
}

/// The `quadrille` program.
pub fn quadrille() -> Result<PathBuf> {
    build()?;
    let folder = test_folder().context("this is no test: it is in no target folder")?;
    Ok(folder.join("quadrille"))
}

/// `target/debug` or `target/release`: where this test's own program came from, if it is a test.
fn test_folder() -> Option<PathBuf> {
    let exe = std::env::current_exe().ok()?;
    let deps = exe.ancestors().find(|folder| folder.ends_with("deps"))?;
    deps.parent().map(Path::to_owned)
}
