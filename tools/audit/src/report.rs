//! What the audit found, and how it is printed.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;

use quadrille_events::{Ending, OrderId};

/// What the audit found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many orders were checked.
    pub orders: usize,
    /// How many events were said about them.
    pub events: usize,
    /// How many orders ended how.
    pub endings: BTreeMap<Ending, usize>,
    /// The orders that wait for a person, and for what. Not a violation: the customer or the shop owner ends them.
    pub waiting: BTreeMap<OrderId, String>,
    /// The invariants that do not hold, once for each order, item or courier for which they do not.
    pub violations: Vec<Violation>,
    /// What a reader of the report should know, a sentence each.
    pub notes: Vec<String>,
}

/// What is wrong, a sentence each.
pub(crate) type Found = Vec<String>;

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What should hold.
    pub invariant: &'static str,
    /// What was found instead, in a sentence that names the order, item or courier.
    pub sentence: String,
}

impl Report {
    /// Whether all invariants hold.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// How many orders ended this way.
    pub fn ended(&self, ending: Ending) -> usize {
        self.endings.get(&ending).copied().unwrap_or_default()
    }
}

impl Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} [{}]", self.sentence, self.invariant)
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        /// Enough to see what is wrong; the rest is more of the same.
        const SHOWN: usize = 50;
        writeln!(f, "{} orders, {} events", self.orders, self.events)?;
        for (ending, count) in &self.endings {
            writeln!(f, "{count:>8}  {ending}")?;
        }
        let mut waits: HashMap<&str, usize> = HashMap::new();
        for what in self.waiting.values() {
            *waits
                .entry(what.split(',').next().unwrap_or_default())
                .or_default() += 1;
        }
        for (what, count) in waits.iter().collect::<BTreeMap<_, _>>() {
            writeln!(f, "{count:>8}  waiting for {what}")?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        if self.is_clean() && self.orders == 0 {
            return f.write_str("nothing was checked: no order is stored");
        }
        if self.is_clean() {
            return f.write_str("all invariants hold");
        }
        let many = self.violations.len();
        write!(f, "{many} violation{}:", if many == 1 { "" } else { "s" })?;
        for violation in self.violations.iter().take(SHOWN) {
            write!(f, "\n  {violation}")?;
        }
        if many > SHOWN {
            write!(f, "\n  ... and {} more", many - SHOWN)?;
        }
        Ok(())
    }
}
