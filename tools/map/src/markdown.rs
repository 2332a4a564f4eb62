//! `events/CHOREOGRAPHY.md`: tables and Mermaid diagrams.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use quadrille_events::Flow;
use quadrille_events::{Body, Completed, Event, EventName};
use serde::Serialize;

use crate::explore::{Does, Explored, Modes, SERVICES, Step};
use crate::participant::Trigger;

/// Who speaks and hears besides the services.
pub const PEOPLE: &str = "people";
/// Says what is due at a deadline.
pub const BROKER: &str = "broker";
/// Hears the facts that no service has to hear, though some may.
pub const OUTSIDE: &str = "outside";

/// An arrow of the map: all that one says to another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Arrow {
    /// A service, [`PEOPLE`] or [`BROKER`].
    pub from: &'static str,
    /// A service or [`OUTSIDE`].
    pub to: &'static str,
    /// Events by subject, or commands by the name that they have in causation ids.
    pub says: Vec<&'static str>,
}

impl Explored {
    /// Who says what to whom.
    pub fn arrows(&self) -> Vec<Arrow> {
        let mut arrows: Vec<Arrow> = Vec::new();
        let mut draw = |from, to, says| match arrows
            .iter_mut()
            .find(|arrow| arrow.from == from && arrow.to == to)
        {
            Some(arrow) => arrow.says.push(says),
            None => arrows.push(Arrow {
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
        arrows
    }

    /// Who says it: a service, or the broker on its behalf.
    fn speaker(&self, name: &EventName) -> &'static str {
        let by_itself = self.steps.keys().any(|step| match &step.does {
            Does::Says { events, .. } => events.contains(&name),
            Does::Ignores(_) => false,
        });
        if by_itself { name.service } else { BROKER }
    }

    fn listeners(&self, name: &EventName) -> Vec<&'static str> {
        let hears = |service: &&&'static str| self.hears[**service].contains(&name);
        Event::SERVICES.iter().filter(hears).copied().collect()
    }

    fn commands_of(&self, service: &str) -> BTreeSet<&'static str> {
        let of = self.steps.keys().filter(|step| step.service == service);
        of.filter_map(|step| match step.trigger {
            Trigger::Command(name) => Some(name),
            Trigger::Event(_) | Trigger::Outcome(_) => None,
        })
        .collect()
    }

    /// What one service makes of a trigger: lines such as ``in `none`, if paid manually: `payment.opened` ``.
    fn answers(&self, service: &str, trigger: Trigger) -> Vec<String> {
        type Seen<'a> = (BTreeSet<&'a str>, BTreeSet<Modes>);
        let mut says: BTreeMap<(Option<&str>, String), Seen<'_>> = BTreeMap::new();
        let mut silent: BTreeMap<Option<&str>, BTreeSet<&str>> = BTreeMap::new();
        let steps = self
            .steps
            .iter()
            .filter(|(step, _)| step.service == service && step.trigger == trigger);
        for (step, modes) in steps {
            match &step.does {
                Does::Says { events, deadline, .. } => {
                    let events: Vec<_> = events.iter().map(|name| format!("`{name}`")).collect();
                    let deadline = deadline.map(|name| format!(", and a deadline for `{name}`"));
                    let words = events.join(" and ") + &deadline.unwrap_or_default();
                    let (states, seen) = says.entry((step.outcome, words)).or_default();
                    states.insert(step.from);
                    seen.extend(modes.iter().copied());
                }
                Does::Ignores(_) => {
                    silent.entry(step.outcome).or_default().insert(step.from);
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
        for Arrow { from, to, says } in self.arrows() {
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
        for step in self.steps.keys().filter(|step| step.service == service) {
            if let Does::Says { events, to, .. } = &step.does {
                let says: Vec<_> = events.iter().map(|name| name.subject).collect();
                draw(step.from, to, format!("{} / {}", because(step), says.join(", ")));
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

fn modes_in_words(modes: &BTreeSet<Modes>) -> String {
    let only = |wanted: fn(&Modes) -> bool, words| modes.iter().all(wanted).then_some(words);
    let words: Vec<&str> = [
        only(|(payment, _)| *payment, "paid manually"),
        only(|(payment, _)| !payment, "paid automatically"),
        only(|(_, approval)| *approval, "approved manually"),
        only(|(_, approval)| !approval, "approved automatically"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if words.is_empty() {
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

fn because(step: &Step) -> String {
    let trigger = match step.trigger {
        Trigger::Event(name) => name.subject,
        Trigger::Command(name) | Trigger::Outcome(name) => name,
    };
    format!("{trigger}{}", outcome_in_words(step.outcome))
}

/// The whole page.
pub fn choreography(pay_first: &Explored, reserve_first: &Explored) -> String {
    let mut page = String::from(
        "# The choreography\n\n\
         Generated by `just map`; a test fails when it is stale. It is found by exploring the decisions of the\n\
         services (`services/*/src/decide.rs`) on one order: events arrive in any order, commands come at any time, the\n\
         outside world answers all that it may, and deadlines pass at any moment. What every service answers to every\n\
         input, with the reason of each silence, is in `services/*/tests/pairs.txt`.\n\n\
         An event is stored as `$KV.<service>.<entry>.<order id>` and shown to the outside as `<subject>.<order id>`; the\n\
         same as a document for machines: [asyncapi.yaml](asyncapi.yaml). There are two flows, chosen by the setting\n\
         `FLOW`: in `pay-first` money is taken before goods are set aside, in `reserve-first` after it.\n\n",
    );
    let flows = [
        (Flow::PayFirst, "pay-first", pay_first),
        (Flow::ReserveFirst, "reserve-first", reserve_first),
    ];
    for (_, name, explored) in flows {
        let _ = writeln!(
            page,
            "## Who says what to whom: {name}\n\n{}",
            explored.flowchart()
        );
    }

    page.push_str("## What is heard, and what comes of it\n\n");
    let header = "| said by | says | means | heard by, and what they say |\n|---|---|---|---|\n";
    let (rows, others) = (pay_first.rows(), reserve_first.rows());
    let _ = writeln!(page, "{header}{}\n", rows.join("\n"));
    let differing: Vec<_> = others.into_iter().filter(|row| !rows.contains(row)).collect();
    let _ = writeln!(
        page,
        "That is `pay-first`. In `reserve-first` these rows differ:\n\n{header}{}\n",
        differing.join("\n")
    );

    page.push_str("## What is taken, and what gives it back\n\n| takes | gives it back |\n|---|---|\n");
    for taking in Event::names() {
        let undoing =
            Event::names().find(|n| n.service == taking.service && taking.undone_by == Some(n.entry));
        if let Some(undoing) = undoing {
            let _ = writeln!(page, "| `{taking}` | `{undoing}` |");
        }
    }

    page.push_str("\n## What people and deadlines do\n\n| | | then |\n|---|---|---|\n");
    for service in Event::SERVICES {
        for command in pay_first.commands_of(service) {
            let answers = pay_first.answers(service, Trigger::Command(command)).join("<br>");
            let _ = writeln!(page, "| people | `{command}` at {service} | {answers} |");
        }
    }
    for (service, from, name, to) in &pay_first.deadlines {
        let _ = writeln!(
            page,
            "| {BROKER} | `{name}` for {service} | in `{from}`: now it is `{to}` |"
        );
    }

    page.push_str("\n## Where an order waits, and for whom\n\n");
    for (_, name, explored) in flows {
        let _ = writeln!(
            page,
            "In `{name}`, nothing is on its way and the order has not ended when\n\n{}\n",
            explored.waits().join("\n")
        );
    }

    page.push_str("## How an order ends\n\n");
    for (_, name, explored) in flows {
        let _ = writeln!(
            page,
            "`{name}`:\n\n| {} |\n|{}\n{}\n",
            Event::SERVICES.join(" | "),
            "---|".repeat(SERVICES),
            explored.ends().join("\n")
        );
    }

    page.push_str("## The states of each service\n\n");
    for service in Event::SERVICES {
        let (diagram, other) = (
            pay_first.state_diagram(service),
            reserve_first.state_diagram(service),
        );
        let _ = writeln!(page, "### {service}\n\n{diagram}");
        if other != diagram {
            let _ = writeln!(page, "In `reserve-first`:\n\n{other}");
        }
    }
    let mut page = page.trim_end().to_owned();
    page.push('\n');
    page
}
