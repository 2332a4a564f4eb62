//! What must hold (design 7), and what must be possible, so that nothing holds because it never comes to it.

use quadrille_events::{
    Approval, Assigned, AwaitingApproval, CancelDelivery, CancelPayment, Charged, Completed, CreateDelivery,
    Created, Delivered, DeliveryCancelled, DeliveryFailed, EventSet, Expired, Flow, ItemWithdrawn, NoCourier,
    Opened, OrderCancelled, PaymentCancelled, PaymentFailed, PaymentMode, Refunded, Released,
    ReservationFailed, Reserved, Shipped, event_set,
};
use stateright::Property;

use crate::choreography::Choreography;
use crate::configuration::Configuration;
use crate::participant::AskKind;
use crate::world::{Fault, OrderJourney, Slot, Stage, Who, WorldState, event_of};

/// The claims that make sense in a configuration.
pub(crate) fn of(configuration: &Configuration) -> Vec<Property<Choreography>> {
    let mut claims = safety();
    claims.push(Property::eventually("every order ends", all_had_an_end));
    claims.extend(
        witnesses()
            .into_iter()
            .filter(|(applies, _)| applies(configuration))
            .map(|(_, claim)| claim),
    );
    claims
}

fn all_ended(_: &Choreography, world: &WorldState) -> bool {
    world.orders.iter().all(|journey| journey.facts.has_ended())
}

/// Once true it stays true, so stateright's `eventually` cannot be misled by two paths that join; and no path has a
/// cycle ([`Fault::NoProgress`]), so it cannot be misled by one either. That a completed order whose delivery fails ends
/// again is what `an order at rest has ended` says.
fn all_had_an_end(_: &Choreography, world: &WorldState) -> bool {
    every(world, |journey| {
        journey.facts.said_any(event_set![Completed, OrderCancelled])
    })
}

fn every(world: &WorldState, holds: impl Fn(&OrderJourney) -> bool) -> bool {
    world.orders.iter().all(|journey| holds(journey))
}

fn safety() -> Vec<Property<Choreography>> {
    vec![
        Property::always(
            "an order at rest has ended",
            |model: &Choreography, world: &WorldState| !model.is_quiet(world) || all_ended(model, world),
        ),
        Property::always(
            "completed: charged once, reserved, one courier; delivered: shipped, the courier free",
            |model: &Choreography, world: &WorldState| {
                !model.is_quiet(world)
                    || every(world, |journey| {
                        let facts = journey.facts;
                        let is_delivered = facts.said::<Delivered>();
                        !facts.said::<Completed>()
                            || facts.said::<DeliveryFailed>()
                            || (journey.books.taken == 1
                                && journey.books.returned == 0
                                && facts.said::<Reserved>()
                                && facts.said::<Assigned>()
                                && facts.said::<Shipped>() == is_delivered
                                && facts.holds_stock() != is_delivered
                                && facts.has_courier() != is_delivered)
                    })
            },
        ),
        Property::always("delivered goods are never refunded", |_, world: &WorldState| {
            every(world, |journey| {
                !journey.facts.said::<Delivered>()
                    || (journey.books.returned == 0
                        && !journey.facts.said_any(event_set![Refunded, OrderCancelled]))
            })
        }),
        Property::always("shipped stock never returns", |model, world: &WorldState| {
            let shipped = count(world, |journey| journey.facts.said::<Shipped>());
            every(world, |journey| {
                let facts = journey.facts;
                (!facts.said::<Shipped>() || facts.said::<Delivered>())
                    && !(facts.said::<Delivered>() && facts.said::<Released>())
            }) && (model.configuration.puts > 0 || began_with(model, world, shipped))
        }),
        Property::always(
            "cancelled: money, stock and courier are back",
            |model: &Choreography, world: &WorldState| {
                !model.is_quiet(world)
                    || every(world, |journey| {
                        !journey.facts.said::<OrderCancelled>()
                            || (journey.books.taken == journey.books.returned
                                && !journey.facts.holds_stock()
                                && !journey.facts.has_courier())
                    })
            },
        ),
        Property::always(
            "stock and load: within bounds, all accounted for",
            |_, world: &WorldState| {
                let held = count(world, |journey| journey.facts.holds_stock());
                let loaded = count(world, |journey| journey.facts.has_courier());
                let fits = |slot: &Slot| slot.used <= slot.there;
                // An order is of one piece of each item.
                world
                    .stock
                    .iter()
                    .all(|slot| fits(slot) && usize::from(slot.used) == held)
                    && world.couriers.iter().all(fits)
                    && world
                        .couriers
                        .iter()
                        .map(|slot| usize::from(slot.used))
                        .sum::<usize>()
                        == loaded
            },
        ),
        Property::always(
            "what is withdrawn is reserved by nobody, and stays withdrawn",
            |_, world: &WorldState| {
                let is_said = world
                    .item
                    .iter()
                    .any(|fact| event_of(*fact) == event_set![ItemWithdrawn]);
                let slot = world.stock.first().copied().unwrap_or_default();
                slot.closed == is_said && !(slot.closed && slot.used > 0)
            },
        ),
        Property::always(
            "at most one charge and one refund, at the provider too",
            |_, world: &WorldState| {
                every(world, |journey| {
                    let books = &journey.books;
                    books.taken <= 1
                        && books.returned <= books.taken
                        && books.charges.len() <= 1
                        && books.refunds.len() <= 1
                })
            },
        ),
        Property::always(
            "what is said of money is so at the provider",
            |_, world: &WorldState| {
                every(world, |journey| {
                    let books = &journey.books;
                    (!journey.facts.said::<Charged>() || books.taken == 1)
                        && (!journey.facts.said::<Refunded>() || books.returned == 1)
                        && (!journey.facts.said::<PaymentFailed>() || books.taken == 0)
                })
            },
        ),
        Property::always("nothing ends two ways", |_, world: &WorldState| {
            every(world, |journey| {
                let at_most_one = |events: EventSet| journey.facts.events().and(events).len() <= 1;
                (at_most_one(event_set![Completed, OrderCancelled]) || journey.facts.said::<DeliveryFailed>())
                    && at_most_one(event_set![CancelPayment, CancelDelivery])
                    && at_most_one(event_set![
                        Delivered,
                        DeliveryFailed,
                        DeliveryCancelled,
                        NoCourier
                    ])
                    && at_most_one(event_set![Released, Shipped])
                    && at_most_one(event_set![PaymentFailed, PaymentCancelled, Refunded])
                    && at_most_one(event_set![Charged, PaymentFailed, PaymentCancelled])
                    && at_most_one(event_set![Reserved, ReservationFailed])
                    && at_most_one(event_set![Assigned, NoCourier])
            })
        }),
        Property::always("no event twice", |_, world: &WorldState| {
            !matches!(world.fault, Some(Fault::SaidTwice(_)))
        }),
        Property::always(
            "what was answered is not answered again",
            |_, world: &WorldState| !matches!(world.fault, Some(Fault::AnsweredTwice(_))),
        ),
        Property::always(
            "what cannot be never is, and no event is refused",
            |_, world: &WorldState| !matches!(world.fault, Some(Fault::CannotBe(_) | Fault::EventRefused(_))),
        ),
        Property::always("a command that is answered holds", |_, world: &WorldState| {
            !matches!(world.fault, Some(Fault::Unkept))
        }),
        Property::always(
            "decisions keep to what they read and are asked",
            |_, world: &WorldState| {
                !matches!(
                    world.fault,
                    Some(Fault::AnotherOrder(_) | Fault::Unread | Fault::AsksAgain)
                )
            },
        ),
        Property::always(
            "a deadline is set exactly while a payment is open",
            |_, world: &WorldState| {
                every(world, |journey| {
                    journey.due.is_some() == journey.facts.awaits_payment()
                })
            },
        ),
        Property::always(
            "what needs approval waits for it",
            |model: &Choreography, world: &WorldState| {
                world.orders.iter().zip(&model.placed).all(|(journey, placed)| {
                    placed.approval == Approval::Auto
                        || !journey.facts.said::<CreateDelivery>()
                        || journey.facts.said::<AwaitingApproval>()
                })
            },
        ),
        Property::always("every step brings the end nearer", |_, world: &WorldState| {
            !matches!(world.fault, Some(Fault::NoProgress))
        }),
    ]
}

/// Whether what is there and what was shipped are what one of the beginnings had. An order is of one piece of each item.
fn began_with(model: &Choreography, world: &WorldState, shipped: usize) -> bool {
    model.configuration.stocks.iter().any(|stock| {
        let mut slots = stock.iter().zip(&world.stock);
        slots.all(|(began, slot)| usize::from(*began) == usize::from(slot.there) + shipped)
    })
}

fn count(world: &WorldState, holds: fn(&OrderJourney) -> bool) -> usize {
    world.orders.iter().filter(|journey| holds(journey)).count()
}

type Witness = (fn(&Configuration) -> bool, Property<Choreography>);

fn manual(c: &Configuration) -> bool {
    c.orders
        .iter()
        .any(|(payment, _)| *payment == PaymentMode::Manual)
}

fn short(c: &Configuration) -> bool {
    c.stocks
        .iter()
        .any(|stock| stock.iter().any(|there| usize::from(*there) < c.orders.len()))
}

fn no_courier(c: &Configuration) -> bool {
    c.refusals
        || c.couriers
            .iter()
            .any(|all| all.iter().map(|n| usize::from(*n)).sum::<usize>() < c.orders.len())
}

fn two(c: &Configuration) -> bool {
    c.orders.len() > 1
}

fn any(world: &WorldState, holds: impl Fn(&OrderJourney) -> bool) -> bool {
    world.orders.iter().any(|journey| holds(journey))
}

/// Whether somebody has heard an event and settled it.
fn heard(model: &Choreography, journey: &OrderJourney, who: Who, event: EventSet) -> bool {
    model
        .ears
        .iter()
        .enumerate()
        .any(|(at, ear)| ear.who == who && ear.event == event && journey.settled & (1 << at) != 0)
}

/// The event by which payment is asked.
fn request(model: &Choreography) -> EventSet {
    match model.configuration.flow {
        Flow::PayFirst => event_set![Created],
        Flow::ReserveFirst => event_set![Reserved],
    }
}

fn witnesses() -> Vec<Witness> {
    vec![
        (
            |_| true,
            Property::sometimes("completed", |_, w: &WorldState| {
                any(w, |j| j.facts.said::<Completed>())
            }),
        ),
        (
            |c| c.orders.iter().any(|(_, approval)| *approval == Approval::Manual),
            Property::sometimes("completed after approval", |_, w: &WorldState| {
                any(w, |j| j.facts.said_all(event_set![Completed, AwaitingApproval]))
            }),
        ),
        (
            |c| c.couriers_report,
            Property::sometimes("delivered", |_, w: &WorldState| {
                any(w, |j| j.facts.said_all(event_set![Completed, Delivered, Shipped]))
            }),
        ),
        (
            |c| c.couriers_report,
            Property::sometimes(
                "cancelled: the delivery fails after the completion",
                |_, w: &WorldState| {
                    any(w, |j| {
                        j.facts.said_all(event_set![
                            Completed,
                            DeliveryFailed,
                            Refunded,
                            OrderCancelled,
                            Released
                        ])
                    })
                },
            ),
        ),
        (
            |c| c.couriers_report && c.customer.cancels_order,
            Property::sometimes(
                "raced: a cancellation comes after the delivery",
                |m, w: &WorldState| {
                    any(w, |j| {
                        j.facts.said_all(event_set![CancelDelivery, Delivered, Completed])
                            && heard(m, j, Who::Delivery, event_set![CancelDelivery])
                    })
                },
            ),
        ),
        (
            |c| c.couriers_report && c.customer.cancels_order,
            Property::sometimes(
                "raced: a delivery fails while it is being cancelled",
                |_, w: &WorldState| {
                    any(w, |j| {
                        j.facts
                            .said_all(event_set![CancelDelivery, DeliveryFailed, OrderCancelled])
                    })
                },
            ),
        ),
        (
            |c| two(c) && c.couriers_report && c.couriers.contains(&vec![1]),
            Property::sometimes(
                "competed: a courier who has delivered takes the other order",
                |_, w: &WorldState| {
                    w.couriers.iter().all(|slot| slot.there == 1)
                        && every(w, |j| j.facts.said_all(event_set![Assigned, Completed, Shipped]))
                },
            ),
        ),
        (
            |c| c.previous_release,
            Property::sometimes(
                "previous release: the courier is called back after the cancellation",
                |_, w: &WorldState| {
                    any(w, |j| {
                        j.facts.said_all(event_set![
                            CancelPayment,
                            Assigned,
                            OrderCancelled,
                            DeliveryCancelled
                        ])
                    })
                },
            ),
        ),
        (
            |c| c.declines,
            Property::sometimes("cancelled: declined", |_, w: &WorldState| {
                any(w, |j| j.facts.said_all(event_set![PaymentFailed, OrderCancelled]))
            }),
        ),
        (
            |c| manual(c) && c.customer.cancels_payment,
            Property::sometimes(
                "cancelled: the customer cancels the payment",
                |_, w: &WorldState| {
                    any(w, |j| {
                        j.facts
                            .said_all(event_set![Opened, PaymentCancelled, OrderCancelled])
                            && !j
                                .facts
                                .said_any(event_set![Expired, CancelPayment, ReservationFailed])
                    })
                },
            ),
        ),
        (
            manual,
            Property::sometimes("cancelled: the deadline passes", |_, w: &WorldState| {
                any(w, |j| {
                    j.facts
                        .said_all(event_set![Expired, PaymentCancelled, OrderCancelled])
                })
            }),
        ),
        (
            short,
            Property::sometimes("cancelled: out of stock", |_, w: &WorldState| {
                any(w, |j| {
                    j.facts.said_all(event_set![ReservationFailed, OrderCancelled])
                        && !j.facts.said::<CancelPayment>()
                })
            }),
        ),
        (
            no_courier,
            Property::sometimes("cancelled: no courier, refunded", |_, w: &WorldState| {
                any(w, |j| {
                    j.facts.said_all(event_set![NoCourier, Refunded, OrderCancelled])
                        && !j.facts.said::<CancelPayment>()
                })
            }),
        ),
        (
            |c| c.customer.cancels_order,
            Property::sometimes(
                "cancelled: the customer, before the charge",
                |_, w: &WorldState| {
                    any(w, |j| {
                        j.facts
                            .said_all(event_set![CancelPayment, PaymentCancelled, OrderCancelled])
                    })
                },
            ),
        ),
        (
            |c| c.customer.cancels_order,
            Property::sometimes("cancelled: the customer, refunded", |_, w: &WorldState| {
                any(w, |j| {
                    j.facts
                        .said_all(event_set![CancelPayment, Refunded, OrderCancelled])
                })
            }),
        ),
        (
            |c| {
                c.customer.cancels_order && c.orders.iter().any(|(_, approval)| *approval == Approval::Manual)
            },
            Property::sometimes("cancelled: while it waits for approval", |_, w: &WorldState| {
                any(w, |j| {
                    j.facts.said_all(event_set![AwaitingApproval, OrderCancelled])
                        && !j.facts.said::<CreateDelivery>()
                })
            }),
        ),
        (
            |c| no_courier(c) || c.customer.cancels_order,
            Property::sometimes("undone: stock released", |_, w: &WorldState| {
                any(w, |j| j.facts.said::<Released>())
            }),
        ),
        (
            |c| c.customer.cancels_order,
            Property::sometimes("undone: courier called back", |_, w: &WorldState| {
                any(w, |j| j.facts.said_all(event_set![Assigned, DeliveryCancelled]))
            }),
        ),
        (
            |c| (c.crashes > 0 || manual(c)) && !c.instant && c.customer.cancels_order,
            Property::sometimes(
                "undone: a charge nobody knows of is voided",
                |_, w: &WorldState| {
                    any(w, |j| {
                        j.books.voided && j.books.returned == 1 && !j.facts.said::<Charged>()
                    })
                },
            ),
        ),
        (
            |c| c.customer.cancels_order,
            Property::sometimes("overtaken: the request to payment", |m, w: &WorldState| {
                any(w, |j| {
                    j.facts.said_all(event_set![CancelPayment, PaymentCancelled])
                        && j.facts.said_all(request(m))
                        && !j.facts.said::<Opened>()
                        && !heard(m, j, Who::Payment, request(m))
                })
            }),
        ),
        (
            |c| c.customer.cancels_order,
            Property::sometimes("overtaken: the request to inventory", |m, w: &WorldState| {
                let request = match m.configuration.flow {
                    Flow::PayFirst => event_set![Charged],
                    Flow::ReserveFirst => event_set![Created],
                };
                any(w, |j| {
                    j.facts.said::<ReservationFailed>() && !heard(m, j, Who::Inventory, request)
                })
            }),
        ),
        (
            |c| c.customer.cancels_order,
            Property::sometimes("overtaken: the request to delivery", |m, w: &WorldState| {
                any(w, |j| {
                    j.facts.said::<DeliveryCancelled>()
                        && !j.facts.said::<Assigned>()
                        && !heard(m, j, Who::Delivery, event_set![CreateDelivery])
                })
            }),
        ),
        (
            |c| manual(c) && !c.instant,
            Property::sometimes(
                "raced: the deadline passes while the provider charges",
                |_, w: &WorldState| {
                    any(w, |j| {
                        j.facts.said::<Expired>() && j.books.taken == 1 && !j.facts.said::<Charged>()
                    })
                },
            ),
        ),
        (
            |c| manual(c) && c.late_expiry,
            Property::sometimes(
                "late: the deadline fires after the charge, and is ignored",
                |m, w: &WorldState| {
                    any(w, |j| {
                        j.facts.said_all(event_set![Expired, Completed])
                            && heard(m, j, Who::Payment, event_set![Expired])
                    })
                },
            ),
        ),
        (
            |c| c.doubles > 0 && (!manual(c) || c.customer.confirms > 1),
            Property::sometimes(
                "doubled: a charge that was made is asked for again",
                |_, w: &WorldState| any(w, |j| j.books.taken == 1 && asked_again(j)),
            ),
        ),
        (
            |c| c.crashes > 0,
            Property::sometimes(
                "orphaned: a dead instance's charge is on its way",
                |_, w: &WorldState| {
                    any(w, |j| {
                        j.calls.iter().any(|call| matches!(call.stage, Stage::Orphan(ask) if AskKind::of(ask) == AskKind::Charge))
                    })
                },
            ),
        ),
        (
            |c| c.puts > 0 && short(c),
            Property::sometimes("stocked: what comes in late is sold", |m, w: &WorldState| {
                any(w, |j| j.facts.said::<Completed>())
                    && w.stock.iter().any(|slot| usize::from(slot.used) > beginning(m))
            }),
        ),
        (
            |c| c.withdrawals > 0,
            Property::sometimes("withdrawn: an order comes too late", |_, w: &WorldState| {
                w.stock.iter().any(|slot| slot.closed)
                    && any(w, |j| {
                        j.facts.said_all(event_set![ReservationFailed, OrderCancelled])
                    })
                    && !any(w, |j| j.facts.said::<CancelPayment>())
            }),
        ),
        (
            |c| c.withdrawals > 0 && c.customer.cancels_order,
            Property::sometimes(
                "withdrawn: after a reservation was released",
                |_, w: &WorldState| {
                    w.stock.iter().any(|slot| slot.closed) && any(w, |j| j.facts.said::<Released>())
                },
            ),
        ),
        (
            |c| two(c) && c.withdrawals == 0 && c.stocks.contains(&vec![1]),
            Property::sometimes(
                "competed: one gets the last piece, the other its money back",
                |_, w: &WorldState| {
                    w.stock.iter().all(|slot| slot.there == 1)
                        && any(w, |j| j.facts.said::<Completed>())
                        && any(w, |j| {
                            j.facts.said_all(event_set![ReservationFailed, OrderCancelled])
                        })
                },
            ),
        ),
        (
            |c| two(c) && c.customer.cancels_order && c.stocks.contains(&vec![1]),
            Property::sometimes(
                "competed: a released piece goes to the other",
                |_, w: &WorldState| {
                    w.stock.iter().all(|slot| slot.there == 1)
                        && any(w, |j| j.facts.said::<Completed>())
                        && any(w, |j| j.facts.said::<Released>())
                },
            ),
        ),
        (
            |c| two(c) && c.stocks.contains(&vec![2]),
            Property::sometimes(
                "competed: one gets the last courier, the other its money back",
                |_, w: &WorldState| {
                    any(w, |j| j.facts.said::<Completed>())
                        && any(w, |j| j.facts.said_all(event_set![NoCourier, OrderCancelled]))
                },
            ),
        ),
    ]
}

/// The least of what may be there of the first item at first.
fn beginning(model: &Choreography) -> usize {
    model
        .configuration
        .stocks
        .iter()
        .filter_map(|stock| stock.first())
        .min()
        .map_or(0, |least| usize::from(*least))
}

fn asked_again(journey: &OrderJourney) -> bool {
    journey.calls.iter().any(|call| match call.stage {
        Stage::Asked(ask) | Stage::Orphan(ask) => AskKind::of(ask) == AskKind::Charge,
        Stage::Answered(_) => false,
    })
}
