//! Bit rot: bytes of a stream's blocks flipped while its server is down.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

/// What every body about an order begins with.
const BODY: &[u8] = br#"{"order":{"#;

/// Flips a byte in every third body of a stream; returns how many it flipped. The server has to be down.
pub fn flip_bytes(server_folder: &Path, stream: &str) -> Result<usize> {
    let mut flipped = 0;
    let mut bodies = 0;
    for block in blocks(server_folder, stream)? {
        let mut bytes = std::fs::read(&block)?;
        let starts: Vec<usize> = (0..bytes.len().saturating_sub(BODY.len()))
            .filter(|at| bytes[*at..].starts_with(BODY))
            .collect();
        for start in starts {
            bodies += 1;
            if bodies % 3 == 0 {
                bytes[start + BODY.len() + 4] ^= 0x15;
                flipped += 1;
            }
        }
        std::fs::write(&block, bytes)?;
    }
    ensure!(flipped > 0, "{stream} has no body in its blocks");
    Ok(flipped)
}

/// The files with the messages of a stream.
fn blocks(folder: &Path, stream: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(blocks(&path, stream)?);
        } else if path.extension().is_some_and(|extension| extension == "blk")
            && path
                .ancestors()
                .nth(2)
                .is_some_and(|owner| owner.ends_with(stream))
        {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
