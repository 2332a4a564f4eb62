//! What a choreography can be wrong about, and can be seen by looking at all of it.

use std::collections::BTreeSet;

use quadrille_events::{Body, Completed, Event, EventName, OrderCancelled, OrderFacts};

use crate::explore::{Effect, Exploration, RestingPoint};

impl Exploration {
    /// What is wrong with it, in sentences; nothing, if it is sound.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.unsaid_and_unheard();
        problems.extend(self.left_undone());
        problems.extend(self.not_sampled());
        problems
    }

    /// Orders that can hang, and what is taken and not given back, in sentences.
    pub fn left_undone(&self) -> Vec<String> {
        let mut problems = self.waiting_for_nobody();
        problems.extend(self.not_undone());
        problems
    }

    /// Every event is said by somebody, and heard by somebody or meant for the outside.
    fn unsaid_and_unheard(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for name in Event::names() {
            let EventName { service, subject, .. } = name;
            if !self.examples.contains_key(name) {
                problems.push(format!("{service} never says `{subject}`"));
            }
            let is_heard = self.hears.values().any(|heard| heard.contains(&name));
            if !is_heard && !name.for_outside {
                problems.push(format!(
                    "nobody hears `{subject}` of {service}; if it is a fact for the outside, write `for outside` behind its \
                     subject in events/src/{service}.rs"
                ));
            }
        }
        problems
    }

    /// When nothing is on its way, the order has ended; or somebody has told the outside that it waits, and then a deadline
    /// or a person's command goes on.
    fn waiting_for_nobody(&self) -> Vec<String> {
        let waits = |rest: &&RestingPoint| !rest.has_ended() && !rest.is_announced();
        let lost: BTreeSet<_> = self
            .rests
            .iter()
            .filter(waits)
            .map(RestingPoint::in_words)
            .collect();
        let mut problems: Vec<_> = lost
            .into_iter()
            .map(|states| format!("an order can hang for ever: {states}"))
            .collect();
        for rest in self.rests.iter().filter(|rest| rest.has_ended()) {
            if let Some(deadline) = rest.deadline {
                problems.push(format!(
                    "`{deadline}` is still due after the end: {}",
                    rest.in_words()
                ));
            }
        }
        problems
    }

    /// What was taken can be given back from wherever it goes on, unless the order is completed; and it has been when the
    /// order has come to rest as cancelled.
    fn not_undone(&self) -> Vec<String> {
        let mut problems = BTreeSet::new();
        for taking in Event::names() {
            let EventName { service, subject, .. } = taking;
            if taking.undone_by.is_empty() {
                continue;
            }
            let of_service = |entry: &str| {
                Event::names().find(|name| name.service == taking.service && name.entry == entry)
            };
            for entry in taking.undone_by.iter().chain(&taking.final_by) {
                if of_service(entry).is_none() {
                    problems.insert(format!(
                        "`{subject}` is undone or made final by {service}/{entry}, which does not exist"
                    ));
                }
            }
            let undoing: Vec<_> = taking.undone_by.iter().copied().filter_map(of_service).collect();
            let is_undone =
                |said: &BTreeSet<&'static EventName>| undoing.iter().any(|name| said.contains(name));
            let settled =
                |said: &BTreeSet<&'static EventName>| is_undone(said) || said.contains(Completed::NAME);
            let reaching = self.reaching(settled);
            for (place, moment) in self.moments.iter().enumerate() {
                if moment.said.contains(taking) && !reaching[place] {
                    let after: Vec<_> = moment.said.iter().map(|name| name.subject).collect();
                    let after = after.join(", ");
                    problems.insert(format!("`{subject}` cannot be undone any more after {after}"));
                    break;
                }
            }
            for rest in &self.rests {
                let cancelled = rest.said.contains(OrderCancelled::NAME);
                if cancelled && rest.said.contains(taking) && !is_undone(&rest.said) {
                    let states = rest.in_words();
                    let undoing: Vec<_> = undoing.iter().map(|name| format!("`{name}`")).collect();
                    let undoing = undoing.join(" or ");
                    problems.insert(format!(
                        "`{subject}` is left standing without {undoing}: {states}"
                    ));
                }
                let made_final = taking.final_by.and_then(of_service);
                if made_final.is_some_and(|name| rest.said.contains(name)) && is_undone(&rest.said) {
                    problems.insert(format!("`{subject}` is final and undone: {}", rest.in_words()));
                }
            }
        }
        problems.extend(self.ledger_changes_without_undoing());
        problems.into_iter().collect()
    }

    /// Who changes the ledger takes something, gives it back, or parts with it for ever.
    fn ledger_changes_without_undoing(&self) -> BTreeSet<String> {
        let undoes = |event: &EventName| {
            let of_its_own = |name: &&EventName| name.service == event.service;
            let mut names = Event::names().filter(of_its_own);
            names.any(|name| name.undone_by.contains(&event.entry) || name.final_by == Some(event.entry))
        };
        let mut problems = BTreeSet::new();
        for transition in self.transitions.keys() {
            if let Effect::Says {
                events,
                records: true,
                ..
            } = &transition.effect
                && !events
                    .iter()
                    .any(|event| !event.undone_by.is_empty() || undoes(event))
            {
                let events: Vec<_> = events.iter().map(|name| format!("`{name}`")).collect();
                problems.insert(format!(
                    "{} changes its ledger with {}, and events/src/{0}.rs does not say what undoes that",
                    transition.service,
                    events.join(", ")
                ));
            }
        }
        problems
    }

    /// From which moments one in which what was said is `wanted` can be reached.
    fn reaching(&self, wanted: impl Fn(&BTreeSet<&'static EventName>) -> bool) -> Vec<bool> {
        let mut before: Vec<Vec<usize>> = vec![Vec::new(); self.moments.len()];
        for (place, moment) in self.moments.iter().enumerate() {
            moment.next.iter().for_each(|next| before[*next].push(place));
        }
        let mut reaching: Vec<bool> = self.moments.iter().map(|moment| wanted(&moment.said)).collect();
        let mut ahead: Vec<usize> = (0..reaching.len()).filter(|place| reaching[*place]).collect();
        while let Some(place) = ahead.pop() {
            for previous in &before[place] {
                if !std::mem::replace(&mut reaching[*previous], true) {
                    ahead.push(*previous);
                }
            }
        }
        reaching
    }

    /// Every state that is reached is one in which the service's own tests try every input.
    fn not_sampled(&self) -> Vec<String> {
        let transitions = self.transitions.keys();
        let states: BTreeSet<_> = transitions
            .flat_map(|transition| {
                let states = [Some(transition.from), transition.to()].into_iter().flatten();
                states.map(|state| (transition.service, state))
            })
            .collect();
        let missing = states
            .into_iter()
            .filter(|(service, state)| !self.sampled[service].contains(state));
        missing
            .map(|(service, state)| format!("services/{service}/src/samples.rs has no state `{state}`"))
            .collect()
    }
}

impl RestingPoint {
    /// Whether the order is completed or cancelled.
    pub fn has_ended(&self) -> bool {
        self.said.iter().copied().collect::<OrderFacts>().has_ended()
    }

    /// Whether the outside was told that somebody waits, and something goes on without anybody inside.
    fn is_announced(&self) -> bool {
        let told = self.last.iter().flatten().filter(|name| name.for_outside);
        let goes_on =
            |service| self.deadline.is_some() || self.commands.iter().any(|(who, _)| *who == service);
        told.map(|name| name.service).any(goes_on)
    }

    /// The states of those who have said something.
    pub fn in_words(&self) -> String {
        let states = Event::SERVICES
            .iter()
            .zip(self.states)
            .filter(|(_, state)| *state != "none");
        states
            .map(|(service, state)| format!("{service} is `{state}`"))
            .collect::<Vec<_>>()
            .join(", ")
    }
}
