//! The audit: reads all buckets and the EVENTS log, and checks what must always hold.
//!
//! The order bucket is the truth about which orders there are. What a bucket or the log has let go by its age is not
//! missed: the audit then says from when on it has checked. Reading order: [`audit`], [`Snapshot`], then the checks,
//! one small function an invariant.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Display;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;
use quadrille_events::{
    Approval, CourierId, DeliveryEvent, Event, EventName, ItemId, Money, Order, OrderEvent, OrderId,
    PaymentEvent, PaymentMode,
};
use quadrille_runtime::nats::{StoredEvent, StoredEventError};
use quadrille_runtime::operator::{EVENTS, Entry, Operator};
use serde::Deserialize;

use quadrille_runtime::operator::story::Ending;

/// How long the audit waits for the services and the log to come to rest, if nobody says otherwise: three times
/// `ACK_WAIT`, after which a lost acknowledgement has long been made up for.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How long reading everything may take, and for each message besides; it takes a tenth of that.
const READ_TIMEOUT: Duration = Duration::from_secs(300);
const READ_TIME: Duration = Duration::from_micros(100);
/// The pause between two looks at a system that is still busy.
const PAUSE: Duration = Duration::from_millis(50);
/// How long after its deadline a payment may still be open: the broker's timer, and a service that is being restarted.
const EXPIRY_GRACE: Duration = Duration::from_secs(10);
/// How long a cluster may go on checking commits without what its own timer has proposed: until a replica has applied it,
/// an election included.
const UNAPPLIED: Duration = Duration::from_secs(10);
/// Where a stream has lost its start, orders this close to what is left are not checked: part of theirs may be gone.
const HORIZON: Duration = Duration::from_secs(60);

/// What the audit found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Orders that were placed.
    pub orders: usize,
    /// Events that were said about them.
    pub events: usize,
    /// How many orders ended how.
    pub endings: BTreeMap<Ending, usize>,
    /// Orders that wait for a person, and for what. Not a violation: it is theirs to end them.
    pub waiting: BTreeMap<OrderId, String>,
    /// What should never be.
    pub violations: Vec<Violation>,
    /// What a reader of this report should know.
    pub notes: Vec<String>,
}

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What should always be.
    pub invariant: &'static str,
    /// What is, in a sentence that names the order, item or courier.
    pub sentence: String,
}

/// What the payment provider's own books say, by order.
pub type Books = BTreeMap<OrderId, Account>;

/// What the provider did for one order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The amounts it took.
    pub charges: Vec<Money>,
    /// The amounts it gave back.
    pub refunds: Vec<Money>,
}

/// Checks every invariant on the system behind `operator`, and the provider's books if there are any.
///
/// Waits at most `patience` until nothing is on its way any more. What is then still on its way is judged as it is.
///
/// # Errors
/// The streams are not there or cannot be read. What is wrong with them is not an error but a [`Violation`].
pub async fn audit(operator: &Operator, books: Option<&Books>, patience: Duration) -> Result<Report> {
    let (snapshot, notes) = come_to_rest(operator, patience).await?;
    Ok(judge(&snapshot, books, notes))
}

/// Waits until nobody is behind and nothing moves while it is read.
async fn come_to_rest(operator: &Operator, patience: Duration) -> Result<(Snapshot, Vec<String>)> {
    let deadline = Instant::now() + patience;
    loop {
        let behind = behind(operator).await?;
        let impatient = Instant::now() >= deadline;
        if behind.is_empty() || impatient {
            let before = last_sequences(operator).await?;
            let stored: u64 = before.iter().sum();
            let timeout = READ_TIMEOUT + READ_TIME * u32::try_from(stored).unwrap_or(u32::MAX);
            let read = tokio::time::timeout(timeout, Snapshot::read(operator));
            let snapshot = read
                .await
                .with_context(|| format!("the streams were not read within {timeout:?}"))??;
            let at_rest = before == last_sequences(operator).await?;
            if impatient {
                let mut notes = behind;
                if !at_rest {
                    notes.push(
                        "events kept coming while they were read: audit again when it is quiet".to_owned(),
                    );
                }
                return Ok((snapshot, notes));
            }
            if at_rest && snapshot.log_has_everything() {
                return Ok((snapshot, Vec::new()));
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn behind(operator: &Operator) -> Result<Vec<String>> {
    let lags = operator.lags().await?.into_iter();
    Ok(lags
        .filter(|lag| lag.pending > 0 || lag.unacknowledged > 0)
        .map(|lag| {
            let (listener, speaker) = (&lag.listener, lag.speaker);
            format!(
                "{listener} has yet to handle {} events of {speaker}",
                lag.pending + lag.unacknowledged as u64
            )
        })
        .collect())
}

async fn last_sequences(operator: &Operator) -> Result<Vec<u64>> {
    let mut sequences = Vec::new();
    for stream in Event::SERVICES.into_iter().chain([EVENTS]) {
        sequences.push(operator.size(stream).await?.last_sequence);
    }
    Ok(sequences)
}

/// Everything that is stored, as far as the checks look at it.
struct Snapshot {
    taken_at: Timestamp,
    /// Whether the buckets have several replicas.
    is_replicated: bool,
    files: BTreeMap<OrderId, File>,
    /// By item: put in, and set aside.
    stock: BTreeMap<ItemId, Ledger>,
    /// By courier: capacity and load.
    couriers: BTreeMap<CourierId, Ledger>,
    /// How many records there are of which it is not known what they should add up to, by the filter that finds them.
    unknown: BTreeMap<String, usize>,
    unreadable: Vec<Unreadable>,
    /// Dead letters, by the stream and sequence that they came from.
    parked: HashSet<(String, u64)>,
    /// In the log and in no bucket.
    strays: Vec<Stray>,
    /// If the order bucket has lost its start: orders placed before this are not checked.
    orders_since: Option<Timestamp>,
    /// If the log has lost its start: orders that it holds from before this are not compared.
    log_since: Option<Timestamp>,
}

/// All that is stored about one order.
struct File {
    order: Arc<Order>,
    said: BTreeMap<(&'static str, &'static str), Said>,
    /// The ids of its dead letters.
    parked: Vec<String>,
    /// Whether the buckets have several replicas.
    is_replicated: bool,
}

/// One event in a bucket.
struct Said {
    name: &'static EventName,
    at: Timestamp,
    sequence: u64,
    cause: String,
    /// Of its body, to compare with the log's.
    digest: u64,
    /// Whether it carries the order as it was placed.
    carries_the_order: bool,
    courier: Option<CourierId>,
    expires_at: Option<Timestamp>,
    /// Where and when the log has it.
    logged: Vec<Logged>,
}

struct Logged {
    at: Timestamp,
    digest: u64,
}

struct Ledger {
    limit: u64,
    used: u64,
}

struct Unreadable {
    stream: String,
    sequence: u64,
    subject: String,
    digest: u64,
    problem: String,
}

struct Stray {
    sequence: u64,
    subject: String,
    digest: u64,
    order_id: Option<OrderId>,
}

impl Snapshot {
    async fn read(operator: &Operator) -> Result<Self> {
        let mut snapshot = Self {
            taken_at: Timestamp::now(),
            is_replicated: operator.replicas("payment").await? > 1,
            files: BTreeMap::new(),
            stock: BTreeMap::new(),
            couriers: BTreeMap::new(),
            unknown: BTreeMap::new(),
            unreadable: Vec::new(),
            parked: HashSet::new(),
            strays: Vec::new(),
            orders_since: None,
            log_since: None,
        };
        for service in Event::SERVICES {
            let mut start = Start::default();
            operator
                .read_bucket(service, |entry| {
                    let is_event = snapshot.see(service, &entry);
                    start.see(&entry, is_event);
                })
                .await?;
            if service == "order" {
                let last = operator.size(service).await?.last_sequence;
                snapshot.orders_since = start.since(last, snapshot.taken_at);
            }
        }
        let mut start = Start::default();
        operator
            .read_log(|entry| {
                snapshot.see_logged(&entry);
                start.see(&entry, true);
            })
            .await?;
        let last = operator.size(EVENTS).await?.last_sequence;
        snapshot.log_since = start.since(last, snapshot.taken_at);
        Ok(snapshot)
    }

    /// Files one message of a bucket; says whether it is an event.
    fn see(&mut self, service: &'static str, entry: &Entry) -> bool {
        let tokens: Vec<&str> = entry.subject.split('.').skip(2).collect();
        let outcome = match tokens.as_slice() {
            [token, _] => {
                let read = self.see_event(service, token, entry);
                if let Err(problem) = read {
                    self.unreadable.push(Unreadable {
                        stream: format!("KV_{service}"),
                        sequence: entry.sequence,
                        subject: entry.subject.clone(),
                        digest: digest(&entry.body),
                        problem,
                    });
                }
                return true;
            }
            _ if entry.is_deleted() => Ok(()),
            ["stock", "item", item] => ledger::<Stock, _>(entry, item, &mut self.stock),
            ["courier", "load", courier] => ledger::<Load, _>(entry, courier, &mut self.couriers),
            ["dead-letter", stream, sequence, order_id] => {
                if let Ok(sequence) = sequence.parse() {
                    self.parked.insert(((*stream).to_owned(), sequence));
                }
                if let Some(file) = order_id
                    .parse()
                    .ok()
                    .and_then(|id: OrderId| self.files.get_mut(&id))
                {
                    file.parked.push(format!("{stream}.{sequence}.{order_id}"));
                }
                Ok(())
            }
            ["schedule", ..] => Ok(()),
            // The ledger of a service that is not known here, or whatever an operator keeps.
            _ => {
                let (_, kind) = tokens.split_last().unwrap_or((&"", &[]));
                let kind = format!("$KV.{service}.{}.*", kind.join("."));
                *self.unknown.entry(kind).or_default() += 1;
                Ok(())
            }
        };
        if let Err(problem) = outcome {
            self.unreadable.push(Unreadable {
                stream: format!("KV_{service}"),
                sequence: entry.sequence,
                subject: entry.subject.clone(),
                digest: digest(&entry.body),
                problem,
            });
        }
        false
    }

    fn see_event(&mut self, service: &'static str, token: &str, entry: &Entry) -> Result<(), String> {
        let stored = match StoredEvent::in_bucket(Event::CONTRACT, entry) {
            Ok(stored) => stored,
            Err(StoredEventError::NotAnEvent(_)) => return Err(format!("{service} has no event `{token}`")),
            Err(StoredEventError::Unreadable(problem)) => return Err(problem),
        };
        let event = stored.event().map_err(|problem| problem.to_string())?;
        let (Some(order), Some(order_id)) = (event.order(), stored.about.order_id()) else {
            return Ok(());
        };
        let name = stored.name;
        let file = self.files.entry(order_id).or_insert_with(|| File {
            order: Arc::clone(order),
            said: BTreeMap::new(),
            parked: Vec::new(),
            is_replicated: self.is_replicated,
        });
        let said = Said {
            name,
            at: entry.time,
            sequence: entry.sequence,
            cause: stored.envelope.causation_id.clone(),
            digest: digest(&entry.body),
            carries_the_order: *order == file.order,
            courier: courier_of(&event),
            expires_at: expires_at(&event),
            logged: Vec::new(),
        };
        file.said.insert((service, name.entry), said);
        Ok(())
    }

    fn see_logged(&mut self, entry: &Entry) {
        let header = |name: &str| entry.headers.get(name).map(|value| value.as_str());
        let order_id: Option<OrderId> = entry.subject.rsplit('.').next().and_then(|id| id.parse().ok());
        let name = Event::names().find(|name| {
            Some(name.service) == header("ce-source")
                && entry
                    .subject
                    .strip_prefix(name.subject)
                    .is_some_and(|rest| rest.starts_with('.'))
        });
        let said = name.zip(order_id.as_ref()).and_then(|(name, order_id)| {
            self.files
                .get_mut(order_id)?
                .said
                .get_mut(&(name.service, name.entry))
        });
        let digest = digest(&entry.body);
        match said {
            Some(said) => said.logged.push(Logged {
                at: entry.time,
                digest,
            }),
            None => self.strays.push(Stray {
                sequence: entry.sequence,
                subject: entry.subject.clone(),
                digest,
                order_id,
            }),
        }
    }

    /// Whether the log has every event that it should: it is sourced a moment after the commit.
    fn log_has_everything(&self) -> bool {
        let missing =
            |file: &File| self.compares(file) && file.said.values().any(|said| said.logged.is_empty());
        !self.files.values().any(missing)
    }

    /// The orders that are checked.
    fn checked(&self) -> impl Iterator<Item = &File> {
        self.files.values().filter(|file| self.checks(file))
    }

    /// Whether all that was ever said of this order must still be there.
    fn checks(&self, file: &File) -> bool {
        let since = self.orders_since.unwrap_or(Timestamp::MIN);
        file.get("order", "created")
            .is_some_and(|created| created.at >= since)
    }

    /// Whether the log must have all that was ever said of this order.
    fn compares(&self, file: &File) -> bool {
        let is_recent = |since: Timestamp| {
            let created = file
                .get("order", "created")
                .and_then(|created| created.logged.first());
            created.is_some_and(|logged| logged.at >= since)
        };
        self.checks(file) && self.log_since.is_none_or(is_recent)
    }
}

/// Finds out whether a stream still has its first events.
#[derive(Default)]
struct Start {
    before: u64,
    first: Option<(u64, Timestamp)>,
}

impl Start {
    fn see(&mut self, entry: &Entry, is_event: bool) {
        match self.first {
            Some(_) => {}
            None if is_event => self.first = Some((entry.sequence, entry.time)),
            None => self.before += 1,
        }
    }

    /// Events are stored once and never moved, so a gap before the first one means that others have gone.
    fn since(&self, last_sequence: u64, now: Timestamp) -> Option<Timestamp> {
        let (sequence, time) = self.first.unwrap_or((last_sequence + 1, now));
        let lost = sequence > self.before + 1;
        lost.then(|| time.checked_add(HORIZON).unwrap_or(Timestamp::MAX))
    }
}

impl File {
    fn get(&self, service: &'static str, entry: &'static str) -> Option<&Said> {
        self.said.get(&(service, entry))
    }

    fn said(&self, service: &'static str, entry: &'static str) -> bool {
        self.get(service, entry).is_some()
    }

    fn ending(&self) -> Option<Ending> {
        Ending::of(|service, entry| self.said.keys().any(|said| *said == (service, entry)))
    }

    fn is_completed(&self) -> bool {
        self.said("order", "completed")
    }

    fn is_cancelled(&self) -> bool {
        self.said("order", "cancelled")
    }

    fn holds_stock(&self) -> bool {
        self.said("inventory", "reserved") && !self.said("inventory", "released")
    }

    fn courier(&self) -> Option<&CourierId> {
        let assigned = self.get("delivery", "assigned")?;
        if self.said("delivery", "cancelled") {
            None
        } else {
            assigned.courier.as_ref()
        }
    }

    /// Whether the broker's timer fired although the payment was decided already: the schedule was being published when
    /// it was purged. The decision stands.
    ///
    /// With several replicas nats-server 2.15.1 does not check a commit against what its own timer has proposed and no
    /// replica has applied yet; so the entry may then stand directly before a charge or a refusal as well, of the same
    /// moment.
    fn expired_in_vain(&self) -> bool {
        let decided = ["charged", "failed", "cancelled"]
            .iter()
            .filter_map(|entry| self.get("payment", entry))
            .min_by_key(|said| said.sequence);
        let (Some(decided), Some(expired)) = (decided, self.get("payment", "expired")) else {
            return false;
        };
        if decided.sequence < expired.sequence {
            return true;
        }
        let between = expired.sequence + 1..decided.sequence;
        let is_next = !self
            .said
            .values()
            .any(|said| said.name.service == "payment" && between.contains(&said.sequence));
        let is_of_the_moment = decided.at <= expired.at.checked_add(UNAPPLIED).unwrap_or(Timestamp::MAX);
        let is_settled = decided.name.entry != "cancelled";
        self.is_replicated && is_settled && is_next && is_of_the_moment
    }

    /// What a person has to do for it to go on.
    fn waits_for(&self, now: Timestamp) -> Option<String> {
        let going_on = self.is_completed() || self.is_cancelled() || self.said("order", "cancel-payment");
        if going_on {
            return None;
        }
        if self.said("order", "awaiting-approval") && !self.said("order", "create-delivery") {
            return Some("the shop owner to approve it".to_owned());
        }
        let decided = ["charged", "failed", "cancelled", "expired"]
            .iter()
            .any(|e| self.said("payment", e));
        let until = self.get("payment", "opened")?.expires_at?;
        let overdue = now > until.checked_add(EXPIRY_GRACE).unwrap_or(Timestamp::MAX);
        (!decided && !overdue).then(|| format!("the customer to pay, until {until}"))
    }

    /// `order.created, payment.charged`, as stored.
    fn so_far(&self) -> String {
        let mut said: Vec<_> = self.said.values().collect();
        said.sort_by_key(|said| (said.at, said.name.service, said.sequence));
        said.iter()
            .map(|said| said.name.subject)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

#[derive(Deserialize)]
struct Stock {
    quantity: u64,
    reserved: u64,
}

#[derive(Deserialize)]
struct Load {
    capacity: u64,
    load: u64,
}

impl From<Stock> for Ledger {
    fn from(stock: Stock) -> Self {
        Self {
            limit: stock.quantity,
            used: stock.reserved,
        }
    }
}

impl From<Load> for Ledger {
    fn from(load: Load) -> Self {
        Self {
            limit: load.capacity,
            used: load.load,
        }
    }
}

fn ledger<'a, R, K>(entry: &'a Entry, key: &str, ledgers: &mut BTreeMap<K, Ledger>) -> Result<(), String>
where
    R: Deserialize<'a> + Into<Ledger>,
    K: std::str::FromStr<Err: Display> + Ord,
{
    let key = key.parse().map_err(|problem| format!("`{key}` {problem}"))?;
    let record: R = serde_json::from_slice(&entry.body).map_err(|problem| problem.to_string())?;
    ledgers.insert(key, record.into());
    Ok(())
}

fn courier_of(event: &Event) -> Option<CourierId> {
    if let Event::Delivery(DeliveryEvent::Assigned(assigned)) = event {
        Some(assigned.courier_id.clone())
    } else if let Event::Delivery(DeliveryEvent::Cancelled(cancelled)) = event {
        cancelled.courier_id.clone()
    } else if let Event::Order(OrderEvent::Completed(completed)) = event {
        Some(completed.courier_id.clone())
    } else {
        None
    }
}

fn expires_at(event: &Event) -> Option<Timestamp> {
    let Event::Payment(PaymentEvent::Opened(opened)) = event else {
        return None;
    };
    Some(opened.expires_at)
}

fn digest(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}

/// What is wrong, each a sentence.
type Found = Vec<String>;

/// An invariant, and what finds out whether it holds.
type Check<T> = (&'static str, fn(&T) -> Found);

/// What must hold of each order. The numbers are those of the design's section 7.
const OF_EACH_ORDER: [Check<File>; 5] = [
    (
        "2: a completed order is charged, reserved and on its way, once",
        completed_orders_are_whole,
    ),
    (
        "3: a cancelled order has everything undone",
        cancelled_orders_are_undone,
    ),
    (
        "a service says only what it can decide",
        services_say_what_they_can,
    ),
    ("every event carries the order as placed", events_carry_the_order),
    ("every event has its cause", events_have_their_cause),
];

/// What must hold of all together.
const OF_ALL: [Check<Snapshot>; 6] = [
    ("1: every order ends completed or cancelled", every_order_ends),
    ("4: stock adds up", stock_adds_up),
    ("4: couriers' load adds up", loads_add_up),
    (
        "5, 6: no event twice, and the log is what the buckets say",
        the_log_agrees,
    ),
    (
        "every event is about an order that was placed",
        orders_were_placed,
    ),
    ("what cannot be read is parked", the_unreadable_is_parked),
];

const BOOKS: &str = "5: the provider charged once, and holds nothing of a cancelled order";

fn judge(snapshot: &Snapshot, books: Option<&Books>, mut notes: Vec<String>) -> Report {
    let mut report = Report::default();
    for file in snapshot.checked() {
        report.orders += 1;
        report.events += file.said.len();
        if let Some(ending) = file.ending() {
            *report.endings.entry(ending).or_default() += 1;
        } else if let Some(what) = file.waits_for(snapshot.taken_at) {
            report.waiting.insert(file.order.order_id.clone(), what);
        }
        for (invariant, check) in OF_EACH_ORDER {
            let order_id = &file.order.order_id;
            let found = check(file)
                .into_iter()
                .map(|what| format!("order {order_id} {what}"));
            report
                .violations
                .extend(found.map(|sentence| Violation { invariant, sentence }));
        }
    }
    for (invariant, check) in OF_ALL {
        let found = check(snapshot).into_iter();
        report
            .violations
            .extend(found.map(|sentence| Violation { invariant, sentence }));
    }
    if let Some(books) = books {
        let found = the_books_agree(snapshot, books).into_iter();
        report.violations.extend(found.map(|sentence| Violation {
            invariant: BOOKS,
            sentence,
        }));
    }
    let in_vain = snapshot.checked().filter(|file| file.expired_in_vain()).count();
    if in_vain > 0 {
        notes.push(format!(
            "{in_vain} payments expired when they were decided already, or at that moment; the decisions stand"
        ));
    }
    for (kind, records) in &snapshot.unknown {
        notes.push(format!(
            "{records} records {kind} are not checked: what they add up to, tools/audit does not know"
        ));
    }
    if let Some(since) = snapshot.orders_since {
        notes.push(format!(
            "the first entries of the order bucket have gone: only orders from {since} on are checked"
        ));
    }
    if let Some(since) = snapshot.log_since {
        notes.push(format!(
            "the log has lost its start: only orders from {since} on are compared with it"
        ));
    }
    if !snapshot.parked.is_empty() {
        notes.push(format!(
            "{} inputs are parked as dead letters (just dead-letters)",
            snapshot.parked.len()
        ));
    }
    report.notes = notes;
    report
}

fn every_order_ends(snapshot: &Snapshot) -> Found {
    let hangs = |file: &&File| file.ending().is_none() && file.waits_for(snapshot.taken_at).is_none();
    let sentence = |file: &File| {
        let parked = match file.parked.as_slice() {
            [] => String::new(),
            letters => format!(" (parked: {})", letters.join(", ")),
        };
        format!(
            "order {} has not ended; said so far: {}{parked}",
            file.order.order_id,
            file.so_far()
        )
    };
    snapshot.checked().filter(hangs).map(sentence).collect()
}

fn completed_orders_are_whole(file: &File) -> Found {
    if !file.is_completed() {
        return Found::new();
    }
    let must = [
        ("payment", "charged", "was not charged"),
        ("inventory", "reserved", "was not reserved"),
        ("delivery", "assigned", "has no courier"),
    ];
    let must_not = [
        ("order", "cancelled", "is cancelled too"),
        ("payment", "failed", "was declined"),
        ("payment", "cancelled", "has a cancelled payment"),
        ("payment", "refunded", "was refunded"),
        ("inventory", "released", "has had its lines released"),
        ("inventory", "reservation-failed", "could not be reserved"),
        ("delivery", "cancelled", "has had its courier called back"),
        ("delivery", "cancel-payment", "found no courier"),
    ];
    let missing = must
        .iter()
        .filter(|(service, entry, _)| !file.said(service, entry));
    let excess = must_not
        .iter()
        .filter(|(service, entry, _)| file.said(service, entry));
    let mut found: Found = missing
        .chain(excess)
        .map(|(_, _, what)| format!("is completed and {what}"))
        .collect();
    let (told, sent) = (file.get("order", "completed"), file.get("delivery", "assigned"));
    if let (Some(told), Some(sent)) = (told, sent)
        && told.courier != sent.courier
    {
        found.push("is completed with another courier than was assigned".to_owned());
    }
    found
}

fn cancelled_orders_are_undone(file: &File) -> Found {
    if !file.is_cancelled() {
        return Found::new();
    }
    let undone_by = [
        (
            ("payment", "charged"),
            ("payment", "refunded"),
            "was charged and not refunded",
        ),
        (
            ("inventory", "reserved"),
            ("inventory", "released"),
            "was reserved and not released",
        ),
        (
            ("delivery", "assigned"),
            ("delivery", "cancelled"),
            "still has a courier on the way",
        ),
    ];
    let done = |(service, entry): &(&'static str, &'static str)| file.said(service, entry);
    let left = undone_by
        .iter()
        .filter(|(deed, undoing, _)| done(deed) && !done(undoing));
    left.map(|(_, _, what)| format!("is cancelled and {what}"))
        .collect()
}

/// What each service can have said of one order at any moment, after its `decide.rs`.
fn services_say_what_they_can(file: &File) -> Found {
    const INVENTORY: &[&[&str]] = &[
        &[],
        &["reserved"],
        &["released", "reserved"],
        &["reservation-failed"],
    ];
    const DELIVERY: &[&[&str]] = &[
        &[],
        &["assigned"],
        &["assigned", "cancelled"],
        &["cancel-payment"],
        &["cancelled"],
    ];
    const PAYMENT_AUTO: &[&[&str]] = &[
        &[],
        &["charged"],
        &["cancel-order", "charged", "refunded"],
        &["cancel-order", "failed"],
        &["cancel-order", "cancelled"],
    ];
    const PAYMENT_MANUAL: &[&[&str]] = &[
        &[],
        &["opened"],
        &["charged", "opened"],
        &["cancel-order", "charged", "opened", "refunded"],
        &["cancel-order", "failed", "opened"],
        &["cancel-order", "cancelled", "opened"],
        &["expired", "opened"],
        &["cancel-order", "cancelled", "expired", "opened"],
        &["cancel-order", "cancelled"],
    ];
    const ORDER_AUTO: &[&[&str]] = &[
        &["created"],
        &["create-delivery", "created"],
        &["completed", "create-delivery", "created"],
        &["cancel-payment", "created"],
        &["cancel-payment", "create-delivery", "created"],
        &["cancelled", "created"],
        &["cancelled", "create-delivery", "created"],
        &["cancel-payment", "cancelled", "created"],
        &["cancel-payment", "cancelled", "create-delivery", "created"],
    ];
    let of = |service: &'static str| -> BTreeSet<&'static str> {
        file.said
            .keys()
            .filter(|(by, _)| *by == service)
            .map(|(_, entry)| *entry)
            .collect()
    };
    let mut order = of("order");
    let awaited = order.remove("awaiting-approval");
    let mut payment = of("payment");
    if file.expired_in_vain() {
        payment.remove("expired");
    }
    let payment_can = match file.order.payment {
        PaymentMode::Auto => PAYMENT_AUTO,
        PaymentMode::Manual => PAYMENT_MANUAL,
    };
    let said_by = [
        ("order", order, ORDER_AUTO),
        ("payment", payment, payment_can),
        ("inventory", of("inventory"), INVENTORY),
        ("delivery", of("delivery"), DELIVERY),
    ];
    let mut found: Found = said_by
        .iter()
        .filter(|(_, said, can)| !can.iter().any(|set| said.iter().eq(set.iter())))
        .map(|(service, said, _)| {
            format!("has a set of entries that {service} cannot have decided: {said:?}")
        })
        .collect();
    match file.order.approval {
        Approval::Auto if awaited => found.push("awaited an approval that it does not need".to_owned()),
        Approval::Manual if file.said("order", "create-delivery") && !awaited => {
            found.push("was confirmed before it awaited approval".to_owned());
        }
        Approval::Auto | Approval::Manual => {}
    }
    found
}

fn events_carry_the_order(file: &File) -> Found {
    let others = file.said.values().filter(|said| !said.carries_the_order);
    others
        .map(|said| format!("is another one in {} than when it was placed", said.name))
        .collect()
}

fn events_have_their_cause(file: &File) -> Found {
    let causes: HashSet<String> = file
        .said
        .values()
        .map(|said| format!("{}/{}", said.name.service, said.name.id(&file.order.order_id)))
        .collect();
    let orphans = file
        .said
        .values()
        .filter(|said| !said.cause.starts_with("http/") && !causes.contains(&said.cause));
    orphans
        .map(|said| format!("has {} because of {}, which nobody said", said.name, said.cause))
        .collect()
}

fn stock_adds_up(snapshot: &Snapshot) -> Found {
    let mut held: BTreeMap<&ItemId, u64> = BTreeMap::new();
    for file in snapshot.files.values().filter(|file| file.holds_stock()) {
        for line in &file.order.lines {
            *held.entry(&line.item_id).or_default() += u64::from(line.quantity);
        }
    }
    adds_up(snapshot, "item", &snapshot.stock, &held)
}

fn loads_add_up(snapshot: &Snapshot) -> Found {
    let mut held: BTreeMap<&CourierId, u64> = BTreeMap::new();
    for courier in snapshot.files.values().filter_map(File::courier) {
        *held.entry(courier).or_default() += 1;
    }
    adds_up(snapshot, "courier", &snapshot.couriers, &held)
}

/// Whether each ledger is within its limit, and used by exactly what the orders hold. What orders hold whose entries
/// have gone is still used, so then it may be more.
fn adds_up<K: Ord + Display>(
    snapshot: &Snapshot,
    what: &str,
    ledgers: &BTreeMap<K, Ledger>,
    held: &BTreeMap<&K, u64>,
) -> Found {
    let mut found = Found::new();
    for (key, Ledger { limit, used }) in ledgers {
        let held = held.get(key).copied().unwrap_or_default();
        if used > limit {
            found.push(format!(
                "{what} {key} is used {used} times, and there are only {limit}"
            ));
        }
        let agrees = if snapshot.orders_since.is_some() {
            *used >= held
        } else {
            *used == held
        };
        if !agrees {
            found.push(format!(
                "{what} {key} is used {used} times by its ledger, and {held} times by the orders"
            ));
        }
    }
    let unknown = held.iter().filter(|(key, _)| !ledgers.contains_key(**key));
    found.extend(
        unknown.map(|(key, held)| format!("{what} {key} has no ledger, and orders use it {held} times")),
    );
    found
}

fn the_log_agrees(snapshot: &Snapshot) -> Found {
    let mut found = Found::new();
    for file in snapshot.files.values().filter(|file| snapshot.compares(file)) {
        let order_id = &file.order.order_id;
        for said in file.said.values() {
            match said.logged.as_slice() {
                [logged] if logged.digest == said.digest => {}
                [_] => found.push(format!(
                    "order {order_id} has another {} in the log than in its bucket",
                    said.name
                )),
                [] => found.push(format!(
                    "order {order_id} has {} in its bucket and not in the log",
                    said.name
                )),
                more => found.push(format!(
                    "order {order_id} has {} {} times in the log",
                    said.name,
                    more.len()
                )),
            }
        }
    }
    // Poison is in the log like everything else; so it is compared with the poison in the buckets.
    let unreadable: HashSet<(String, u64)> = snapshot
        .unreadable
        .iter()
        .filter_map(|entry| Some((logged_as(&entry.subject)?, entry.digest)))
        .collect();
    for stray in &snapshot.strays {
        let is_old = stray
            .order_id
            .as_ref()
            .is_none_or(|id| !snapshot.files.contains_key(id))
            && snapshot.orders_since.is_some();
        if !is_old && !unreadable.contains(&(stray.subject.clone(), stray.digest)) {
            found.push(format!(
                "{} (sequence {}) is in the log and in no bucket",
                stray.subject, stray.sequence
            ));
        }
    }
    found
}

/// `$KV.payment.charged.42` -> `payment.charged.42`
fn logged_as(stored_as: &str) -> Option<String> {
    let (filter, order_id) = stored_as.rsplit_once('.')?;
    let name = Event::names().find(|name| name.filter().strip_suffix(".*") == Some(filter))?;
    Some(format!("{}.{order_id}", name.subject))
}

fn orders_were_placed(snapshot: &Snapshot) -> Found {
    if snapshot.orders_since.is_some() {
        return Found::new();
    }
    let unplaced = snapshot
        .files
        .iter()
        .filter(|(_, file)| !file.said("order", "created"));
    unplaced
        .map(|(order_id, file)| format!("order {order_id} was never placed; said of it: {}", file.so_far()))
        .collect()
}

fn the_unreadable_is_parked(snapshot: &Snapshot) -> Found {
    let loose = snapshot
        .unreadable
        .iter()
        .filter(|entry| !snapshot.parked.contains(&(entry.stream.clone(), entry.sequence)));
    loose
        .map(|entry| {
            let Unreadable {
                subject,
                stream,
                sequence,
                problem,
                ..
            } = entry;
            format!(
                "{subject} ({stream}, sequence {sequence}) cannot be read, and is parked nowhere: {problem}"
            )
        })
        .collect()
}

fn the_books_agree(snapshot: &Snapshot, books: &Books) -> Found {
    let nothing = Account::default();
    let mut found = Found::new();
    for file in snapshot.checked() {
        let order_id = &file.order.order_id;
        let account = books.get(order_id).unwrap_or(&nothing);
        let (taken, back): (Money, Money) = (account.charges.iter().sum(), account.refunds.iter().sum());
        let mut say = |what: String| found.push(format!("order {order_id} {what}"));
        if account.charges.len() > 1 {
            say(format!(
                "was charged {} times at the provider",
                account.charges.len()
            ));
        }
        if account.refunds.len() > 1 {
            say(format!(
                "was refunded {} times at the provider",
                account.refunds.len()
            ));
        }
        if file.is_completed() && (taken, back) != (file.order.total, 0) {
            let total = file.order.total;
            say(format!(
                "is completed for {total}, and the provider took {taken} and gave back {back}"
            ));
        }
        if file.is_cancelled() && taken != back {
            say(format!(
                "is cancelled, and the provider took {taken} and gave back {back}"
            ));
        }
    }
    let unknown = books
        .keys()
        .filter(|order_id| !snapshot.files.contains_key(*order_id));
    found.extend(
        unknown.map(|order_id| format!("order {order_id} is in the provider's books, and was never placed")),
    );
    found
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// How many orders ended like this.
    pub fn ended(&self, ending: Ending) -> usize {
        self.endings.get(&ending).copied().unwrap_or_default()
    }
}

impl Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} [{}]", self.sentence, self.invariant)
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        /// Enough to see what is wrong; the rest is more of the same.
        const SHOWN: usize = 50;
        writeln!(f, "{} orders, {} events", self.orders, self.events)?;
        for (ending, count) in &self.endings {
            writeln!(f, "{count:>8}  {ending}")?;
        }
        let mut waits: HashMap<&str, usize> = HashMap::new();
        for what in self.waiting.values() {
            *waits
                .entry(what.split(',').next().unwrap_or_default())
                .or_default() += 1;
        }
        for (what, count) in waits.iter().collect::<BTreeMap<_, _>>() {
            writeln!(f, "{count:>8}  waiting for {what}")?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        if self.is_clean() {
            return f.write_str("all invariants hold");
        }
        let many = self.violations.len();
        write!(f, "{many} violation{}:", if many == 1 { "" } else { "s" })?;
        for violation in self.violations.iter().take(SHOWN) {
            write!(f, "\n  {violation}")?;
        }
        if many > SHOWN {
            write!(f, "\n  ... and {} more", many - SHOWN)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What payment has said of an order that is paid by hand, in this order and so many seconds after it began.
    fn file(is_replicated: bool, entries: &[(&'static str, i64)]) -> File {
        let order = Order {
            order_id: "a".parse().unwrap(),
            customer_id: "ada".parse().unwrap(),
            lines: Vec::new(),
            total: 250,
            currency: "EUR".parse().unwrap(),
            address: "1 Main St".to_owned(),
            payment: PaymentMode::Manual,
            approval: Approval::Auto,
        };
        let said = |(number, (entry, at)): (usize, &(&'static str, i64))| {
            let mut names = Event::names();
            let name = names.find(|name| name.service == "payment" && name.entry == *entry);
            let said = Said {
                name: name.unwrap(),
                at: Timestamp::from_second(*at).unwrap(),
                // The entries of other orders stand between.
                sequence: 10 * number as u64,
                cause: "http/confirm".to_owned(),
                digest: 0,
                carries_the_order: true,
                courier: None,
                expires_at: None,
                logged: Vec::new(),
            };
            (("payment", *entry), said)
        };
        let mut said: BTreeMap<_, _> = entries.iter().enumerate().map(said).collect();
        let created = Said {
            name: Event::names()
                .find(|name| name.subject == "order.created")
                .unwrap(),
            at: Timestamp::UNIX_EPOCH,
            sequence: 1,
            cause: "http/create".to_owned(),
            digest: 0,
            carries_the_order: true,
            courier: None,
            expires_at: None,
            logged: Vec::new(),
        };
        said.insert(("order", "created"), created);
        File {
            order: Arc::new(order),
            said,
            parked: Vec::new(),
            is_replicated,
        }
    }

    #[track_caller]
    fn is_excused(is_replicated: bool, entries: &[(&'static str, i64)]) -> bool {
        let file = file(is_replicated, entries);
        let found = services_say_what_they_can(&file);
        assert_eq!(found.is_empty(), file.expired_in_vain(), "{found:?}");
        found.is_empty()
    }

    #[test]
    fn a_deadline_behind_the_decision_is_in_vain_anywhere_and_whenever() {
        for is_replicated in [false, true] {
            for decision in ["charged", "failed"] {
                let entries: &[_] = match decision {
                    "charged" => &[("opened", 0), ("charged", 5), ("expired", 60)],
                    _ => &[("opened", 0), ("failed", 5), ("cancel-order", 5), ("expired", 60)],
                };
                assert!(is_excused(is_replicated, entries), "{decision}");
            }
        }
    }

    #[test]
    fn a_charge_behind_the_deadline_is_excused_in_a_cluster_and_of_the_same_moment_alone() {
        let charged_at = |at| [("opened", 0), ("expired", 60), ("charged", at)];
        assert!(is_excused(true, &charged_at(60)));
        assert!(is_excused(true, &charged_at(70)));
        assert!(!is_excused(true, &charged_at(71)), "far too late");
        assert!(
            !is_excused(false, &charged_at(60)),
            "one server sees its own entry"
        );
    }

    #[test]
    fn a_charge_of_what_the_deadline_has_cancelled_is_found() {
        let entries = [
            ("opened", 0),
            ("expired", 60),
            ("cancelled", 60),
            ("cancel-order", 60),
            ("charged", 60),
        ];
        assert!(!is_excused(true, &entries), "it was decided before");
        let entries = [("opened", 0), ("expired", 60), ("refunded", 60), ("charged", 60)];
        assert!(!is_excused(true, &entries), "something stands between");
    }
}
