//! All orders at once: the fold of the open orders in the buckets and of the EVENTS log.
//!
//! Nothing in here knows a clock or a network: events go in one after the other, and [`View::overview`] says what there
//! is to see at a given moment. The same buckets and log give the same view, so a restart loses nothing.
//!
//! What it keeps is bounded: how far each of [`MAX_COUNTED`] orders in flight is, the details of [`MAX_DETAILED`] of them and
//! of the [`MAX_ENDED`] that ended last, and counters.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use quadrille_events::{Currency, CustomerId, Event, EventName, Money, Order, OrderId, OrderProgress, Step};
use serde::Serialize;

/// The most orders in flight that are counted, by step and whether they are stuck: some 350 bytes each. Others are missing
/// everywhere, and taken in with their next event once there is room; `quadrille_orders_uncounted` and its alert tell.
pub const MAX_COUNTED: usize = 1_000_000;
/// The most orders in flight whose customer, total and reason are kept: some 10 MB. Others are shown by their id.
pub const MAX_DETAILED: usize = 50_000;
/// The most ended orders that are kept: some 6 MB, for the search. All others are in the buckets, by their id.
pub const MAX_ENDED: usize = 20_000;
/// The most orders in flight that one overview lists: more than anybody reads.
pub const LISTED: usize = 60;
/// The most ended orders that one overview lists.
pub const LISTED_ENDED: usize = 12;
/// The most orders that a search finds.
pub const MAX_FOUND: usize = 50;
/// The seconds over which the rate of events is taken.
const RATE_OVER: i64 = 5;

/// All orders that are in flight or ended lately, and how often each event was said.
#[derive(Debug)]
pub struct View {
    limits: Limits,
    orders: HashMap<OrderId, ListedOrder>,
    /// Those in flight, by when their step is due: the stuck ones are those before now.
    due: BTreeSet<(Timestamp, OrderId)>,
    /// Those in flight, by age.
    age: BTreeSet<(Timestamp, OrderId)>,
    /// How many of those in flight have details.
    detailed: usize,
    /// Those that ended, by when.
    ended: BTreeSet<(Timestamp, OrderId)>,
    steps: [u64; Step::ALL.len()],
    /// Ended orders that are no longer kept, by whether they were completed.
    forgotten: [u64; 2],
    said: Vec<u64>,
    seconds: BTreeMap<i64, u64>,
    uncounted: u64,
    changes: u64,
}

/// How many orders a view keeps.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub counted: usize,
    pub detailed: usize,
    pub ended: usize,
}

/// What the view keeps of one order.
#[derive(Clone, Debug)]
struct ListedOrder {
    progress: OrderProgress,
    changes: u32,
    details: Option<Box<Details>>,
}

/// What only a list of orders shows.
#[derive(Clone, Debug)]
struct Details {
    customer_id: CustomerId,
    total: Money,
    currency: Currency,
    reason: Option<Box<str>>,
}

/// What the view shows at a moment.
#[derive(Clone, Debug, Serialize)]
pub struct Overview {
    /// The moment, in milliseconds since 1970: what a page measures its own clock against.
    pub now: i64,
    /// How often each event is in the log, in the order of [`Event::names`].
    pub said: Vec<u64>,
    /// Events a second, lately.
    pub per_second: f64,
    /// How many orders are in flight.
    pub in_flight: u64,
    /// How many of them take longer than they should.
    pub stuck: u64,
    /// For whom those wait, and how many for each.
    pub stuck_at: BTreeMap<&'static str, u64>,
    /// How many were completed.
    pub completed: u64,
    /// How many were cancelled.
    pub cancelled: u64,
    /// Events about orders in flight for which there was no room.
    pub uncounted: u64,
    /// How many orders are at each step that is no end.
    pub steps: Vec<AtStep>,
    /// Those in flight: the stuck ones first, longest overdue first; then the others, oldest first.
    pub orders: Vec<Row>,
    /// Those that ended last, latest first.
    pub ended: Vec<Row>,
}

/// How many orders are at a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AtStep {
    /// The name of the step.
    pub step: &'static str,
    /// How many orders are at the step.
    pub orders: u64,
    /// How many of them take longer than they should.
    pub stuck: u64,
}

/// One order in a list. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The order.
    pub order_id: OrderId,
    /// Customer and total; `None` if there are too many orders in flight to keep them for all.
    #[serde(flatten)]
    pub sum: Option<RowSum>,
    /// How far the order is.
    pub step: &'static str,
    /// Who is to speak next.
    pub waits_for: Option<&'static str>,
    /// When the first event was said.
    pub first: i64,
    /// When the last event was said.
    pub last: i64,
    /// Until when the step should have been taken.
    pub due: Option<i64>,
    /// Whether the step takes longer than it should.
    pub stuck: bool,
    /// The reason of the cancellation, if there is one.
    pub reason: Option<String>,
}

/// Whose order, and how much it costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RowSum {
    /// The customer.
    pub customer_id: CustomerId,
    /// The total, in minor units.
    pub total: Money,
    /// The currency of the total.
    pub currency: Currency,
    /// How many digits the currency has after the point.
    pub digits: u16,
}

impl Default for View {
    fn default() -> Self {
        Self::bounded(Limits {
            counted: MAX_COUNTED,
            detailed: MAX_DETAILED,
            ended: MAX_ENDED,
        })
    }
}

impl View {
    /// An empty view that keeps no more than so many orders.
    pub fn bounded(limits: Limits) -> Self {
        Self {
            limits,
            orders: HashMap::new(),
            due: BTreeSet::new(),
            age: BTreeSet::new(),
            detailed: 0,
            ended: BTreeSet::new(),
            steps: [0; Step::ALL.len()],
            forgotten: [0; 2],
            said: vec![0; Event::names().count()],
            seconds: BTreeMap::new(),
            uncounted: 0,
            changes: 0,
        }
    }

    /// Takes in one event of the log, said at `at`.
    pub fn hear(&mut self, event: &Event, at: Timestamp) {
        self.changes += 1;
        let place = event.name().place();
        if let Some(count) = place.and_then(|place| self.said.get_mut(place)) {
            *count += 1;
        }
        *self.seconds.entry(at.as_second()).or_default() += 1;
        while self.seconds.len() > 2 * RATE_OVER as usize {
            self.seconds.pop_first();
        }

        self.learn(event, at);
    }

    /// Takes in one event of a bucket, said at `at`: only what follows for its order. If it comes in the log too, nothing
    /// changes any more.
    pub fn learn(&mut self, event: &Event, at: Timestamp) {
        let Some(order) = event.order() else {
            return;
        };
        let mut tracked = match self.orders.remove(&order.order_id) {
            Some(known) => {
                self.unlist(&order.order_id, &known);
                known
            }
            None if self.age.len() >= self.limits.counted => {
                self.uncounted += 1;
                return;
            }
            None => ListedOrder {
                progress: OrderProgress::new(event, at),
                changes: 0,
                details: None,
            },
        };
        tracked.changes += 1;
        tracked.progress.hear(event, at);
        // Those that have ended have a limit of their own.
        if tracked.progress.due().is_none() || self.detailed < self.limits.detailed {
            let details = tracked.details.get_or_insert_with(|| Details::new(order).into());
            if let (Some(reason), None) = (event.reason(), &details.reason) {
                details.reason = Some(reason.into());
            }
        }
        self.list(&order.order_id, &tracked);
        self.orders.insert(order.order_id.clone(), tracked);
        while self.ended.len() > self.limits.ended {
            self.forget();
        }
    }

    fn list(&mut self, id: &OrderId, tracked: &ListedOrder) {
        let progress = &tracked.progress;
        *self.at_step(progress.step()) += 1;
        match progress.due() {
            Some(due) => {
                self.due.insert((due, id.clone()));
                self.age.insert((progress.first(), id.clone()));
                self.detailed += usize::from(tracked.details.is_some());
            }
            None => {
                self.ended.insert((progress.last(), id.clone()));
            }
        }
    }

    fn unlist(&mut self, id: &OrderId, tracked: &ListedOrder) {
        let progress = &tracked.progress;
        *self.at_step(progress.step()) -= 1;
        match progress.due() {
            Some(due) => {
                self.due.remove(&(due, id.clone()));
                self.age.remove(&(progress.first(), id.clone()));
                self.detailed -= usize::from(tracked.details.is_some());
            }
            None => {
                self.ended.remove(&(progress.last(), id.clone()));
            }
        }
    }

    fn at_step(&mut self, step: Step) -> &mut u64 {
        let place = Step::ALL.iter().position(|known| *known == step).unwrap_or(0);
        &mut self.steps[place]
    }

    /// Drops the order that ended first.
    fn forget(&mut self) {
        let Some((_, id)) = self.ended.pop_first() else {
            return;
        };
        let Some(tracked) = self.orders.remove(&id) else {
            return;
        };
        let step = tracked.progress.step();
        *self.at_step(step) -= 1;
        self.forgotten[usize::from(step == Step::Completed)] += 1;
    }

    /// Changes with every event.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Changes with every event of this order.
    pub fn changes_of(&self, id: &OrderId) -> u32 {
        self.orders.get(id).map_or(0, |tracked| tracked.changes)
    }

    /// How often this event is in the log.
    pub fn said(&self, name: &EventName) -> u64 {
        name.place()
            .and_then(|place| self.said.get(place))
            .copied()
            .unwrap_or_default()
    }

    /// What there is to see at `now`; of the orders in flight only those at `only`, if it is given.
    pub fn overview(&self, now: Timestamp, only: Option<Step>) -> Overview {
        let mut stuck_at = [0_u64; Step::ALL.len()];
        let mut orders = Vec::new();
        let mut stuck = 0;
        let mut waited_for = BTreeMap::new();
        let wanted = |step: Step| only.is_none_or(|only| only == step);
        for (_, id) in self.due.iter().take_while(|(due, _)| *due < now) {
            let Some(tracked) = self.orders.get(id) else {
                continue;
            };
            let step = tracked.progress.step();
            stuck += 1;
            if let Some(who) = tracked.progress.facts().waits_for() {
                *waited_for.entry(who).or_default() += 1;
            }
            if let Some(place) = Step::ALL.iter().position(|known| *known == step) {
                stuck_at[place] += 1;
            }
            if orders.len() < LISTED && wanted(step) {
                orders.push(tracked.row(id, now));
            }
        }
        for (_, id) in &self.age {
            if orders.len() >= LISTED {
                break;
            }
            let Some(tracked) = self.orders.get(id) else {
                continue;
            };
            if !tracked.progress.is_stuck(now) && wanted(tracked.progress.step()) {
                orders.push(tracked.row(id, now));
            }
        }
        let ended = self.ended.iter().rev().take(LISTED_ENDED);
        let ended = ended.filter_map(|(_, id)| Some(self.orders.get(id)?.row(id, now)));
        let counted = || Step::ALL.iter().zip(self.steps.iter().zip(stuck_at));
        let of = |wanted: Step| {
            counted()
                .find(|(step, _)| **step == wanted)
                .map_or(0, |(_, (orders, _))| *orders)
        };
        Overview {
            now: now.as_millisecond(),
            said: self.said.clone(),
            per_second: self.rate(now),
            in_flight: self.age.len() as u64,
            stuck,
            stuck_at: waited_for,
            completed: of(Step::Completed) + self.forgotten[1],
            cancelled: of(Step::Cancelled) + self.forgotten[0],
            uncounted: self.uncounted,
            steps: counted()
                .filter(|(step, _)| !step.is_over())
                .map(|(step, (orders, stuck))| AtStep {
                    step: step.name(),
                    orders: *orders,
                    stuck,
                })
                .collect(),
            orders,
            ended: ended.collect(),
        }
    }

    fn rate(&self, now: Timestamp) -> f64 {
        let until = now.as_second();
        // The second that is running is not counted: it is not over.
        let counted: u64 = self
            .seconds
            .range(until - RATE_OVER..until)
            .map(|(_, count)| count)
            .sum();
        counted as f64 / RATE_OVER as f64
    }

    /// Orders whose id begins with `text`, or whose customer's id does, latest first.
    pub fn find(&self, text: &str, now: Timestamp) -> Vec<Row> {
        let text = text.to_ascii_lowercase();
        let begins = |id: &str| {
            id.get(..text.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(&text))
        };
        let mut found: Vec<_> = self
            .orders
            .iter()
            .filter(|(id, tracked)| {
                let customer = tracked.details.as_ref().map(|details| &details.customer_id);
                begins(id.as_str()) || customer.is_some_and(|customer| begins(customer.as_str()))
            })
            .collect();
        found.sort_by_key(|(id, tracked)| (std::cmp::Reverse(tracked.progress.first()), id.as_str()));
        found.truncate(MAX_FOUND);
        found
            .into_iter()
            .map(|(id, tracked)| tracked.row(id, now))
            .collect()
    }
}

impl Details {
    fn new(order: &Order) -> Self {
        Self {
            customer_id: order.customer_id.clone(),
            total: order.total,
            currency: order.currency,
            reason: None,
        }
    }

    fn sum(&self) -> RowSum {
        RowSum {
            customer_id: self.customer_id.clone(),
            total: self.total,
            currency: self.currency,
            digits: self.currency.exponent().unwrap_or(0),
        }
    }
}

impl ListedOrder {
    fn row(&self, id: &OrderId, now: Timestamp) -> Row {
        Row {
            order_id: id.clone(),
            sum: self.details.as_ref().map(|details| details.sum()),
            step: self.progress.step().name(),
            waits_for: self.progress.facts().waits_for(),
            first: self.progress.first().as_millisecond(),
            last: self.progress.last().as_millisecond(),
            due: self.progress.due().map(Timestamp::as_millisecond),
            stuck: self.progress.is_stuck(now),
            reason: self
                .details
                .as_ref()
                .and_then(|details| Some(details.reason.as_deref()?.to_owned())),
        }
    }
}

/// The row of an order that is not in the view, from its story.
pub(crate) fn row_of(order: &Order, progress: OrderProgress, reason: Option<&str>, now: Timestamp) -> Row {
    let details = Details {
        reason: reason.map(Into::into),
        ..Details::new(order)
    };
    let tracked = ListedOrder {
        progress,
        changes: 0,
        details: Some(details.into()),
    };
    tracked.row(&order.order_id, now)
}

#[cfg(test)]
mod tests {
    use quadrille_events::{
        Approval, Assigned, Body, CancelOrder, CancelPayment, Charged, Completed, CreateDelivery, Created,
        Line, Opened, OrderCancelled, PaymentMode, Refunded, Released, Reserved,
    };
    use serde_json::json;

    use super::*;

    const SMALL: Limits = Limits {
        counted: 100,
        detailed: 100,
        ended: 100,
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn event(id: &str, name: &EventName) -> Event {
        let order = Order {
            order_id: id.parse().unwrap(),
            customer_id: format!("customer-of-{id}").parse().unwrap(),
            lines: vec![Line {
                item_id: "apple".parse().unwrap(),
                quantity: 2,
                unit_price: 250,
            }],
            total: 500,
            currency: Currency::EUR,
            address: "1 Main St".to_owned(),
            payment: PaymentMode::Auto,
            approval: Approval::Auto,
            placed_at: None,
        };
        let body = json!({
            "order": order, "reason": format!("because of {}", name.entry), "reference": "r", "courier_id": "grace",
            "charged": true, "delivery_requested": false, "expires_at": at(900),
        });
        Event::decode(name.service, &name.key(), body.to_string().as_bytes()).unwrap()
    }

    /// Folds `second, order, event` after one another.
    fn view(log: &[(i64, &str, &EventName)]) -> View {
        let mut view = View::bounded(SMALL);
        for (second, id, name) in log {
            view.hear(&event(id, name), at(*second));
        }
        view
    }

    const HAPPY: [&EventName; 6] = [
        Created::NAME,
        Charged::NAME,
        Reserved::NAME,
        CreateDelivery::NAME,
        Assigned::NAME,
        Completed::NAME,
    ];

    fn ids(rows: &[Row]) -> Vec<&str> {
        rows.iter().map(|row| row.order_id.as_str()).collect()
    }

    #[test]
    fn an_order_is_in_flight_until_it_has_ended() {
        let mut view = View::bounded(SMALL);
        for (second, name) in (0..).zip(HAPPY) {
            view.hear(&event("a", name), at(second));
            let seen = view.overview(at(second), None);
            assert_eq!(seen.in_flight, u64::from(name != Completed::NAME), "{name}");
        }
        let seen = view.overview(at(100), None);
        assert_eq!((seen.completed, seen.cancelled, seen.stuck), (1, 0, 0));
        assert_eq!(ids(&seen.ended), ["a"]);
        assert_eq!((seen.ended[0].first, seen.ended[0].last), (0, 5_000));
        assert_eq!(seen.said.iter().sum::<u64>(), 6);
    }

    #[test]
    fn the_stuck_ones_come_first_and_then_the_oldest() {
        let view = view(&[
            (0, "waits-for-customer", Created::NAME),
            (0, "waits-for-customer", Opened::NAME),
            (1, "stuck-later", Created::NAME),
            (2, "stuck-first", Created::NAME),
            (5, "stuck-later", Charged::NAME),
            (19, "fresh", Created::NAME),
        ]);
        let seen = view.overview(at(20), None);
        assert_eq!(
            ids(&seen.orders),
            ["stuck-first", "stuck-later", "waits-for-customer", "fresh"]
        );
        assert_eq!(
            seen.orders.iter().map(|row| row.stuck).collect::<Vec<_>>(),
            [true, true, false, false]
        );
        assert_eq!(seen.orders[1].waits_for, Some("inventory"));
        assert_eq!(seen.stuck, 2);
        assert_eq!(seen.stuck_at, BTreeMap::from([("inventory", 1), ("payment", 1)]));
        let of = |step: &str| {
            seen.steps
                .iter()
                .find(|at| at.step == step)
                .map(|at| (at.orders, at.stuck))
        };
        assert_eq!(of("created"), Some((2, 1)));
        assert_eq!(of("charged"), Some((1, 1)));
        assert_eq!(of("opened"), Some((1, 0)));

        assert_eq!(
            ids(&view.overview(at(20), Some(Step::Created)).orders),
            ["stuck-first", "fresh"]
        );
        assert_eq!(
            ids(&view.overview(at(2), None).orders),
            ["waits-for-customer", "stuck-later", "stuck-first", "fresh"]
        );
    }

    #[test]
    fn an_effect_may_be_heard_before_its_cause() {
        let mut backwards = View::bounded(SMALL);
        for (second, name) in (0..).zip(HAPPY).collect::<Vec<_>>().into_iter().rev() {
            backwards.hear(&event("a", name), at(second));
        }
        let seen = backwards.overview(at(10), None);
        assert_eq!((seen.in_flight, seen.completed), (0, 1));
        assert_eq!(seen.ended[0].first, 0);
    }

    #[test]
    fn what_is_to_be_undone_keeps_a_cancelled_order_in_flight() {
        let mut log = vec![
            (0, "a", Created::NAME),
            (1, "a", Charged::NAME),
            (1, "a", Reserved::NAME),
        ];
        log.extend([
            (2, "a", CancelPayment::NAME),
            (2, "a", Refunded::NAME),
            (2, "a", CancelOrder::NAME),
        ]);
        log.push((3, "a", OrderCancelled::NAME));
        let mut view = view(&log);
        let seen = view.overview(at(4), None);
        assert_eq!((seen.in_flight, seen.cancelled), (1, 0));
        assert_eq!(
            (seen.orders[0].step, seen.orders[0].waits_for),
            ("undoing", Some("inventory"))
        );
        view.hear(&event("a", Released::NAME), at(4));
        let seen = view.overview(at(4), None);
        assert_eq!((seen.in_flight, seen.cancelled), (0, 1));
        assert_eq!(
            seen.ended[0].reason.as_deref(),
            Some("because of cancel-payment"),
            "the first reason is the cause"
        );
    }

    #[test]
    fn it_keeps_no_more_than_it_may_and_counts_what_it_forgets() {
        let mut view = View::bounded(Limits {
            counted: 3,
            detailed: 3,
            ended: 2,
        });
        for number in 0..5 {
            for name in HAPPY {
                view.hear(&event(&format!("done-{number}"), name), at(number));
            }
        }
        let seen = view.overview(at(10), None);
        assert_eq!(seen.completed, 5, "all are counted");
        assert_eq!(ids(&seen.ended), ["done-4", "done-3"], "the last two are kept");
        for number in 0..5 {
            view.hear(&event(&format!("new-{number}"), Created::NAME), at(20 + number));
        }
        let seen = view.overview(at(26), None);
        assert_eq!((seen.in_flight, seen.uncounted), (3, 2));
        for name in HAPPY {
            view.hear(&event("new-0", name), at(30));
        }
        view.hear(&event("new-4", Charged::NAME), at(31));
        assert_eq!(view.overview(at(31), None).in_flight, 3, "there was room again");
        assert_eq!(view.orders.len(), 5);
        assert_eq!(view.due.len() + view.ended.len(), 5);
    }

    #[test]
    fn stuck_orders_are_counted_and_listed_however_many_are_open() {
        let mut view = View::bounded(Limits { detailed: 3, ..SMALL });
        for number in 0..50 {
            for name in [Created::NAME, Opened::NAME] {
                view.hear(&event(&format!("open-{number}"), name), at(number));
            }
        }
        for number in 0..5 {
            view.hear(&event(&format!("stuck-{number}"), Created::NAME), at(60 + number));
        }
        let seen = view.overview(at(100), None);
        assert_eq!((seen.in_flight, seen.stuck, seen.uncounted), (55, 5, 0));
        assert_eq!(ids(&seen.orders)[..2], ["stuck-0", "stuck-1"]);
        let detailed = |seen: &Overview| seen.orders.iter().filter(|row| row.sum.is_some()).count();
        assert_eq!(detailed(&seen), 3);
        assert_eq!(serde_json::to_value(&seen.orders[0]).unwrap()["stuck"], true);
        // An order that ends has its details, and leaves room for those of another one.
        for name in HAPPY {
            view.hear(&event("open-0", name), at(100));
            view.hear(&event("stuck-0", name), at(100));
        }
        let seen = view.overview(at(100), None);
        assert!(seen.ended.iter().all(|row| row.sum.is_some()));
        view.hear(&event("open-1", Opened::NAME), at(101));
        view.hear(&event("open-9", Opened::NAME), at(101));
        let seen = view.overview(at(101), None);
        assert_eq!((seen.in_flight, seen.stuck, detailed(&seen)), (53, 4, 3));
        assert_eq!(view.detailed, 3);
    }

    #[test]
    fn an_order_that_the_log_has_forgotten_is_learned_from_its_bucket() {
        let mut view = View::bounded(SMALL);
        for name in [Created::NAME, Charged::NAME] {
            view.learn(&event("a", name), at(1));
        }
        let seen = view.overview(at(20), None);
        assert_eq!((seen.in_flight, seen.stuck), (1, 1));
        assert_eq!(seen.said.iter().sum::<u64>(), 0, "only the log is counted");
        // What is in both changes nothing; what comes later does.
        view.hear(&event("a", Charged::NAME), at(1));
        assert_eq!(view.overview(at(20), None).orders, seen.orders);
        for name in &HAPPY[2..] {
            view.hear(&event("a", name), at(21));
        }
        let seen = view.overview(at(30), None);
        assert_eq!((seen.in_flight, seen.stuck, seen.completed), (0, 0, 1));
    }

    #[test]
    fn orders_are_found_by_how_their_id_or_their_customer_begins() {
        let view = view(&[
            (0, "aa1", Created::NAME),
            (1, "aa2", Created::NAME),
            (2, "b", Created::NAME),
        ]);
        assert_eq!(ids(&view.find("aa", at(9))), ["aa2", "aa1"]);
        assert_eq!(ids(&view.find("AA1", at(9))), ["aa1"]);
        assert_eq!(ids(&view.find("customer-of-b", at(9))), ["b"]);
        assert!(view.find("nobody", at(9)).is_empty() && view.find("aa1-and-more", at(9)).is_empty());
        assert!(view.find("ä", at(9)).is_empty());
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let view = view(&[
            (10, "a", Created::NAME),
            (11, "b", Created::NAME),
            (12, "c", Created::NAME),
        ]);
        assert!((view.overview(at(13), None).per_second - 0.6).abs() < 1e-9);
        assert!(view.overview(at(60), None).per_second.abs() < 1e-9);
    }
}
