//! The EVENTS log, compared with the buckets that it is sourced from.

use std::collections::HashSet;

use quadrille_runtime::operator::logged_as;

use crate::report::Found;
use crate::snapshot::Snapshot;

pub(crate) fn the_log_agrees(snapshot: &Snapshot) -> Found {
    let mut found = Found::new();
    for file in snapshot.orders.values().filter(|file| snapshot.compares(file)) {
        let order_id = &file.order.order_id;
        for event in file.events.values() {
            match event.logged.as_slice() {
                [logged] if logged.digest == event.digest => {}
                [_] => found.push(format!(
                    "order {order_id} has another {} in the log than in its bucket",
                    event.name
                )),
                [] => found.push(format!(
                    "order {order_id} has {} in its bucket and not in the log",
                    event.name
                )),
                more => found.push(format!(
                    "order {order_id} has {} {} times in the log",
                    event.name,
                    more.len()
                )),
            }
        }
    }
    // Of what is older than the log, the log has nothing; without knowing when an entry was written, nothing is compared then.
    for ((name, about), event) in &snapshot.others {
        if snapshot.log_since.is_none() && !event.is_logged(name.lifetime) {
            let kind = name.about;
            found.push(format!(
                "the log does not have {name} of {kind} {about} as its bucket has it"
            ));
        }
    }
    // What cannot be read is in the log, too: it is compared with what cannot be read in the buckets.
    let unreadable: HashSet<(String, u64)> = snapshot
        .unreadable
        .iter()
        .filter_map(|entry| Some((logged_as(snapshot.contract, &entry.subject)?, entry.digest)))
        .collect();
    for stray in &snapshot.strays {
        let is_old = stray
            .order_id
            .as_ref()
            .is_none_or(|id| !snapshot.orders.contains_key(id))
            && snapshot.orders_since.is_some();
        if !is_old && !unreadable.contains(&(stray.subject.clone(), stray.digest)) {
            found.push(format!(
                "{} (sequence {}) is in the log and in no bucket",
                stray.subject, stray.sequence
            ));
        }
    }
    found
}
