//! Who hears whom: the map of the choreography as it is at this moment.
//!
//! What is said comes from the contract, who listens from the consumers that exist on the buckets. So no participant has
//! to be known here, and the map shows the flow that really runs, `pay-first` or `reserve-first`.

use quadrille_events::{Event, EventName, SETBACKS};
use quadrille_runtime::operator::Lag;
use serde::Serialize;

/// Services and the events between them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Map {
    /// The services in the order in which they first speak; listeners that the contract does not know come last.
    pub services: Vec<String>,
    /// The events in the order in which an order meets them: first the way to completion, then all that undoes.
    pub events: Vec<Arrow>,
}

/// One event, and who hears it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Arrow {
    /// The index in [`Event::names`], under which its count is found.
    pub place: usize,
    pub event: &'static str,
    pub from: &'static str,
    /// The listeners. Empty for an event that only the outside hears.
    pub to: Vec<String>,
    /// Whether the event is on the way to a cancellation.
    pub setback: bool,
    /// The meaning of the event in a sentence.
    pub means: &'static str,
}

/// How a service keeps up with the events that it hears.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listener {
    pub service: String,
    /// How many events were not delivered yet, or not acknowledged.
    pub behind: u64,
    /// Whether the service pulls from all of its consumers.
    pub listening: bool,
}

impl Map {
    /// The map that these consumers make.
    pub fn new(lags: &[Lag]) -> Self {
        let names: Vec<&'static EventName> = Event::names().collect();
        let hears = |name: &EventName| {
            let heard = |lag: &&Lag| lag.hears.contains(&name);
            lags.iter()
                .filter(heard)
                .map(|lag| lag.listener.clone())
                .collect::<Vec<_>>()
        };
        let undoes = |name: &EventName| {
            let of_its_own = |other: &&EventName| other.service == name.service;
            let mut others = names.iter().copied().filter(of_its_own);
            others.any(|other| other.undone_by.contains(&name.entry))
        };
        // Of events that do not move the order: whatever undoes something.
        let setback = |name: &EventName| SETBACKS.contains(&name) || undoes(name);

        // Along the arrows: what is said, then what its listeners say, and so on; so the flow that runs sets the order.
        let forward: Vec<_> = names.iter().copied().filter(|name| !setback(name)).collect();
        let mut told: Vec<&'static EventName> = Vec::new();
        while let Some(next) = forward.iter().copied().find(|name| !told.contains(name)) {
            tell(next, &forward, &hears, &mut told);
        }
        let place = |name: &EventName| {
            let place = SETBACKS.iter().position(|setback| *setback == name);
            place.unwrap_or(SETBACKS.len())
        };
        let mut setbacks: Vec<_> = names.iter().copied().filter(|name| setback(name)).collect();
        setbacks.sort_by_key(|name| place(name));
        told.extend(setbacks);

        let mut services: Vec<String> = Event::SERVICES.map(str::to_owned).to_vec();
        for lag in lags {
            if !services.contains(&lag.listener) {
                services.push(lag.listener.clone());
            }
        }
        let events = told.into_iter().map(|name| Arrow {
            place: name.place().unwrap_or_default(),
            event: name.subject,
            from: name.service,
            to: hears(name),
            setback: setback(name),
            means: name.means,
        });
        Self {
            services,
            events: events.collect(),
        }
    }
}

fn tell(
    name: &'static EventName,
    forward: &[&'static EventName],
    hears: &impl Fn(&EventName) -> Vec<String>,
    told: &mut Vec<&'static EventName>,
) {
    if told.contains(&name) {
        return;
    }
    told.push(name);
    for listener in hears(name) {
        for answer in forward.iter().filter(|answer| answer.service == listener) {
            tell(answer, forward, hears, told);
        }
    }
}

/// How everybody keeps up, one line a service.
pub fn listeners(lags: &[Lag]) -> Vec<Listener> {
    let mut all: Vec<Listener> = Vec::new();
    for lag in lags {
        let behind = lag.pending + lag.unacknowledged as u64;
        match all.iter_mut().find(|known| known.service == lag.listener) {
            Some(known) => {
                known.behind += behind;
                known.listening &= lag.is_pulled;
            }
            None => all.push(Listener {
                service: lag.listener.clone(),
                behind,
                listening: lag.is_pulled,
            }),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use quadrille_events::{
        Assigned, AwaitingApproval, Body, CancelOrder, CancelPayment, Charged, Completed, CreateDelivery,
        Created, Opened, OrderCancelled, ReservationFailed, Reserved,
    };

    use super::*;

    fn hears(listener: &str, heard: &[&'static EventName]) -> Vec<Lag> {
        let mut lags: Vec<Lag> = Vec::new();
        for name in heard {
            match lags.iter_mut().find(|lag| lag.speaker == name.service) {
                Some(lag) => lag.hears.push(name),
                None => lags.push(Lag {
                    speaker: name.service,
                    listener: listener.to_owned(),
                    hears: vec![name],
                    pending: 2,
                    unacknowledged: 1,
                    is_pulled: name.service != Created::NAME.service,
                }),
            }
        }
        lags
    }

    fn pay_first() -> Vec<Lag> {
        [
            hears(
                "payment",
                &[Created::NAME, CancelPayment::NAME, ReservationFailed::NAME],
            ),
            hears("inventory", &[Charged::NAME, OrderCancelled::NAME]),
            hears("order", &[Reserved::NAME, Assigned::NAME, CancelOrder::NAME]),
            hears("delivery", &[CreateDelivery::NAME, OrderCancelled::NAME]),
        ]
        .concat()
    }

    /// Whoever else there is says it when its turn comes.
    const FOUR: [&str; 4] = ["order", "payment", "inventory", "delivery"];

    fn way(map: &Map) -> Vec<&'static str> {
        map.events
            .iter()
            .filter(|arrow| !arrow.setback && FOUR.contains(&arrow.from))
            .map(|arrow| arrow.event)
            .collect()
    }

    #[test]
    fn the_flow_that_runs_sets_the_order() {
        let map = Map::new(&pay_first());
        let expected = [
            Created::NAME.subject,
            Opened::NAME.subject,
            Charged::NAME.subject,
            Reserved::NAME.subject,
            AwaitingApproval::NAME.subject,
            CreateDelivery::NAME.subject,
            Assigned::NAME.subject,
            Completed::NAME.subject,
        ];
        // What is said of deliveries afterwards and of items has no place among these.
        assert_eq!(way(&map)[..expected.len()], expected);

        let reserve_first = [
            hears("inventory", &[Created::NAME]),
            hears("payment", &[Reserved::NAME]),
            hears("order", &[Charged::NAME, Assigned::NAME]),
            hears("delivery", &[CreateDelivery::NAME]),
        ];
        let mut expected = expected;
        expected[1..4].rotate_right(1);
        assert_eq!(
            way(&Map::new(&reserve_first.concat()))[..expected.len()],
            expected
        );
    }

    #[test]
    fn every_event_is_on_the_map_once_even_before_anybody_listens() {
        for lags in [Vec::new(), pay_first()] {
            let map = Map::new(&lags);
            let mut places: Vec<_> = map.events.iter().map(|arrow| arrow.place).collect();
            places.sort_unstable();
            assert_eq!(places, (0..Event::names().count()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_event_may_have_several_listeners_or_none() {
        let map = Map::new(&pay_first());
        let to = |event: &str| {
            map.events
                .iter()
                .find(|arrow| arrow.event == event)
                .unwrap()
                .to
                .clone()
        };
        assert_eq!(to(OrderCancelled::NAME.subject), ["inventory", "delivery"]);
        assert!(to(Completed::NAME.subject).is_empty());
    }

    #[test]
    fn a_fifth_service_is_on_the_map() {
        let map = Map::new(&[pay_first(), hears("loyalty", &[Completed::NAME])].concat());
        assert_eq!(map.services.last().unwrap(), "loyalty");
        assert!(
            map.events
                .iter()
                .any(|arrow| arrow.event == Completed::NAME.subject && arrow.to == ["loyalty"])
        );
    }

    #[test]
    fn a_listener_is_behind_with_all_it_hears_and_listens_only_if_to_everybody() {
        let all = listeners(&pay_first());
        let payment = all.iter().find(|listener| listener.service == "payment").unwrap();
        assert_eq!((payment.behind, payment.listening), (6, false));
        assert!(
            all.iter()
                .find(|listener| listener.service == "order")
                .unwrap()
                .listening
        );
    }
}
