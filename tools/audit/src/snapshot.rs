//! Everything that is stored, as far as the checks look at it, and how it is read.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use quadrille_events::{
    AggregateId, AggregateKind, Body, Contract, CourierId, Created, Event, EventName, ItemId, Lifetime,
    OrderId, PaymentEvent, Said,
};
use quadrille_runtime::nats::{StoredEvent, StoredEventError};
use quadrille_runtime::operator::{EVENTS, Entry, Operator, Size, body_digest};
use serde::Deserialize;

use crate::order_file::{FiledEvent, LoggedEvent, OrderFile, courier_of, expires_at};
use crate::photos::{ItemPhotos, file_photo, wrong_photos};
use crate::prices::{PriceHistories, file_price, is_about_items};
use crate::records::{CourierLoad, ItemStock, LedgerRecord, file_record};

/// Where a stream has lost its start, orders this close to what is left are not checked: part of theirs may be gone.
const HORIZON: Duration = Duration::from_secs(60);

/// Everything that is stored, as far as the checks look at it.
pub(crate) struct Snapshot {
    pub contract: Contract,
    pub taken_at: Timestamp,
    /// Whether the buckets have several replicas.
    is_replicated: bool,
    pub orders: BTreeMap<OrderId, OrderFile>,
    /// The events about something else than orders.
    pub others: BTreeMap<(&'static EventName, AggregateId), OtherEvent>,
    /// By item: how many were put in, and how many are set aside.
    pub stock: BTreeMap<ItemId, LedgerRecord>,
    /// By item: the prices that the shop has asked.
    pub prices: PriceHistories,
    photos: ItemPhotos,
    /// What is wrong with the stored photos, a sentence each.
    pub wrong_photos: Vec<String>,
    /// By courier: capacity and load.
    pub couriers: BTreeMap<CourierId, LedgerRecord>,
    /// How many records there are that the audit does not know how to add up, by the filter that finds them.
    pub unknown: BTreeMap<String, usize>,
    pub unreadable: Vec<UnreadableEntry>,
    /// The dead letters, by the stream and sequence of the input that was parked.
    pub parked: HashSet<(String, u64)>,
    /// The entries of the log that are in no bucket.
    pub strays: Vec<StrayEntry>,
    /// Set if the order bucket has lost its start: orders placed before this are not checked.
    pub orders_since: Option<Timestamp>,
    /// Set if the log has lost its start: orders that it holds from before this are not compared with it.
    pub log_since: Option<Timestamp>,
}

/// An event about something else than an order, as its bucket has it, and what the log has of it.
pub(crate) struct OtherEvent {
    pub digest: u64,
    pub logged: Vec<LoggedEvent>,
}

impl OtherEvent {
    /// Whether the log has it: the entry, if it is written once, else its newest version last.
    pub fn is_logged(&self, lifetime: Lifetime) -> bool {
        match (lifetime, self.logged.as_slice()) {
            (Lifetime::Once, [logged]) => logged.digest == self.digest,
            (Lifetime::Once, _) => false,
            (Lifetime::Latest, logged) => logged.last().is_some_and(|last| last.digest == self.digest),
        }
    }
}

/// An entry of a bucket that cannot be read.
pub(crate) struct UnreadableEntry {
    pub stream: String,
    pub sequence: u64,
    pub subject: String,
    pub digest: u64,
    pub problem: String,
}

/// An entry of the log that is in no bucket.
pub(crate) struct StrayEntry {
    pub sequence: u64,
    pub subject: String,
    pub digest: u64,
    pub order_id: Option<OrderId>,
}

impl Snapshot {
    pub async fn read(operator: &Operator) -> Result<Self> {
        let mut snapshot = Self {
            contract: operator.contract(),
            taken_at: Timestamp::now(),
            is_replicated: operator.replicas(PaymentEvent::SERVICE).await? > 1,
            orders: BTreeMap::new(),
            others: BTreeMap::new(),
            stock: BTreeMap::new(),
            prices: PriceHistories::new(),
            photos: ItemPhotos::new(),
            wrong_photos: Vec::new(),
            couriers: BTreeMap::new(),
            unknown: BTreeMap::new(),
            unreadable: Vec::new(),
            parked: HashSet::new(),
            strays: Vec::new(),
            orders_since: None,
            log_since: None,
        };
        for service in operator.contract().services() {
            let mut start = StreamStart::default();
            operator
                .read_bucket(service, |entry| {
                    let is_event = snapshot.see(service, &entry);
                    start.see(&entry, is_event);
                })
                .await?;
            if service == Created::NAME.service {
                snapshot.orders_since = start.since(&operator.size(service).await?, snapshot.taken_at);
            }
        }
        snapshot.wrong_photos = wrong_photos(operator, &snapshot.photos).await?;
        let mut start = StreamStart::default();
        operator
            .read_log(|entry| {
                snapshot.see_logged(&entry);
                start.see(&entry, true);
            })
            .await?;
        snapshot.log_since = start.since(&operator.size(EVENTS).await?, snapshot.taken_at);
        Ok(snapshot)
    }

    /// Files one message of a bucket; returns whether it is an event, readable or not.
    fn see(&mut self, service: &'static str, entry: &Entry) -> bool {
        let tokens: Vec<&str> = entry.subject.split('.').skip(2).collect();
        let is_event = tokens.len() == 2 || self.contract.stored(&entry.subject).is_some();
        let filed = match tokens.as_slice() {
            [token, ..] if is_event => self.see_event(service, token, entry),
            _ if entry.is_deleted() => Ok(()),
            ["price", "item", _] => Ok(()),
            ["stock", "item", item] => file_record::<ItemStock, _>(entry, item, &mut self.stock),
            ["courier", "load", courier] => file_record::<CourierLoad, _>(entry, courier, &mut self.couriers),
            ["dead-letter", stream, sequence, .., id] => {
                self.see_dead_letter(stream, sequence, id);
                Ok(())
            }
            ["schedule", ..] => Ok(()),
            // The ledger of a service that the audit does not know, or something that an operator keeps.
            _ => {
                let (_, kind) = tokens.split_last().unwrap_or((&"", &[]));
                let kind = format!("$KV.{service}.{}.*", kind.join("."));
                *self.unknown.entry(kind).or_default() += 1;
                Ok(())
            }
        };
        if let Err(problem) = filed {
            self.unreadable.push(UnreadableEntry {
                stream: format!("KV_{service}"),
                sequence: entry.sequence,
                subject: entry.subject.clone(),
                digest: body_digest(&entry.body),
                problem,
            });
        }
        is_event
    }

    fn see_dead_letter(&mut self, stream: &str, sequence: &str, order_id: &str) {
        if let Ok(sequence) = sequence.parse() {
            self.parked.insert((stream.to_owned(), sequence));
        }
        let order_id: Option<OrderId> = order_id.parse().ok();
        if let Some(order_id) = order_id
            && let Some(file) = self.orders.get_mut(&order_id)
        {
            file.parked.push(format!("{stream}.{sequence}.{order_id}"));
        }
    }

    fn see_event(&mut self, service: &'static str, token: &str, entry: &Entry) -> Result<(), String> {
        let stored = match StoredEvent::in_bucket(self.contract, entry) {
            Ok(stored) => stored,
            Err(StoredEventError::NotAnEvent(_)) => return Err(format!("{service} has no event `{token}`")),
            Err(StoredEventError::Unreadable(problem)) => return Err(problem),
        };
        if stored.name.about != AggregateKind::ORDER {
            let other = OtherEvent {
                digest: body_digest(&entry.body),
                logged: Vec::new(),
            };
            if is_about_items(stored.name) {
                let event = stored.event().map_err(|problem| problem.to_string())?;
                file_price(entry, &event, &mut self.prices);
                file_photo(&event, &mut self.photos);
            }
            self.others.insert((stored.name, stored.about), other);
            return Ok(());
        }
        let event = stored.event().map_err(|problem| problem.to_string())?;
        let (Some(order), Some(order_id)) = (event.order(), stored.about.order_id()) else {
            return Err("an event about an order carries it".to_owned());
        };
        let file = self
            .orders
            .entry(order_id)
            .or_insert_with(|| OrderFile::new(Arc::clone(order), self.is_replicated));
        file.facts.hear(&event);
        file.expires_at = file.expires_at.or(expires_at(&event));
        let filed = FiledEvent {
            name: stored.name,
            at: entry.time,
            sequence: entry.sequence,
            cause: stored.envelope.causation_id.clone(),
            digest: body_digest(&entry.body),
            // Programs that are older than `placed_at` leave it out.
            carries_the_order: order.is_same_request(&file.order),
            courier: courier_of(&event),
            logged: Vec::new(),
        };
        file.events.insert(stored.name, filed);
        Ok(())
    }

    fn see_logged(&mut self, entry: &Entry) {
        let (subject, id) = entry.subject.rsplit_once('.').unwrap_or_default();
        let source = entry.header("ce-source").unwrap_or_default();
        let name = self.contract.said(source, subject);
        let about = name.and_then(|name| AggregateId::new(name.about, id).ok());
        let order_id: Option<OrderId> = id.parse().ok();
        let logged = LoggedEvent {
            at: entry.time,
            digest: body_digest(&entry.body),
        };
        // A bucket has only the newest price; the log has the earlier ones.
        if let Some(name) = name.filter(|name| is_about_items(name))
            && let Ok(event) = Event::decode(name.service, &name.key(), &entry.body)
        {
            file_price(entry, &event, &mut self.prices);
        }
        match self.logged_of(name.zip(about)) {
            Some(events) => events.push(logged),
            None => self.strays.push(StrayEntry {
                sequence: entry.sequence,
                subject: entry.subject.clone(),
                digest: logged.digest,
                order_id,
            }),
        }
    }

    /// What the log has of an event that is in its bucket.
    fn logged_of(
        &mut self,
        event: Option<(&'static EventName, AggregateId)>,
    ) -> Option<&mut Vec<LoggedEvent>> {
        let (name, about) = event?;
        match about.order_id() {
            Some(order_id) => {
                let file = self.orders.get_mut(&order_id)?;
                Some(&mut file.events.get_mut(name)?.logged)
            }
            None => Some(&mut self.others.get_mut(&(name, about))?.logged),
        }
    }

    /// Whether the log has every event that it should: it is sourced a moment after the commit.
    pub fn log_has_everything(&self) -> bool {
        let lacks = |file: &OrderFile| {
            self.compares(file) && file.events.values().any(|event| event.logged.is_empty())
        };
        let others = |((name, _), event): (&(&EventName, _), &OtherEvent)| event.is_logged(name.lifetime);
        !self.orders.values().any(lacks) && (self.log_since.is_some() || self.others.iter().all(others))
    }

    /// The orders that are checked.
    pub fn checked(&self) -> impl Iterator<Item = &OrderFile> {
        self.orders.values().filter(|file| self.checks(file))
    }

    /// Whether all that was ever said of this order must still be there.
    fn checks(&self, file: &OrderFile) -> bool {
        let since = self.orders_since.unwrap_or(Timestamp::MIN);
        file.get(Created::NAME).is_some_and(|created| created.at >= since)
    }

    /// Whether the log must have all that was ever said of this order.
    pub fn compares(&self, file: &OrderFile) -> bool {
        let is_recent = |since: Timestamp| {
            let created = file.get(Created::NAME).and_then(|created| created.logged.first());
            created.is_some_and(|logged| logged.at >= since)
        };
        self.checks(file) && self.log_since.is_none_or(is_recent)
    }
}

/// Finds out whether a stream still has its first events.
#[derive(Default)]
struct StreamStart {
    before: u64,
    /// How many times records may have been written again. Each time left a gap where the record had been.
    rewrites: u64,
    first: Option<(u64, Timestamp)>,
}

impl StreamStart {
    fn see(&mut self, entry: &Entry, is_event: bool) {
        if !is_event {
            self.rewrites += rewrites(entry);
        }
        match self.first {
            Some(_) => {}
            None if is_event => self.first = Some((entry.sequence, entry.time)),
            None => self.before += 1,
        }
    }

    /// Events about orders are stored once and never moved, so a gap before the first one means that others have gone, unless
    /// records that were written again explain the gap, and nothing has expired yet.
    fn since(&self, size: &Size, now: Timestamp) -> Option<Timestamp> {
        let (sequence, time) = self.first.unwrap_or((size.last_sequence + 1, now));
        let gap = (sequence - 1).saturating_sub(self.before);
        let lost = gap > self.rewrites || (gap > 0 && size.may_have_expired);
        lost.then(|| time.checked_add(HORIZON).unwrap_or(Timestamp::MAX))
    }
}

/// How many times a record was written before, at most: a price is written once for each version of its item.
fn rewrites(entry: &Entry) -> u64 {
    #[derive(Deserialize)]
    struct Versioned {
        version: u64,
    }
    if !entry.subject.starts_with("$KV.order.price.item.") {
        return 0;
    }
    let record: Option<Versioned> = serde_json::from_slice(&entry.body).ok();
    record.map_or(0, |record| record.version.saturating_sub(1))
}
