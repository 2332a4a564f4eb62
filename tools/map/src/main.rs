//! Writes what is generated from the map, and says what is wrong with the choreography, if anything is.

use std::process::ExitCode;

use anyhow::Context as _;

fn main() -> anyhow::Result<ExitCode> {
    let flows = quadrille_map::both();
    for (path, text) in quadrille_map::files(&flows)? {
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}", path.display());
    }
    let mut sound = true;
    for (flow, explored) in flows {
        for problem in explored.problems() {
            eprintln!("{flow}: {problem}");
            sound = false;
        }
    }
    Ok(if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
