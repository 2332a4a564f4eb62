//! The choreography as stateright explores it: its beginnings, and what can happen in each world.

use std::sync::Arc;

use stateright::{Model, Property};

use crate::choreography::{Action, Choreography};
use crate::claims;
use crate::participant::AskKind;
use crate::verdict::Stimulus;
use crate::world::{Books, Call, Command, Fault, Journey, Slot, Stage, Who, World, event_of};

impl Model for Choreography {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let configuration = &self.configuration;
        let journey = Arc::new(Journey {
            confirms: configuration.customer.confirms,
            ..Journey::default()
        });
        let alike = configuration.orders.windows(2).all(|pair| pair[0] == pair[1]);
        let mut worlds = Vec::new();
        for stock in &configuration.stocks {
            for couriers in &configuration.couriers {
                worlds.push(World {
                    orders: vec![journey.clone(); configuration.orders.len()],
                    stock: unused(stock),
                    couriers: unused(couriers),
                    before: None,
                    puts: configuration.puts,
                    crashes: configuration.crashes,
                    doubles: configuration.doubles,
                    fault: None,
                    alike,
                });
            }
        }
        worlds
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.fault.is_some() {
            return;
        }
        if world.puts > 0 {
            self.puts(world, actions);
        }
        let busy = self.configuration.instant
            && world
                .orders
                .iter()
                .any(|journey| journey.calls.iter().any(Call::is_live));
        for (order, journey) in world.orders.iter().enumerate() {
            for call in 0..journey.calls.len() {
                self.calls(world, order, call, actions);
            }
            if busy {
                continue;
            }
            if journey.due.is_some() || journey.ghost.is_some() {
                actions.push(Action::Expire { order: order as u8 });
            }
            self.commands(world, order, actions);
            self.deliveries(world, order, actions);
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = self.step(world, &action)?;
        if next.fault.is_none() && self.distance(&next) >= self.distance(world) {
            next.fault = Some(Fault::NoProgress);
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        claims::of(&self.configuration)
    }
}

impl Choreography {
    /// The shop owner says how much was put in.
    fn puts(&self, world: &World, actions: &mut Vec<Action>) {
        let mut views = Vec::new();
        for quantity in [1, 2] {
            self.views(world, 0, Who::Inventory, Stimulus::Stock(quantity), &mut views);
            actions.extend(views.drain(..).map(|view| Action::Stock { quantity, view }));
        }
    }

    /// An outside call is made, its outcome is decided on, or whoever waits for it dies.
    fn calls(&self, world: &World, order: usize, at: usize, actions: &mut Vec<Action>) {
        let journey = &world.orders[order];
        let Call { who, stage, .. } = journey.calls[at];
        let (n, call) = (order as u8, at as u8);
        let crash = |orphan| Action::Crash {
            order: n,
            call,
            orphan,
        };
        match stage {
            Stage::Asked(ask) | Stage::Orphan(ask) => {
                let kind = AskKind::of(ask);
                let act = |luck| Action::Act { order: n, call, luck };
                actions.push(act(true));
                if self.may_fail(kind, journey) {
                    actions.push(act(false));
                }
                if matches!(stage, Stage::Asked(_)) && world.crashes > 0 {
                    actions.push(crash(false));
                    // A question that nobody waits for leaves no trace at the desk.
                    if kind != AskKind::Desk {
                        actions.push(crash(true));
                    }
                }
            }
            Stage::Answered(outcome) => {
                let mut views = Vec::new();
                self.views(world, order, who, Stimulus::Outcome(outcome), &mut views);
                actions.extend(
                    views
                        .into_iter()
                        .map(|view| Action::Outcome { order: n, call, view }),
                );
                if world.crashes > 0 {
                    actions.push(crash(false));
                }
            }
        }
    }

    /// Whether the outside world is free to say no.
    fn may_fail(&self, kind: AskKind, journey: &Journey) -> bool {
        let Books { charges, voided, .. } = &journey.books;
        match kind {
            AskKind::Charge => self.configuration.declines && charges.is_empty() && !voided,
            AskKind::Desk => self.configuration.refusals && journey.desk.is_none(),
            AskKind::Refund | AskKind::Void => false,
        }
    }

    /// Somebody sends a command.
    fn commands(&self, world: &World, order: usize, actions: &mut Vec<Action>) {
        let customer = &self.configuration.customer;
        let mut views = Vec::new();
        for command in Command::ALL {
            let may = match command {
                Command::Create | Command::Approve => true,
                Command::CancelOrder => customer.cancels_order,
                Command::Confirm => world.orders[order].confirms > 0,
                Command::CancelPayment => customer.cancels_payment,
            };
            if may {
                self.views(world, order, command.to(), Stimulus::Command(command), &mut views);
                actions.extend(views.drain(..).map(|view| Action::Command {
                    order: order as u8,
                    command,
                    view,
                }));
            }
        }
    }

    /// The broker delivers an event, for the first time or again.
    fn deliveries(&self, world: &World, order: usize, actions: &mut Vec<Action>) {
        let journey = &world.orders[order];
        let mut views = Vec::new();
        for (at, ear) in self.ears.iter().enumerate() {
            if !journey.facts.said_any(ear.event) {
                continue;
            }
            let said = &journey.said[ear.speaker as usize];
            let Some(fact) = said.iter().find(|fact| event_of(**fact) == ear.event) else {
                continue;
            };
            self.views(world, order, ear.who, Stimulus::Heard(*fact), &mut views);
            actions.extend(views.drain(..).map(|view| Action::Deliver {
                order: order as u8,
                ear: at as u8,
                view,
            }));
        }
    }
}

/// So much of each, and nothing of it in use.
fn unused(there: &[u8]) -> Vec<Slot> {
    let slot = |there: &u8| Slot {
        there: *there,
        used: 0,
    };
    there.iter().map(slot).collect()
}
