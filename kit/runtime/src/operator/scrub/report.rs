//! What a scrub found.

use std::collections::BTreeMap;
use std::fmt;

use crate::printable::printable;

/// How many differences of a replica or a log are told in a sentence each; the others are counted.
pub(super) const TOLD: usize = 20;

/// What a scrub found.
#[derive(Clone, Debug, Default)]
pub struct ScrubReport {
    /// The replicas of every stream.
    pub replicas: Vec<ReplicaCondition>,
    /// By stream: the events of a bucket that EVENTS lacks or has otherwise, and the events of EVENTS that no bucket has like that.
    pub logs: BTreeMap<String, Differences>,
}

/// The condition of one replica of a stream.
#[derive(Clone, Debug)]
pub struct ReplicaCondition {
    /// The stream.
    pub stream: String,
    /// The server that has the replica.
    pub server: String,
    /// How many messages were read.
    pub messages: u64,
    /// What the replica lacks, cannot read, or has otherwise than most of the others.
    pub differences: Differences,
    /// Why the replica was not compared; `None` if it was.
    pub unread: Option<String>,
}

/// Differences: how many there are, and what the first are.
#[derive(Clone, Debug, Default)]
pub struct Differences {
    /// How many. A scrub of a stream ends after a thousand, so then this is "at least".
    pub count: u64,
    /// The first ones, each a sentence.
    pub sentences: Vec<String>,
}

impl Differences {
    pub(super) fn add(&mut self, sentence: String) {
        self.count += 1;
        if self.sentences.len() < TOLD {
            self.sentences.push(sentence);
        }
    }
}

impl ScrubReport {
    /// Whether everything was compared, and agrees.
    pub fn is_clean(&self) -> bool {
        let whole = |replica: &ReplicaCondition| replica.unread.is_none() && replica.differences.count == 0;
        self.replicas.iter().all(whole) && self.logs.values().all(|differences| differences.count == 0)
    }

    /// The replicas that differ, each as its stream and server.
    pub fn damaged(&self) -> Vec<(&str, &str)> {
        let damaged = self
            .replicas
            .iter()
            .filter(|replica| replica.differences.count > 0);
        damaged
            .map(|replica| (replica.stream.as_str(), replica.server.as_str()))
            .collect()
    }
}

impl fmt::Display for ScrubReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for replica in &self.replicas {
            let (stream, server) = (&replica.stream, printable(&replica.server));
            match &replica.unread {
                Some(why) => writeln!(f, "{stream} on {server}: NOT COMPARED: {}", printable(why))?,
                None => writeln!(
                    f,
                    "{stream} on {server}: {} messages, {} differences",
                    replica.messages, replica.differences.count
                )?,
            }
            tell(f, &replica.differences)?;
        }
        for (stream, differences) in self.logs.iter().filter(|(_, found)| found.count > 0) {
            writeln!(
                f,
                "{stream}: {} events are not the same in the bucket and in EVENTS",
                differences.count
            )?;
            tell(f, differences)?;
        }
        let verdict = if self.is_clean() {
            "the replicas agree with each other, and the buckets with EVENTS"
        } else {
            "not all agree, or not all could be compared"
        };
        f.write_str(verdict)
    }
}

fn tell(f: &mut fmt::Formatter<'_>, differences: &Differences) -> fmt::Result {
    for sentence in &differences.sentences {
        writeln!(f, "  {}", printable(sentence))?;
    }
    let untold = differences.count - differences.sentences.len() as u64;
    if untold > 0 {
        writeln!(f, "  and {untold} more")?;
    }
    Ok(())
}
