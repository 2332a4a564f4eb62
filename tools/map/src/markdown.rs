//! `events/CHOREOGRAPHY.md`: tables and Mermaid diagrams.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use quadrille_events::{Body, Completed, Event, EventName};
use serde::Serialize;

use crate::explore::{Effect, Exploration, ExploredFlows, OrderModes, SERVICES, Transition};
use crate::sampled::Trigger;

/// Who speaks and hears besides the services.
pub const PEOPLE: &str = "people";
/// Says what is due at a deadline.
pub const BROKER: &str = "broker";
/// Hears the facts that no service has to hear, though some may.
pub const OUTSIDE: &str = "outside";

/// An edge of the map: all that one says to another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct MapEdge {
    /// A service, [`PEOPLE`] or [`BROKER`].
    pub from: &'static str,
    /// A service or [`OUTSIDE`].
    pub to: &'static str,
    /// Events by subject, or commands by the name that they have in causation ids.
    pub says: Vec<&'static str>,
}

impl Exploration {
    /// Who says what to whom.
    pub fn edges(&self) -> Vec<MapEdge> {
        let mut edges: Vec<MapEdge> = Vec::new();
        let mut draw = |from, to, says| match edges.iter_mut().find(|edge| edge.from == from && edge.to == to)
        {
            Some(edge) => edge.says.push(says),
            None => edges.push(MapEdge {
                from,
                to,
                says: vec![says],
            }),
        };
        for service in Event::SERVICES {
            for command in self.commands_of(service) {
                draw(PEOPLE, service, command);
            }
        }
        for name in Event::names().filter(|name| self.examples.contains_key(name)) {
            let from = self.speaker(name);
            let mut listeners = self.listeners(name);
            if name.for_outside {
                listeners.push(OUTSIDE);
            }
            for to in listeners {
                draw(from, to, name.subject);
            }
        }
        edges
    }

    /// Who says it: a service, or the broker on its behalf.
    fn speaker(&self, name: &EventName) -> &'static str {
        let mut transitions = self.transitions.keys().chain(&self.beside);
        let by_itself = transitions.any(|transition| match &transition.effect {
            Effect::Says { events, .. } => events.contains(&name),
            Effect::Ignores(_) => false,
        });
        if by_itself { name.service } else { BROKER }
    }

    fn listeners(&self, name: &EventName) -> Vec<&'static str> {
        let hears = |service: &&&'static str| self.hears[**service].contains(&name);
        Event::SERVICES.iter().filter(hears).copied().collect()
    }

    fn commands_of(&self, service: &str) -> BTreeSet<&'static str> {
        let transitions = self.transitions.keys().chain(&self.beside);
        let of = transitions.filter(|transition| transition.service == service);
        of.filter_map(|transition| match transition.trigger {
            Trigger::Command(name) => Some(name),
            Trigger::Event(_) | Trigger::Outcome(_) => None,
        })
        .collect()
    }

    /// What one service makes of a trigger: lines such as ``in `none`, if paid manually: `payment.opened` ``.
    fn answers(&self, service: &str, trigger: Trigger) -> Vec<String> {
        type Occasions<'a> = (BTreeSet<&'a str>, BTreeSet<OrderModes>);
        let mut says: BTreeMap<(Option<&str>, String), Occasions<'_>> = BTreeMap::new();
        let mut silent: BTreeMap<Option<&str>, BTreeSet<&str>> = BTreeMap::new();
        let none = BTreeSet::new();
        let beside = self.beside.iter().map(|transition| (transition, &none));
        let transitions = self
            .transitions
            .iter()
            .chain(beside)
            .filter(|(transition, _)| transition.service == service && transition.trigger == trigger);
        for (transition, modes) in transitions {
            match &transition.effect {
                Effect::Says { events, deadline, .. } => {
                    let events: Vec<_> = events.iter().map(|name| format!("`{name}`")).collect();
                    let deadline = deadline.map(|name| format!(", and a deadline for `{name}`"));
                    let words = if events.is_empty() {
                        "keeps a record".to_owned()
                    } else {
                        events.join(" and ") + &deadline.unwrap_or_default()
                    };
                    let (states, seen) = says.entry((transition.outcome, words)).or_default();
                    states.insert(transition.from);
                    seen.extend(modes.iter().copied());
                }
                Effect::Ignores(_) => {
                    silent
                        .entry(transition.outcome)
                        .or_default()
                        .insert(transition.from);
                }
            }
        }
        // That an outcome comes too late to matter is not worth a line beside those that do.
        if !says.is_empty() && !silent.is_empty() {
            silent = BTreeMap::from([(None, silent.into_values().flatten().collect())]);
        }
        let mut lines: Vec<(usize, String)> = Vec::new();
        for ((outcome, words), (states, modes)) in says {
            let modes = modes_in_words(&modes);
            let (first, states) = self.in_order(service, &states);
            lines.push((
                first,
                format!("in {states}{modes}{}: {words}", outcome_in_words(outcome)),
            ));
        }
        lines.sort_by_key(|(first, _)| *first);
        for (outcome, states) in silent {
            let (first, states) = self.in_order(service, &states);
            lines.push((
                first,
                format!("in {states}{}: nothing", outcome_in_words(outcome)),
            ));
        }
        lines.into_iter().map(|(_, line)| line).collect()
    }

    /// States in the order in which an order goes through them, and the place of the first.
    fn in_order(&self, service: &str, states: &BTreeSet<&str>) -> (usize, String) {
        let place = |state: &str| self.place(service, state);
        let mut states: Vec<_> = states.iter().copied().collect();
        states.sort_by_key(|state| place(state));
        let words: Vec<_> = states.iter().map(|state| format!("`{state}`")).collect();
        (states.first().map_or(0, |state| place(state)), words.join(", "))
    }

    fn place(&self, service: &str, state: &str) -> usize {
        let sampled = &self.sampled[service];
        sampled
            .iter()
            .position(|known| *known == state)
            .unwrap_or(sampled.len())
    }

    /// The rows of the table: who says what, what it means, who hears it and what they make of it.
    fn rows(&self) -> Vec<String> {
        let mut rows = Vec::new();
        for name in Event::names() {
            let mut heard = Vec::new();
            for listener in self.listeners(name) {
                heard.push(format!("**{listener}**"));
                heard.extend(self.answers(listener, Trigger::Event(name)));
            }
            if heard.is_empty() {
                heard.push("nobody has to: a fact for the outside".to_owned());
            }
            rows.push(format!(
                "| {} | `{}` | {} | {} |",
                match self.speaker(name) {
                    BROKER => format!("{BROKER}, for {}", name.service),
                    service => service.to_owned(),
                },
                name.subject,
                name.means,
                heard.join("<br>")
            ));
        }
        rows
    }

    fn waits(&self) -> Vec<String> {
        let mut waits = BTreeSet::new();
        for rest in self.rests.iter().filter(|rest| !rest.has_ended()) {
            let mut who: Vec<_> = rest
                .commands
                .iter()
                .map(|(service, command)| format!("`{command}` at {service}"))
                .collect();
            if let Some(deadline) = rest.deadline {
                who.push(format!("the deadline: the broker says `{deadline}`"));
            }
            waits.insert(format!("- {}: {}", rest.in_words(), who.join(", ")));
        }
        waits.into_iter().collect()
    }

    fn ends(&self) -> Vec<String> {
        let ended: BTreeSet<_> = self
            .rests
            .iter()
            .filter(|rest| rest.has_ended())
            .map(|rest| (!rest.said.contains(Completed::NAME), rest.states))
            .collect();
        let row = |states: [&str; SERVICES]| {
            format!(
                "| {} |",
                states
                    .map(|state| if state == "none" { "-" } else { state })
                    .join(" | ")
            )
        };
        ended.into_iter().map(|(_, states)| row(states)).collect()
    }

    fn flowchart(&self) -> String {
        let mut chart = String::from("```mermaid\nflowchart LR\n");
        let _ = writeln!(chart, "    {PEOPLE}([customer, shop owner])");
        for service in Event::SERVICES {
            let _ = writeln!(chart, "    {service}[{service}]");
        }
        let _ = writeln!(
            chart,
            "    {BROKER}[[broker, at the deadline]]\n    {OUTSIDE}([whoever follows EVENTS])"
        );
        for MapEdge { from, to, says } in self.edges() {
            let arrow = if to == OUTSIDE { "-.->" } else { "-->" };
            let _ = writeln!(chart, "    {from} {arrow}|\"{}\"| {to}", says.join("<br/>"));
        }
        chart + "```\n"
    }

    fn state_diagram(&self, service: &str) -> String {
        let mut arrows: BTreeMap<(usize, usize), (&str, &str, BTreeSet<String>)> = BTreeMap::new();
        let mut draw = |from, to, label| {
            let places = (self.place(service, from), self.place(service, to));
            arrows
                .entry(places)
                .or_insert((from, to, BTreeSet::new()))
                .2
                .insert(label);
        };
        for transition in self
            .transitions
            .keys()
            .filter(|transition| transition.service == service)
        {
            if let Effect::Says { events, to, .. } = &transition.effect {
                let says: Vec<_> = events.iter().map(|name| name.subject).collect();
                draw(
                    transition.from,
                    to,
                    format!("{} / {}", because(transition), says.join(", ")),
                );
            }
        }
        for (_, from, name, to) in self.deadlines.iter().filter(|(who, ..)| *who == service) {
            draw(from, to, format!("deadline / {name}"));
        }
        let id = |state: &str| match state {
            "none" => "[*]".to_owned(),
            state => state.replace('-', "_"),
        };
        let reached: BTreeSet<_> = arrows.values().map(|(_, to, _)| *to).collect();
        let mut diagram = String::from("```mermaid\nstateDiagram-v2\n");
        for state in reached.iter().filter(|state| state.contains('-')) {
            let _ = writeln!(diagram, "    state \"{state}\" as {}", id(state));
        }
        for (from, to, labels) in arrows.values() {
            let labels: Vec<_> = labels.iter().map(String::as_str).collect();
            let _ = writeln!(
                diagram,
                "    {} --> {} : {}",
                id(from),
                id(to),
                labels.join("<br/>")
            );
        }
        for end in reached
            .iter()
            .filter(|state| arrows.values().all(|(from, ..)| from != *state))
        {
            let _ = writeln!(diagram, "    {} --> [*]", id(end));
        }
        diagram + "```\n"
    }
}

fn modes_in_words(modes: &BTreeSet<OrderModes>) -> String {
    let only = |wanted: fn(&OrderModes) -> bool, words| modes.iter().all(wanted).then_some(words);
    let words: Vec<&str> = [
        only(|modes| modes.manual_payment, "paid manually"),
        only(|modes| !modes.manual_payment, "paid automatically"),
        only(|modes| modes.manual_approval, "approved manually"),
        only(|modes| !modes.manual_approval, "approved automatically"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if words.is_empty() || modes.is_empty() {
        String::new()
    } else {
        format!(", if {}", words.join(" and "))
    }
}

fn outcome_in_words(outcome: Option<&str>) -> String {
    // A colon ends a label of Mermaid's, and stands before what is said in the tables.
    outcome
        .map(|outcome| format!(", {}", outcome.replace(": ", " ")))
        .unwrap_or_default()
}

fn because(transition: &Transition) -> String {
    let trigger = match transition.trigger {
        Trigger::Event(name) => name.subject,
        Trigger::Command(name) | Trigger::Outcome(name) => name,
    };
    format!("{trigger}{}", outcome_in_words(transition.outcome))
}

const INTRODUCTION: &str = "# The choreography\n\n\
    Generated by `just map`; a test fails when it is stale. It is found by exploring the decisions of the\n\
    services (`services/*/src/decide.rs`) on one order: events arrive in any order, commands come at any time, the\n\
    outside world answers all that it may, and deadlines pass at any moment. (What is said about items comes from the\n\
    services' samples, and changes no order.) What every service answers to every\n\
    input, with the reason of each silence, is in `services/*/tests/pairs.txt`.\n\n\
    An event is stored as `$KV.<service>.<entry>.<order id>`, or `$KV.<service>.<kind>.<entry>.<id>` if it is about\n\
    something else than an order, and shown to the outside as `<subject>.<id>`; the\n\
    same as a document for machines: [asyncapi.yaml](asyncapi.yaml). There are two flows, chosen by the setting\n\
    `FLOW`: in `pay-first` money is taken before goods are set aside, in `reserve-first` after it.\n\n";

/// The whole page.
pub fn choreography(flows: &ExploredFlows) -> String {
    let mut page = INTRODUCTION.to_owned();
    for (name, explored) in flows {
        let chart = explored.flowchart();
        let _ = writeln!(page, "## Who says what to whom: {name}\n\n{chart}");
    }
    page += &reactions(flows);
    page += &compensations();
    page += &people_and_deadlines(flows);
    page += &ways_to_rest(flows);
    page += &states(flows);
    let mut page = page.trim_end().to_owned();
    page.push('\n');
    page
}

fn reactions([(_, pay_first), (_, reserve_first)]: &ExploredFlows) -> String {
    let header = "| said by | says | means | heard by, and what they say |\n|---|---|---|---|\n";
    let (rows, others) = (pay_first.rows(), reserve_first.rows());
    let differing: Vec<_> = others.into_iter().filter(|row| !rows.contains(row)).collect();
    format!(
        "## What is heard, and what comes of it\n\n{header}{}\n\n\
         That is `pay-first`. In `reserve-first` these rows differ:\n\n{header}{}\n\n",
        rows.join("\n"),
        differing.join("\n")
    )
}

fn compensations() -> String {
    let mut section =
        "## What is taken, and what gives it back\n\n| takes | gives it back | never after |\n|---|---|---|\n"
            .to_owned();
    for taking in Event::names() {
        let of_service =
            |entry: &&str| Event::names().find(|name| name.service == taking.service && name.entry == *entry);
        let undoing: Vec<_> = taking.undone_by.iter().filter_map(of_service).collect();
        if !undoing.is_empty() {
            let undoing: Vec<_> = undoing.iter().map(|name| format!("`{name}`")).collect();
            let never = taking.final_by.as_ref().and_then(of_service);
            let never = never.map(|name| format!("`{name}`")).unwrap_or_default();
            let _ = writeln!(section, "| `{taking}` | {} | {never} |", undoing.join(", "));
        }
    }
    section
}

/// The same in both flows.
fn people_and_deadlines([(_, explored), _]: &ExploredFlows) -> String {
    let mut section = "\n## What people and deadlines do\n\n| | | then |\n|---|---|---|\n".to_owned();
    for service in Event::SERVICES {
        for command in explored.commands_of(service) {
            let answers = explored.answers(service, Trigger::Command(command)).join("<br>");
            let _ = writeln!(section, "| people | `{command}` at {service} | {answers} |");
        }
    }
    for (service, from, name, to) in &explored.deadlines {
        let _ = writeln!(
            section,
            "| {BROKER} | `{name}` for {service} | in `{from}`: now it is `{to}` |"
        );
    }
    section
}

fn ways_to_rest(flows: &ExploredFlows) -> String {
    let mut section = "\n## Where an order waits, and for whom\n\n".to_owned();
    for (name, explored) in flows {
        let _ = writeln!(
            section,
            "In `{name}`, nothing is on its way and the order has not ended when\n\n{}\n",
            explored.waits().join("\n")
        );
    }
    section.push_str("## How an order ends\n\n");
    for (name, explored) in flows {
        let _ = writeln!(
            section,
            "`{name}`:\n\n| {} |\n|{}\n{}\n",
            Event::SERVICES.join(" | "),
            "---|".repeat(SERVICES),
            explored.ends().join("\n")
        );
    }
    section
}

fn states([(_, pay_first), (_, reserve_first)]: &ExploredFlows) -> String {
    let mut section = "## The states of each service\n\n".to_owned();
    for service in Event::SERVICES {
        let (diagram, other) = (
            pay_first.state_diagram(service),
            reserve_first.state_diagram(service),
        );
        let _ = writeln!(section, "### {service}\n\n{diagram}");
        if other != diagram {
            let _ = writeln!(section, "In `reserve-first`:\n\n{other}");
        }
    }
    section
}
