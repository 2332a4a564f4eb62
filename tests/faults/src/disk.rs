//! A small disk that can be filled up: a tmpfs with a ballast file on it.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// How much of the ballast is written at once.
const PIECE: usize = 64 * 1024;

/// A mounted tmpfs; goes away with its handle.
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// Mounts one of so many bytes.
    ///
    /// # Errors
    /// It cannot be mounted: that takes root.
    pub fn mount(bytes: u64) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("quadrille-disk-").tempdir()?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={bytes}"))
            .arg("quadrille-faults")
            .arg(folder.path())
            .output()
            .context("cannot run mount")?;
        ensure!(
            mounted.status.success(),
            "a tmpfs cannot be mounted (it takes root): {}",
            String::from_utf8_lossy(&mounted.stderr).trim()
        );
        Ok(Self { folder })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Fills it up, and then leaves `free` bytes of it.
    ///
    /// # Errors
    /// It cannot be written to, for another reason than being full.
    pub fn fill(&self, free: u64) -> Result<()> {
        let piece = vec![0; PIECE];
        let mut file = File::create(self.ballast())?;
        let mut size: u64 = 0;
        loop {
            match file.write(&piece) {
                Ok(written) => size += written as u64,
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => return Err(error).context("cannot write the ballast"),
            }
        }
        Ok(file.set_len(size.saturating_sub(free))?)
    }

    /// Makes space.
    ///
    /// # Errors
    /// The ballast cannot be removed.
    pub fn clear(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.ballast())?)
    }

    fn ballast(&self) -> PathBuf {
        self.folder.path().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open there is about to die too.
        drop(
            Command::new("umount")
                .arg("--lazy")
                .arg(self.folder.path())
                .output(),
        );
    }
}
