//! The audit checks what each service has said of an order against what the map found (`tools/audit/src/reachable.txt`).
//! The map tells nothing twice and lets nothing fail. Here everything is told twice, calls are doubled and instances die;
//! and still no service says what is not on the map, so the audit finds nothing that is legal.

use std::collections::HashSet;

use quadrille_events::{
    Approval, Body, Charged, EventName, Expired, PaymentCancelled, PaymentFailed, PaymentMode,
};
use quadrille_map::{Explorer, OrderModes};
use quadrille_model::{Choreography, Configuration, Who, WorldAction, WorldState, quick};
use stateright::{Checker, Model, Property};

const CLAIM: &str = "what is said is on the map";

type SaidSet = (Who, OrderModes, Vec<&'static EventName>);

/// The model with one claim: what is said is on the map.
struct MappedModel {
    model: Choreography,
    reachable: HashSet<SaidSet>,
}

impl MappedModel {
    fn new(configuration: Configuration) -> Self {
        let mut explorer = Explorer::of(configuration.flow);
        if configuration.previous_release {
            explorer = explorer.with_orders_of_release_0_1();
        }
        let explored = explorer.explore();
        let mut reachable = HashSet::new();
        for who in Who::ALL {
            for (said, modes) in explored.said_by(who.name()) {
                let said: Vec<_> = said.into_iter().collect();
                reachable.extend(modes.into_iter().map(|modes| (who, modes, said.clone())));
            }
        }
        MappedModel {
            model: Choreography::new(configuration, None),
            reachable,
        }
    }

    fn is_on_the_map(&self, world: &WorldState) -> bool {
        let modes = |(payment, approval): &(PaymentMode, Approval)| OrderModes {
            manual_payment: *payment == PaymentMode::Manual,
            manual_approval: *approval == Approval::Manual,
        };
        let orders = self.model.configuration.orders.iter().map(modes);
        orders.zip(&world.orders).all(|(modes, journey)| {
            Who::ALL.into_iter().all(|who| {
                let mut said: Vec<_> = journey.events_of(who).collect();
                if said.is_empty() {
                    return true;
                }
                // The broker fired when it was too late: the decision stands, as if the deadline had not passed.
                if let Some(expired) = said.iter().position(|name| *name == Expired::NAME)
                    && said[..expired].iter().any(|name| {
                        [Charged::NAME, PaymentFailed::NAME, PaymentCancelled::NAME].contains(name)
                    })
                {
                    said.remove(expired);
                }
                said.sort_unstable();
                self.reachable.contains(&(who, modes, said))
            })
        })
    }
}

impl Model for MappedModel {
    type State = WorldState;
    type Action = WorldAction;

    fn init_states(&self) -> Vec<WorldState> {
        self.model.init_states()
    }

    fn actions(&self, world: &WorldState, actions: &mut Vec<WorldAction>) {
        self.model.actions(world, actions);
    }

    fn next_state(&self, world: &WorldState, action: WorldAction) -> Option<WorldState> {
        self.model.next_state(world, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always(CLAIM, MappedModel::is_on_the_map)]
    }
}

#[test]
fn no_service_says_what_is_not_on_the_map() {
    // One order in either flow, paid and approved either way; the largest of these worlds would add only states.
    let worlds = quick().into_iter().filter(|world| {
        let large = (PaymentMode::Manual, Approval::Auto);
        world.orders.len() == 1 && world.orders[0] != large
    });
    for configuration in worlds {
        let name = format!("{:?}, {}", configuration.flow, configuration.name);
        let checker = MappedModel::new(configuration)
            .checker()
            .threads(2)
            .spawn_bfs()
            .join();
        assert!(
            checker.unique_state_count() > 10_000,
            "{name}: is the world still whole?"
        );
        if let Some(path) = checker.discovery(CLAIM) {
            let world = path.into_states().pop();
            let said = world.iter().flat_map(|world| &world.orders).flat_map(|journey| {
                Who::ALL
                    .into_iter()
                    .flat_map(|who| journey.events_of(who).map(|name| name.subject))
            });
            panic!("{name}: not on the map: {:?}", said.collect::<Vec<_>>());
        }
    }
}
