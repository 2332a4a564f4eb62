//! What must hold (design 7), and what must be possible, so that nothing holds because it never comes to it.

use quadrille_events::Flow;
use quadrille_events::{Approval, PaymentMode};
use stateright::Property;

use crate::choreography::Choreography;
use crate::configuration::Configuration;
use crate::participant::AskKind;
use crate::world::{Fault, Journey, NAMES, Slot, Stage, Who, World};

/// The claims that make sense in a configuration.
pub(crate) fn of(configuration: &Configuration) -> Vec<Property<Choreography>> {
    let mut claims = safety();
    claims.push(Property::eventually("every order ends", all_ended));
    claims.extend(
        witnesses()
            .into_iter()
            .filter(|(applies, _)| applies(configuration))
            .map(|(_, claim)| claim),
    );
    claims
}

fn ended(journey: &Journey) -> bool {
    journey.any(NAMES.completed | NAMES.order_cancelled)
}

/// Once true it stays true, so stateright's `eventually` cannot be misled by two paths that join; and no path has a
/// cycle ([`Fault::NoProgress`]), so it cannot be misled by one either.
fn all_ended(_: &Choreography, world: &World) -> bool {
    world.orders.iter().all(|journey| ended(journey))
}

fn every(world: &World, holds: impl Fn(&Journey) -> bool) -> bool {
    world.orders.iter().all(|journey| holds(journey))
}

fn holds_stock(journey: &Journey) -> bool {
    journey.has(NAMES.reserved) && !journey.has(NAMES.released)
}

fn holds_courier(journey: &Journey) -> bool {
    journey.has(NAMES.assigned) && !journey.has(NAMES.delivery_cancelled)
}

fn safety() -> Vec<Property<Choreography>> {
    vec![
        Property::always(
            "an order at rest has ended",
            |model: &Choreography, world: &World| !model.is_quiet(world) || all_ended(model, world),
        ),
        Property::always(
            "completed: charged once, reserved, one courier",
            |model: &Choreography, world: &World| {
                !model.is_quiet(world)
                    || every(world, |journey| {
                        !journey.has(NAMES.completed)
                            || (journey.books.taken == 1
                                && journey.books.returned == 0
                                && holds_stock(journey)
                                && holds_courier(journey))
                    })
            },
        ),
        Property::always(
            "cancelled: money, stock and courier are back",
            |model: &Choreography, world: &World| {
                !model.is_quiet(world)
                    || every(world, |journey| {
                        !journey.has(NAMES.order_cancelled)
                            || (journey.books.taken == journey.books.returned
                                && !holds_stock(journey)
                                && !holds_courier(journey))
                    })
            },
        ),
        Property::always(
            "stock and load: within bounds, all accounted for",
            |_, world: &World| {
                let held = count(world, holds_stock);
                let loaded = count(world, holds_courier);
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
            "at most one charge and one refund, at the provider too",
            |_, world: &World| {
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
            |_, world: &World| {
                every(world, |journey| {
                    let books = &journey.books;
                    (!journey.has(NAMES.charged) || books.taken == 1)
                        && (!journey.has(NAMES.refunded) || books.returned == 1)
                        && (!journey.has(NAMES.failed) || books.taken == 0)
                })
            },
        ),
        Property::always("nothing ends two ways", |_, world: &World| {
            every(world, |journey| {
                let of = |bits: u32| (journey.names & bits).count_ones();
                of(NAMES.completed | NAMES.order_cancelled) <= 1
                    && of(NAMES.failed | NAMES.payment_cancelled | NAMES.refunded) <= 1
                    && of(NAMES.charged | NAMES.failed | NAMES.payment_cancelled) <= 1
                    && of(NAMES.reserved | NAMES.reservation_failed) <= 1
                    && of(NAMES.assigned | NAMES.no_courier) <= 1
            })
        }),
        Property::always("no event twice", |_, world: &World| {
            !matches!(world.fault, Some(Fault::SaidTwice(_)))
        }),
        Property::always("what was answered is not answered again", |_, world: &World| {
            !matches!(world.fault, Some(Fault::AnsweredTwice(_)))
        }),
        Property::always(
            "what cannot be never is, and no event is refused",
            |_, world: &World| !matches!(world.fault, Some(Fault::CannotBe(_) | Fault::EventRefused(_))),
        ),
        Property::always("a command that is answered holds", |_, world: &World| {
            !matches!(world.fault, Some(Fault::Unkept))
        }),
        Property::always(
            "decisions keep to what they read and are asked",
            |_, world: &World| {
                !matches!(
                    world.fault,
                    Some(Fault::AnotherOrder(_) | Fault::Unread | Fault::AsksAgain)
                )
            },
        ),
        Property::always(
            "a deadline is set exactly while a payment is open",
            |_, world: &World| {
                every(world, |journey| {
                    let settled = NAMES.expired | NAMES.charged | NAMES.failed | NAMES.payment_cancelled;
                    journey.due.is_some() == (journey.has(NAMES.opened) && !journey.any(settled))
                })
            },
        ),
        Property::always(
            "what needs approval waits for it",
            |model: &Choreography, world: &World| {
                world.orders.iter().zip(&model.placed).all(|(journey, placed)| {
                    placed.approval == Approval::Auto
                        || !journey.has(NAMES.create_delivery)
                        || journey.has(NAMES.awaiting_approval)
                })
            },
        ),
        Property::always("every step brings the end nearer", |_, world: &World| {
            !matches!(world.fault, Some(Fault::NoProgress))
        }),
    ]
}

fn count(world: &World, holds: fn(&Journey) -> bool) -> usize {
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

fn any(world: &World, holds: impl Fn(&Journey) -> bool) -> bool {
    world.orders.iter().any(|journey| holds(journey))
}

/// Whether somebody has heard an event and settled it.
fn heard(model: &Choreography, journey: &Journey, who: Who, name: u32) -> bool {
    model
        .ears
        .iter()
        .enumerate()
        .any(|(at, ear)| ear.who == who && ear.bit == name && journey.settled & (1 << at) != 0)
}

/// What payment is asked by.
fn request(model: &Choreography) -> u32 {
    match model.configuration.flow {
        Flow::PayFirst => NAMES.created,
        Flow::ReserveFirst => NAMES.reserved,
    }
}

fn witnesses() -> Vec<Witness> {
    vec![
        (
            |_| true,
            Property::sometimes("completed", |_, w: &World| any(w, |j| j.has(NAMES.completed))),
        ),
        (
            |c| c.orders.iter().any(|(_, approval)| *approval == Approval::Manual),
            Property::sometimes("completed after approval", |_, w: &World| {
                any(w, |j| j.has(NAMES.completed | NAMES.awaiting_approval))
            }),
        ),
        (
            |c| c.declines,
            Property::sometimes("cancelled: declined", |_, w: &World| {
                any(w, |j| j.has(NAMES.failed | NAMES.order_cancelled))
            }),
        ),
        (
            |c| manual(c) && c.customer.cancels_payment,
            Property::sometimes("cancelled: the customer cancels the payment", |_, w: &World| {
                any(w, |j| {
                    j.has(NAMES.opened | NAMES.payment_cancelled | NAMES.order_cancelled)
                        && !j.any(NAMES.expired | NAMES.cancel_payment | NAMES.reservation_failed)
                })
            }),
        ),
        (
            manual,
            Property::sometimes("cancelled: the deadline passes", |_, w: &World| {
                any(w, |j| {
                    j.has(NAMES.expired | NAMES.payment_cancelled | NAMES.order_cancelled)
                })
            }),
        ),
        (
            short,
            Property::sometimes("cancelled: out of stock", |_, w: &World| {
                any(w, |j| {
                    j.has(NAMES.reservation_failed | NAMES.order_cancelled) && !j.any(NAMES.cancel_payment)
                })
            }),
        ),
        (
            no_courier,
            Property::sometimes("cancelled: no courier, refunded", |_, w: &World| {
                any(w, |j| {
                    j.has(NAMES.no_courier | NAMES.refunded | NAMES.order_cancelled)
                        && !j.any(NAMES.cancel_payment)
                })
            }),
        ),
        (
            |c| c.customer.cancels_order,
            Property::sometimes("cancelled: the customer, before the charge", |_, w: &World| {
                any(w, |j| {
                    j.has(NAMES.cancel_payment | NAMES.payment_cancelled | NAMES.order_cancelled)
                })
            }),
        ),
        (
            |c| c.customer.cancels_order,
            Property::sometimes("cancelled: the customer, refunded", |_, w: &World| {
                any(w, |j| {
                    j.has(NAMES.cancel_payment | NAMES.refunded | NAMES.order_cancelled)
                })
            }),
        ),
        (
            |c| {
                c.customer.cancels_order && c.orders.iter().any(|(_, approval)| *approval == Approval::Manual)
            },
            Property::sometimes("cancelled: while it waits for approval", |_, w: &World| {
                any(w, |j| {
                    j.has(NAMES.awaiting_approval | NAMES.order_cancelled) && !j.any(NAMES.create_delivery)
                })
            }),
        ),
        (
            |c| no_courier(c) || c.customer.cancels_order,
            Property::sometimes("undone: stock released", |_, w: &World| {
                any(w, |j| j.has(NAMES.released))
            }),
        ),
        (
            |c| c.customer.cancels_order,
            Property::sometimes("undone: courier called back", |_, w: &World| {
                any(w, |j| j.has(NAMES.assigned | NAMES.delivery_cancelled))
            }),
        ),
        (
            |c| (c.crashes > 0 || manual(c)) && !c.instant && c.customer.cancels_order,
            Property::sometimes("undone: a charge nobody knows of is voided", |_, w: &World| {
                any(w, |j| {
                    j.books.voided && j.books.returned == 1 && !j.has(NAMES.charged)
                })
            }),
        ),
        (
            |c| c.customer.cancels_order,
            Property::sometimes("overtaken: the request to payment", |m, w: &World| {
                any(w, |j| {
                    j.has(NAMES.cancel_payment | NAMES.payment_cancelled | request(m))
                        && !j.any(NAMES.opened)
                        && !heard(m, j, Who::Payment, request(m))
                })
            }),
        ),
        (
            |c| c.customer.cancels_order,
            Property::sometimes("overtaken: the request to inventory", |m, w: &World| {
                let request = match m.configuration.flow {
                    Flow::PayFirst => NAMES.charged,
                    Flow::ReserveFirst => NAMES.created,
                };
                any(w, |j| {
                    j.has(NAMES.reservation_failed) && !heard(m, j, Who::Inventory, request)
                })
            }),
        ),
        (
            |c| c.customer.cancels_order,
            Property::sometimes("overtaken: the request to delivery", |m, w: &World| {
                any(w, |j| {
                    j.has(NAMES.delivery_cancelled)
                        && !j.has(NAMES.assigned)
                        && !heard(m, j, Who::Delivery, NAMES.create_delivery)
                })
            }),
        ),
        (
            |c| manual(c) && !c.instant,
            Property::sometimes(
                "raced: the deadline passes while the provider charges",
                |_, w: &World| {
                    any(w, |j| {
                        j.has(NAMES.expired) && j.books.taken == 1 && !j.has(NAMES.charged)
                    })
                },
            ),
        ),
        (
            |c| manual(c) && c.late_expiry,
            Property::sometimes(
                "late: the deadline fires after the charge, and is ignored",
                |m, w: &World| {
                    any(w, |j| {
                        j.has(NAMES.expired | NAMES.completed) && heard(m, j, Who::Payment, NAMES.expired)
                    })
                },
            ),
        ),
        (
            |c| c.doubles > 0 && (!manual(c) || c.customer.confirms > 1),
            Property::sometimes(
                "doubled: a charge that was made is asked for again",
                |_, w: &World| any(w, |j| j.books.taken == 1 && asked_again(j)),
            ),
        ),
        (
            |c| c.crashes > 0,
            Property::sometimes(
                "orphaned: a dead instance's charge is on its way",
                |_, w: &World| {
                    any(w, |j| {
                        j.calls.iter().any(|call| matches!(call.stage, Stage::Orphan(ask) if AskKind::of(ask) == AskKind::Charge))
                    })
                },
            ),
        ),
        (
            |c| c.puts > 0 && short(c),
            Property::sometimes("stocked: what comes in late is sold", |m, w: &World| {
                any(w, |j| j.has(NAMES.completed))
                    && w.stock.iter().any(|slot| usize::from(slot.used) > beginning(m))
            }),
        ),
        (
            |c| two(c) && c.stocks.contains(&vec![1]),
            Property::sometimes(
                "competed: one gets the last piece, the other its money back",
                |_, w: &World| {
                    w.stock.iter().all(|slot| slot.there == 1)
                        && any(w, |j| j.has(NAMES.completed))
                        && any(w, |j| j.has(NAMES.reservation_failed | NAMES.order_cancelled))
                },
            ),
        ),
        (
            |c| two(c) && c.customer.cancels_order && c.stocks.contains(&vec![1]),
            Property::sometimes("competed: a released piece goes to the other", |_, w: &World| {
                w.stock.iter().all(|slot| slot.there == 1)
                    && any(w, |j| j.has(NAMES.completed))
                    && any(w, |j| j.has(NAMES.released))
            }),
        ),
        (
            |c| two(c) && c.stocks.contains(&vec![2]),
            Property::sometimes(
                "competed: one gets the last courier, the other its money back",
                |_, w: &World| {
                    any(w, |j| j.has(NAMES.completed))
                        && any(w, |j| j.has(NAMES.no_courier | NAMES.order_cancelled))
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

fn asked_again(journey: &Journey) -> bool {
    journey.calls.iter().any(|call| match call.stage {
        Stage::Asked(ask) | Stage::Orphan(ask) => AskKind::of(ask) == AskKind::Charge,
        Stage::Answered(_) => false,
    })
}
