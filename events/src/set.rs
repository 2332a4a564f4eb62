//! Sets of events of the contract, written by their types: `event_set![Charged, Reserved]`.

use crate::{Event, EventName, Owner};

const OWNERS: &[Owner] = Event::CONTRACT.owners();

/// A set of events of the contract.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct EventSet(u64);

/// An [`EventSet`] of the events with these bodies, evaluated at compile time: `event_set![Charged, Reserved]`.
#[macro_export]
macro_rules! event_set {
    ($($body:ty),* $(,)?) => {
        const { $crate::EventSet::of(&[$(<$body as $crate::Body>::NAME),*]) }
    };
}

impl EventSet {
    /// All events of the contract.
    pub const ALL: Self = {
        let mut all = Self(0);
        let mut service = 0;
        while service < OWNERS.len() {
            all.0 |= Self::of(OWNERS[service].events).0;
            service += 1;
        }
        all
    };

    /// The set of these events.
    ///
    /// # Panics
    /// If one of them is not in the contract; in a constant that is a compile error.
    pub const fn of(names: &[&EventName]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < names.len() {
            bits |= bit(names[at]);
            at += 1;
        }
        Self(bits)
    }

    /// The set of the event that has this [`EventName::place`].
    pub const fn at(place: usize) -> Self {
        Self((1 << place) & Self::ALL.0)
    }

    /// The events of either set.
    #[must_use]
    pub const fn or(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Adds an event.
    ///
    /// # Panics
    /// If the event is not in the contract.
    pub const fn insert(&mut self, name: &EventName) {
        self.0 |= bit(name);
    }

    /// Whether the set contains an event.
    ///
    /// # Panics
    /// If the event is not in the contract.
    pub const fn has(self, name: &EventName) -> bool {
        self.0 & bit(name) != 0
    }

    /// Whether the set contains all of `others`.
    pub const fn has_all(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether the set contains at least one of `others`.
    pub const fn has_any(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// The events of both sets.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// The number of events.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The events, in the order of [`Event::names`].
    pub fn names(self) -> impl Iterator<Item = &'static EventName> {
        Event::names()
            .enumerate()
            .filter(move |(place, _)| self.0 & (1 << place) != 0)
            .map(|(_, name)| name)
    }
}

impl<'a> FromIterator<&'a EventName> for EventSet {
    fn from_iter<I: IntoIterator<Item = &'a EventName>>(names: I) -> Self {
        let mut set = Self::default();
        for name in names {
            set.insert(name);
        }
        set
    }
}

impl std::fmt::Debug for EventSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set()
            .entries(
                self.names()
                    .map(|name| format!("{}/{}", name.service, name.entry)),
            )
            .finish()
    }
}

impl EventName {
    /// The place of the event in [`Event::names`]; `None` if it is not in the contract.
    pub const fn place(&self) -> Option<usize> {
        let mut before = 0;
        let mut service = 0;
        while service < OWNERS.len() {
            let names = OWNERS[service].events;
            let mut at = 0;
            while at < names.len() {
                if names[at].is(self) {
                    return Some(before + at);
                }
                at += 1;
            }
            before += names.len();
            service += 1;
        }
        None
    }

    const fn is(&self, other: &Self) -> bool {
        same(self.service, other.service)
            && same(self.about.name(), other.about.name())
            && same(self.entry, other.entry)
    }
}

const fn bit(name: &EventName) -> u64 {
    match name.place() {
        Some(place) => {
            assert!(
                place < u64::BITS as usize,
                "an `EventSet` holds at most 64 events"
            );
            1 << place
        }
        None => panic!("the event is not in the contract"),
    }
}

/// `==` of strings is not const.
const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Body, CancelPayment, Charged, Completed, NoCourier, Refunded};

    #[test]
    fn each_event_of_the_contract_has_a_place_of_its_own() {
        for (place, name) in Event::names().enumerate() {
            assert_eq!(name.place(), Some(place), "{name}");
            assert_eq!(EventSet::at(place), EventSet::of(&[name]));
        }
        assert_eq!(Event::names().collect::<EventSet>().len(), Event::names().count());
    }

    #[test]
    fn two_services_may_use_the_same_subject() {
        let set = event_set![CancelPayment];
        assert!(set.has(CancelPayment::NAME) && !set.has(NoCourier::NAME));
        assert_eq!(CancelPayment::NAME.subject, NoCourier::NAME.subject);
    }

    #[test]
    fn sets_are_compared_as_sets() {
        let set: EventSet = [Charged::NAME, Completed::NAME].into_iter().collect();
        assert_eq!(set, event_set![Completed, Charged]);
        assert!(set.has_all(event_set![Charged]) && !set.has_all(event_set![Charged, Refunded]));
        assert!(set.has_any(event_set![Charged, Refunded]) && !set.has_any(event_set![Refunded]));
        assert_eq!(set.and(event_set![Charged, Refunded]), event_set![Charged]);
        assert_eq!(
            set.names().collect::<Vec<_>>(),
            [Completed::NAME, Charged::NAME],
            "in the order of the contract"
        );
        assert_eq!(format!("{:?}", event_set![Charged]), r#"{"payment/charged"}"#);
        assert!(EventSet::default().is_empty());
    }
}
