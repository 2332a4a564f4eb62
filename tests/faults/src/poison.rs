//! Poison: messages that no service can read, under the subjects that services hear. Each must become a dead letter of
//! everybody who hears it.
//!
//! It goes under order ids of its own. What is written over the entries of an order that exists is no input but a forged
//! memory of the service that owns the bucket; only permissions keep that out.

use std::sync::Arc;

use anyhow::{Context, Result};
use jiff::Timestamp;
use quadrille_events::{
    Created, Envelope, EventName, Line, Order, OrderEvent, OrderId, Said, TraceParent, TypedId,
};
use quadrille_runtime::operator::Operator;
use quadrille_tests::World;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};

/// Headers that the envelope cannot do without, and what makes no sense there.
const HEADERS: [(&str, &str); 8] = [
    ("ce-specversion", "0.3"),
    ("ce-id", "created.somebody-else"),
    ("ce-source", "nobody"),
    ("ce-type", "order.eaten"),
    ("ce-time", "yesterday"),
    ("ce-eventversion", "99"),
    ("ce-causationid", ""),
    ("traceparent", "00-0-0-00"),
];
/// Headers for which the client library ends the connection, until somebody has parked the message.
const MALFORMED: [&[u8]; 2] = [b"NATS/1.0\r\nno colon\r\n\r\n", b"NATS/1.0\r\nname: \xff\r\n\r\n"];
/// One in so many has them.
const MALFORMED_EVERY: u64 = 5;
/// Beyond what a service reads.
const TOO_LARGE: usize = 300_000;
/// Beyond what a parser that recurses can bear.
const TOO_DEEP: usize = 100_000;

/// What was put in, and who has to park it.
pub struct Poison {
    /// Who hears what.
    heard: Vec<(&'static EventName, String)>,
    /// Subject and listener of each letter that there must be.
    letters: Vec<(String, String)>,
    count: u64,
}

impl Poison {
    /// Finds out who hears what, from the consumers that there are.
    ///
    /// # Errors
    /// The broker does not answer.
    pub async fn brew(operator: &Operator) -> Result<Self> {
        let heard = operator
            .lags()
            .await?
            .into_iter()
            .flat_map(|lag| {
                let listener = lag.listener;
                lag.hears.into_iter().map(move |name| (name, listener.clone()))
            })
            .collect();
        Ok(Self {
            heard,
            letters: Vec::new(),
            count: 0,
        })
    }

    /// Puts one in; says what it is.
    ///
    /// # Errors
    /// The broker does not take it.
    pub async fn drop_in(&mut self, world: &World, rng: &mut StdRng) -> Result<String> {
        let (name, _) = self.heard.choose(rng).context("nobody hears anything")?;
        let name = *name;
        self.count += 1;
        let order_id: OrderId = format!("poison-{}", self.count).parse()?;
        let subject = name.stored_as(&order_id);
        let what = if self.count.is_multiple_of(MALFORMED_EVERY) {
            let headers = MALFORMED.choose(rng).context("there are two")?;
            world.publish_bytes(&subject, headers, &body(&order_id)).await?;
            "malformed headers"
        } else {
            let (what, headers, body) = draw(name, &order_id, rng);
            world.operator.publish(&subject, headers, &body).await?;
            what
        };
        let hears = self.heard.iter().filter(|(heard, _)| *heard == name);
        self.letters
            .extend(hears.map(|(_, listener)| (subject.clone(), listener.clone())));
        Ok(format!("{subject}: {what}"))
    }

    /// Which letters are missing, each a sentence.
    ///
    /// # Errors
    /// The broker does not answer.
    pub async fn missing(&self, operator: &Operator) -> Result<Vec<String>> {
        let parked = operator.dead_letters().await?;
        let is_missing = |(subject, listener): &&(String, String)| {
            !parked
                .iter()
                .any(|letter| letter.subject == *subject && letter.service == *listener)
        };
        let missing = self.letters.iter().filter(is_missing);
        Ok(missing
            .map(|(subject, listener)| format!("{subject} was not parked by {listener}"))
            .collect())
    }
}

type Headers = Vec<(String, String)>;

/// Something that cannot be read.
fn draw(name: &'static EventName, order_id: &OrderId, rng: &mut StdRng) -> (&'static str, Headers, Vec<u8>) {
    let good = envelope(name, order_id);
    match rng.random_range(0..9) {
        0 => ("not JSON, without headers", Headers::new(), b"not json".to_vec()),
        1 => ("random bytes, without headers", Headers::new(), noise(rng)),
        2 => ("random bytes in a good envelope", good, noise(rng)),
        3 => ("nothing in a good envelope", good, Vec::new()),
        4 => ("about another order", good, body(&somebody_elses())),
        5 => {
            let mut headers = good;
            let (missing, _) = HEADERS[rng.random_range(0..HEADERS.len())];
            headers.retain(|(header, _)| header != missing);
            ("a header is missing", headers, body(order_id))
        }
        6 => {
            let mut headers = good;
            // The cause may be anything.
            let wrong = HEADERS.iter().filter(|(_, value)| !value.is_empty());
            let wrong: Vec<_> = wrong.collect();
            let (name, value) = wrong[rng.random_range(0..wrong.len())];
            headers.retain(|(header, _)| header != name);
            headers.push(((*name).to_owned(), (*value).to_owned()));
            ("a header makes no sense", headers, body(order_id))
        }
        7 => ("too large", good, vec![b' '; TOO_LARGE]),
        _ => ("too deep", good, vec![b'['; TOO_DEEP]),
    }
}

fn noise(rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = vec![0; rng.random_range(1..2_000)];
    rng.fill_bytes(&mut bytes);
    bytes
}

fn envelope(name: &EventName, order_id: &OrderId) -> Headers {
    let about = order_id.aggregate();
    let trace = TraceParent::of(&about);
    let envelope = Envelope::new(name, &about, 0, Timestamp::now(), "http/create", &trace);
    let headers = envelope.headers().into_iter();
    headers.map(|(name, value)| (name.to_owned(), value)).collect()
}

fn somebody_elses() -> OrderId {
    OrderId::new("somebody-elses").unwrap_or_else(|error| unreachable!("a plain word is an id: {error}"))
}

/// What `order.created` would say of it. As any other event's it lacks something, which is just as well.
fn body(order_id: &OrderId) -> Vec<u8> {
    let id = |text: &str| {
        text.parse()
            .unwrap_or_else(|_| unreachable!("a plain word is an id"))
    };
    let order = Order {
        order_id: order_id.clone(),
        customer_id: "mallory"
            .parse()
            .unwrap_or_else(|_| unreachable!("a plain word is an id")),
        lines: vec![Line {
            item_id: id("apple"),
            quantity: 1,
            unit_price: 1,
        }],
        total: 1,
        currency: "EUR"
            .parse()
            .unwrap_or_else(|_| unreachable!("euros are a currency")),
        address: "nowhere".to_owned(),
        payment: quadrille_events::PaymentMode::Auto,
        approval: quadrille_events::Approval::Auto,
        placed_at: None,
    };
    OrderEvent::from(Created {
        order: Arc::new(order),
    })
    .encode()
}
