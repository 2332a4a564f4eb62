//! What a process has used, as Linux counts it.

use anyhow::{Context, Result};

/// CPU time so far and the most memory ever, of one process.
#[derive(Clone, Debug)]
pub struct Usage {
    /// What it is called.
    pub name: String,
    /// User and system time, in seconds.
    pub cpu_seconds: f64,
    /// The high-water mark of its resident memory, in MB (10^6 bytes).
    pub peak_mb: f64,
    /// Its resident memory now, in MB.
    pub memory_mb: f64,
}

impl Usage {
    /// Reads it from `/proc`.
    pub fn of(name: &str, pid: u32) -> Result<Self> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {path} of {name}"))
        };
        // proc(5): fields 14 and 15, in ticks of 1/100 s; the second field may hold spaces, but ends with ')'.
        let stat = read("stat")?;
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
        let status = read("status")?;
        let megabytes = |field: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(field))
                .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<f64>().ok())
                .map_or(0.0, |kilobytes| kilobytes * 1_024.0 / 1e6)
        };
        Ok(Self {
            name: name.to_owned(),
            cpu_seconds: (ticks(11) + ticks(12)) / 100.0,
            peak_mb: megabytes("VmHWM:"),
            memory_mb: megabytes("VmRSS:"),
        })
    }
}
