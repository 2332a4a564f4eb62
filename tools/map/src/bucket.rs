//! What a follower of the buckets meets beside events, for `events/asyncapi.yaml`: ledger records, schedules, dead letters, and
//! the headers that the broker reads or adds.

use std::collections::BTreeMap;

use quadrille_decision::erased::Records;
use quadrille_events::Event;
use serde_json::{Map, Value, json};

use crate::explore::{Effect, ExploredFlows};

/// A kind of key in a bucket that is no event.
pub(crate) struct BucketKey {
    /// Of channel and message: `inventory.ledger.stock.item`.
    pub name: String,
    service: &'static str,
    /// `$KV.inventory.stock.item.{record_id}`
    address: String,
    summary: String,
    /// Of the body.
    content_type: &'static str,
    payload: Value,
    /// Those that its messages have beside those of the broker.
    headers: Value,
    example: Option<Value>,
}

/// All of them.
pub(crate) fn keys(flows: &ExploredFlows) -> Vec<BucketKey> {
    let [(_, explored), _] = flows;
    let ledgers = explored.ledgers.iter();
    let mut keys: Vec<_> = ledgers
        .flat_map(|(service, records)| ledger(service, records))
        .collect();
    keys.extend(
        Event::SERVICES
            .into_iter()
            .filter_map(|service| schedule(service, flows)),
    );
    keys.extend(Event::SERVICES.map(dead_letters));
    keys
}

/// The kinds of records in a ledger, each by an example.
fn ledger(service: &'static str, records: &Records) -> Vec<BucketKey> {
    let examples: BTreeMap<&str, &Vec<u8>> = records
        .iter()
        .filter_map(|(key, record)| Some((key.rsplit_once('.')?.0, record)))
        .collect();
    let key = |(prefix, record): (&str, &Vec<u8>)| {
        let example: Value = serde_json::from_slice(record).unwrap_or_default();
        BucketKey {
            name: format!("{service}.ledger.{prefix}"),
            service,
            address: format!("$KV.{service}.{prefix}.{{record_id}}"),
            summary: format!(
                "A record of {service}'s ledger: rewritten under its revision, in the commit of the event that changes it. Removed: an \
                 empty body with `KV-Operation`."
            ),
            content_type: "application/json",
            payload: shape(&example),
            headers: json!({ "type": "object" }),
            example: Some(example),
        }
    };
    examples.into_iter().map(key).collect()
}

/// The schema of a record like this one: its fields are numbers.
fn shape(record: &Value) -> Value {
    let fields = record.as_object().into_iter().flatten();
    let properties: Map<String, Value> = fields
        .map(|(name, value)| {
            let field = match value {
                Value::Number(_) => json!({ "type": "integer", "minimum": 0 }),
                Value::String(_) => json!({ "type": "string" }),
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => json!({}),
            };
            (name.clone(), field)
        })
        .collect();
    let required: Vec<_> = properties.keys().collect();
    json!({ "type": "object", "required": required, "properties": properties })
}

/// The deadlines of a service, if it sets any.
fn schedule(service: &'static str, flows: &ExploredFlows) -> Option<BucketKey> {
    let transitions = flows.iter().flat_map(|(_, explored)| explored.transitions.keys());
    let says = transitions
        .filter(|transition| transition.service == service)
        .find_map(|transition| match transition.effect {
            Effect::Says { deadline, .. } => deadline,
            Effect::Ignores(_) => None,
        })?;
    Some(BucketKey {
        name: format!("{service}.schedule"),
        service,
        address: format!("$KV.{service}.schedule.due.{{order_id}}"),
        summary: format!(
            "A deadline: at the time in `Nats-Schedule` the broker publishes this body and these headers as `{}`, and removes the \
             schedule. A commit that ends the wait removes it, too.",
            says.subject
        ),
        content_type: "application/json",
        payload: json!({ "$ref": format!("#/components/messages/{}.{}/payload", says.service, says.entry) }),
        headers: json!({ "type": "object", "allOf": [{ "$ref": "#/components/schemas/Headers" }] }),
        example: None,
    })
}

/// The dead letters of a service.
fn dead_letters(service: &'static str) -> BucketKey {
    let description = "The description of the input, as JSON (`#/components/schemas/DeadLetter`).";
    BucketKey {
        name: format!("{service}.dead-letter"),
        service,
        address: format!("$KV.{service}.dead-letter.{{stream}}.{{sequence}}.{{letter_about}}"),
        summary: format!(
            "An input that {service} could not handle: its body, byte for byte. Settled: an empty body with `KV-Operation`. About \
             something else than an order, the kind is one more token: `dead-letter.<stream>.<sequence>.item.<item_id>`."
        ),
        content_type: "application/octet-stream",
        payload: json!(true),
        headers: json!({
            "type": "object",
            "properties": { "Dead-Letter": {
                "type": "string", "contentMediaType": "application/json", "description": description,
            } },
        }),
        example: None,
    }
}

impl BucketKey {
    pub fn channel(&self) -> Value {
        let named = |name: &str| {
            let reference = json!({ "$ref": format!("#/components/parameters/{name}") });
            (name.to_owned(), reference)
        };
        let names = self
            .address
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split('}').next());
        json!({
            "address": self.address,
            "title": self.name,
            "description": "A key of a bucket: read, never published by anybody but its service.",
            "parameters": names.map(named).collect::<Map<_, _>>(),
            "servers": [{ "$ref": "#/servers/nats" }],
            "messages": { self.name.as_str(): { "$ref": format!("#/components/messages/{}", self.name) } },
        })
    }

    pub fn message(&self) -> anyhow::Result<Value> {
        let mut headers = self.headers.clone();
        let mut all = headers["allOf"].as_array().cloned().unwrap_or_default();
        all.push(json!({ "$ref": "#/components/schemas/BrokerHeaders" }));
        headers["allOf"] = Value::Array(all);
        let mut message = json!({
            "name": self.name,
            "title": self.name,
            "summary": self.summary,
            "contentType": self.content_type,
            "headers": headers,
            "payload": self.payload,
            "tags": [{ "name": self.service }],
        });
        if let Some(example) = &self.example {
            message["examples"] = json!([{ "payload": example }]);
        }
        Ok(message)
    }
}

/// The parameters of those keys that are no id of an event.
pub(crate) fn parameters() -> impl Iterator<Item = (String, Value)> {
    [
        ("record_id", "The item or courier that the record is about."),
        ("stream", "The stream of the input: `KV_<service>`."),
        ("sequence", "The sequence of the input in its stream."),
        (
            "letter_about",
            "The id of the order that the input is about; `-` if its subject names none.",
        ),
    ]
    .into_iter()
    .map(|(name, description)| (name.to_owned(), json!({ "description": description })))
}

/// What the header `Dead-Letter` holds.
pub(crate) fn dead_letter() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "type": "object",
        "description": "The description of a parked input.",
        "required": ["id", "service", "reason", "attempts", "subject", "headers", "parked_at"],
        "additionalProperties": false,
        "properties": {
            "id": text("Its key behind `dead-letter.`; by it the letter is shown and retried."),
            "service": text("The service that could not handle the input."),
            "reason": text("Why not."),
            "attempts": {
                "type": "integer", "minimum": 0,
                "description": "How often the input was delivered; 0 if its headers cannot be read.",
            },
            "subject": text("The subject of the input."),
            "headers": {
                "type": "object", "additionalProperties": { "type": "string" },
                "description": "The headers of the input.",
            },
            "parked_at": { "type": "string", "format": "date-time", "description": "When it was parked." },
        },
    })
}

/// The headers that the broker reads or adds. Which of them a message has depends on how it was committed; whoever follows
/// the events needs none of them.
pub(crate) fn broker_headers() -> Value {
    let headers = [
        (
            "Nats-Expected-Last-Subject-Sequence",
            "The revision under which the commit was checked.",
        ),
        (
            "Nats-Expected-Last-Subject-Sequence-Subject",
            "What was checked: all entries about the order in the bucket.",
        ),
        (
            "Nats-TTL",
            "`never`: the entry does not expire by the age limit of the bucket. Of a marker: `60s`.",
        ),
        (
            "Nats-Batch-Id",
            "The atomic batch in which the message was committed.",
        ),
        ("Nats-Batch-Sequence", "Its place in the batch."),
        ("Nats-Batch-Commit", "`1`: the last of its batch."),
        ("Nats-Schedule", "Of a schedule: `@at <time>`."),
        (
            "Nats-Schedule-Target",
            "Of a schedule: the entry that the broker will publish.",
        ),
        (
            "Nats-Schedule-TTL",
            "Of a schedule: how long that entry will live.",
        ),
        (
            "Nats-Scheduler",
            "The schedule that published the entry, or that the entry removes.",
        ),
        (
            "Nats-Schedule-Next",
            "`purge`: the schedule in `Nats-Scheduler` is removed.",
        ),
        (
            "Nats-Rollup",
            "`sub`: earlier messages under the subject are removed.",
        ),
        (
            "KV-Operation",
            "`DEL` or `PURGE`: the marker of a key that was removed. The body is empty.",
        ),
        (
            "Nats-Stream-Source",
            "In EVENTS: the bucket, the sequence there, and the filter.",
        ),
        ("Nats-Stream", "Republished: `EVENTS`."),
        ("Nats-Subject", "Republished: the subject."),
        ("Nats-Sequence", "Republished: the sequence in EVENTS."),
        (
            "Nats-Last-Sequence",
            "Republished: the sequence of the message before under the same subject; 0 if there is none.",
        ),
        ("Nats-Time-Stamp", "Republished: when EVENTS stored it."),
    ];
    let properties: Map<String, Value> = headers
        .into_iter()
        .map(|(name, description)| {
            (
                name.to_owned(),
                json!({ "type": "string", "description": description }),
            )
        })
        .collect();
    json!({
        "type": "object",
        "description": "Headers that the broker reads or adds. None of them is there always.",
        "properties": properties,
    })
}
