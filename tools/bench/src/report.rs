//! Writing down what was measured.

use anyhow::Result;
use quadrille_local::repo_root;
use serde::Serialize;

/// Writes what was found to `target/bench`.
pub fn write(name: &str, found: &impl Serialize) -> Result<()> {
    let folder = repo_root().join("target/bench");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join(name);
    std::fs::write(&file, serde_json::to_vec_pretty(found)?)?;
    println!("\nall runs: {}", file.display());
    Ok(())
}

/// `order 0.12  payment 0.03`, with so many digits.
pub fn list(pairs: &[(String, f64)], digits: usize) -> String {
    pairs
        .iter()
        .map(|(name, value)| format!("{name} {value:.digits$}"))
        .collect::<Vec<_>>()
        .join("  ")
}
