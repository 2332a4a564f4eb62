//! The choreography as stateright explores it: its beginnings, and what can happen in each world.

use std::sync::Arc;

use stateright::{Model, Property};

use crate::choreography::{Choreography, WorldAction};
use crate::claims;
use crate::participant::AskKind;
use crate::stimulus::Stimulus;
use crate::world::{
    Fault, ModelCommand, OrderJourney, PendingCall, ProviderBooks, ShopCommand, Slot, Stage, Who, WorldState,
    event_of,
};

impl Model for Choreography {
    type State = WorldState;
    type Action = WorldAction;

    fn init_states(&self) -> Vec<WorldState> {
        let configuration = &self.configuration;
        let journey = Arc::new(OrderJourney {
            confirms: configuration.customer.confirms,
            ..OrderJourney::default()
        });
        let alike = configuration.orders.windows(2).all(|pair| pair[0] == pair[1]);
        let mut worlds = Vec::new();
        for stock in &configuration.stocks {
            for couriers in &configuration.couriers {
                worlds.push(WorldState {
                    orders: vec![journey.clone(); configuration.orders.len()],
                    stock: unused(stock),
                    couriers: unused(couriers),
                    before: None,
                    item: vec![self.listed()],
                    puts: configuration.puts,
                    withdrawals: configuration.withdrawals,
                    crashes: configuration.crashes,
                    doubles: configuration.doubles,
                    fault: None,
                    alike,
                });
            }
        }
        worlds
    }

    fn actions(&self, world: &WorldState, actions: &mut Vec<WorldAction>) {
        if world.fault.is_some() {
            return;
        }
        self.shop(world, actions);
        let busy = self.configuration.instant
            && world
                .orders
                .iter()
                .any(|journey| journey.calls.iter().any(PendingCall::is_live));
        for (order, journey) in world.orders.iter().enumerate() {
            for call in 0..journey.calls.len() {
                self.calls(world, order, call, actions);
            }
            if busy {
                continue;
            }
            if journey.due.is_some() || journey.ghost.is_some() {
                actions.push(WorldAction::Expire { order: order as u8 });
            }
            self.commands(world, order, actions);
            self.deliveries(world, order, actions);
        }
    }

    fn next_state(&self, world: &WorldState, action: WorldAction) -> Option<WorldState> {
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
    /// The shop owner says how much there is of the first item, or withdraws it.
    fn shop(&self, world: &WorldState, actions: &mut Vec<WorldAction>) {
        let mut views = Vec::new();
        let puts = [1, 2]
            .map(ShopCommand::Put)
            .into_iter()
            .filter(|_| world.puts > 0);
        let withdrawal = (world.withdrawals > 0).then_some(ShopCommand::Withdraw);
        for command in puts.chain(withdrawal) {
            self.views(world, 0, Who::Inventory, Stimulus::Shop(command), &mut views);
            actions.extend(views.drain(..).map(|view| WorldAction::Shop { command, view }));
        }
    }

    /// An outside call is made, its outcome is decided on, or whoever waits for it dies.
    fn calls(&self, world: &WorldState, order: usize, at: usize, actions: &mut Vec<WorldAction>) {
        let journey = &world.orders[order];
        let PendingCall { who, stage, .. } = journey.calls[at];
        let (n, call) = (order as u8, at as u8);
        let crash = |orphan| WorldAction::Crash {
            order: n,
            call,
            orphan,
        };
        match stage {
            Stage::Asked(ask) | Stage::Orphan(ask) => {
                let kind = AskKind::of(ask);
                let act = |luck| WorldAction::Act { order: n, call, luck };
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
                        .map(|view| WorldAction::Outcome { order: n, call, view }),
                );
                if world.crashes > 0 {
                    actions.push(crash(false));
                }
            }
        }
    }

    /// Whether the outside world is free to say no.
    fn may_fail(&self, kind: AskKind, journey: &OrderJourney) -> bool {
        let ProviderBooks { charges, voided, .. } = &journey.books;
        match kind {
            AskKind::Charge => self.configuration.declines && charges.is_empty() && !voided,
            AskKind::Desk => self.configuration.refusals && journey.desk.is_none(),
            AskKind::Refund | AskKind::Void => false,
        }
    }

    /// Somebody sends a command.
    fn commands(&self, world: &WorldState, order: usize, actions: &mut Vec<WorldAction>) {
        let customer = &self.configuration.customer;
        let mut views = Vec::new();
        for command in ModelCommand::ALL {
            let may = match command {
                ModelCommand::Create | ModelCommand::Approve => true,
                ModelCommand::CancelOrder => customer.cancels_order,
                ModelCommand::Confirm => world.orders[order].confirms > 0,
                ModelCommand::CancelPayment => customer.cancels_payment,
                ModelCommand::ConfirmDelivery | ModelCommand::FailDelivery => {
                    self.configuration.couriers_report
                }
            };
            if may {
                self.views(world, order, command.to(), Stimulus::Command(command), &mut views);
                actions.extend(views.drain(..).map(|view| WorldAction::Command {
                    order: order as u8,
                    command,
                    view,
                }));
            }
        }
    }

    /// The broker delivers an event, for the first time or again.
    fn deliveries(&self, world: &WorldState, order: usize, actions: &mut Vec<WorldAction>) {
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
            actions.extend(views.drain(..).map(|view| WorldAction::Deliver {
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
        closed: false,
    };
    there.iter().map(slot).collect()
}
