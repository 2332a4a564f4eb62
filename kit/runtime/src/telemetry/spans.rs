//! The spans of an order's trace, if spans are exported: a request, each input that it brings about, and each event that is
//! said, in the words of OpenTelemetry's semantic conventions for HTTP and messaging.
//!
//! An event's `traceparent` names the span that publishes it, by an id that is derived (see
//! [`quadrille_events::Envelope`]); so whoever hears the event continues under it, whether or not those before it export
//! their spans, and nothing else has to travel.
//!
//! ```text
//! POST /orders/create_order
//!   decide create
//!     publish order.created
//!       process order.created          (payment)
//!         publish payment.charged
//!           process payment.charged    (inventory)
//! ```

use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use quadrille_events::{AggregateId, AggregateKind, EventName, TraceParent};
use tracing::{Span, field::Empty, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::cause::{Cause, Effects, InputName};
use crate::nats::CommitError;
use crate::telemetry::sampling::{Undecided, with_ids};

/// The target of every span made here: by it they go to the collector and not to the log.
pub(crate) const TARGET: &str = "quadrille::spans";

static ON: AtomicBool = AtomicBool::new(false);

/// Turns spans on.
pub(crate) fn turn_on() {
    ON.store(true, Ordering::Relaxed);
}

/// Whether spans are exported. If not, none is made.
pub(crate) fn are_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// The trace of an order, if spans are exported: for the lines of the log.
pub(crate) fn trace_id(cause: &Cause, about: Option<&AggregateId>) -> Option<String> {
    if !are_on() {
        return None;
    }
    let trace = match (&cause.trace, about) {
        (Some(trace), _) => trace.trace_id(),
        (None, Some(about)) => TraceParent::of(about).trace_id(),
        (None, None) => return None,
    };
    Some(format!("{trace:032x}"))
}

/// The span of an HTTP request; it continues its caller's trace.
pub(crate) fn request(method: &str, route: Option<&str>, path: &str, caller: Option<&TraceParent>) -> Span {
    if !are_on() {
        return Span::none();
    }
    let name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
    let span = info_span!(
        target: TARGET,
        parent: None,
        "request",
        otel.name = name,
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        url.path = path,
        url.scheme = "http",
    );
    if let Some(caller) = caller {
        // The span has not begun, so its parent can still be set.
        let _ = span.set_parent(remote(caller));
    }
    span
}

/// Records the status of the answer.
pub(crate) fn answered(span: &Span, status: u16) {
    span.record("http.response.status_code", i64::from(status));
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
    }
}

/// The span of a command: part of the request that is being handled here. If its caller named no trace, the request joins
/// that of its order.
pub(crate) fn command(
    service: &'static str,
    what: &'static str,
    about: Option<&AggregateId>,
    caller: Option<&TraceParent>,
) -> Span {
    if !are_on() {
        return Span::none();
    }
    let request = Span::current();
    if let (None, Some(about)) = (caller, about) {
        begin(&request, Some(TraceParent::of(about).trace_id()), None);
    }
    info_span!(
        target: TARGET,
        parent: &request,
        "decide",
        otel.name = format!("decide {what}"),
        otel.kind = "internal",
        otel.status_code = Empty,
        otel.status_description = Empty,
        quadrille.service = service,
        quadrille.order_id = order_id(about),
        quadrille.outcome = Empty,
        quadrille.reason = Empty,
        quadrille.said = Empty,
    )
}

/// The span of an event that is heard, child of the span that published it. `attempt` counts its deliveries from 1.
pub(crate) fn heard(
    service: &'static str,
    cause: &Cause,
    about: Option<&AggregateId>,
    size: usize,
    attempt: i64,
) -> Span {
    let (InputName::Event(name), Some(said), Some(about), true) = (cause.name, &cause.trace, about, are_on())
    else {
        return Span::none();
    };
    let span = info_span!(
        target: TARGET,
        parent: None,
        "process",
        otel.name = format!("process {name}"),
        otel.kind = "consumer",
        otel.status_code = Empty,
        otel.status_description = Empty,
        messaging.system = "nats",
        messaging.operation.type = "process",
        messaging.operation.name = "process",
        messaging.destination.name = name.stored_as(about),
        messaging.destination.template = name.filter(),
        messaging.consumer.group.name = service,
        messaging.message.id = name.id(about),
        messaging.message.conversation_id = about.as_str(),
        messaging.message.body.size = i64::try_from(size).unwrap_or(i64::MAX),
        quadrille.service = service,
        quadrille.order_id = order_id(Some(about)),
        quadrille.attempt = attempt,
        quadrille.outcome = Empty,
        quadrille.reason = Empty,
        quadrille.said = Empty,
    );
    let mut parent = remote(said);
    if said.trace_id() == TraceParent::of(about).trace_id() {
        parent = parent.with_value(Undecided);
    }
    let _ = span.set_parent(parent);
    span
}

/// Records how an input ended, and why.
pub(crate) fn ended(span: &Span, outcome: &str, why: &str, effects: &Effects) {
    if span.is_disabled() {
        return;
    }
    span.record("quadrille.outcome", outcome);
    if !why.is_empty() {
        span.record("quadrille.reason", why);
    }
    if !effects.events.is_empty() {
        span.record("quadrille.said", effects.subjects());
    }
    if matches!(outcome, "parked" | "failed" | "unknown") {
        span.record("otel.status_code", "ERROR");
        span.record("otel.status_description", why);
    }
}

/// The spans of what an input says, while it is being committed.
#[derive(Debug, Default)]
pub(crate) struct PublishSpans(Vec<(Span, u64)>);

/// The commit that spans of publishing belong to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommitSize {
    /// Inputs of the group.
    pub inputs: usize,
    /// Messages of the commit.
    pub messages: usize,
}

impl PublishSpans {
    /// Begins the spans of one input's events, and of the deadline that it sets.
    pub fn begin(
        decision: &Span,
        cause: &Cause,
        about: Option<&AggregateId>,
        effects: &Effects,
        size: CommitSize,
    ) -> Self {
        let (Some(about), true) = (about, are_on() && size.messages > 0) else {
            return Self::default();
        };
        let events = effects.events.iter().map(|name| ("publish", *name));
        let deadline = effects.deadline.map(|name| ("schedule", name));
        let publishing = events.chain(deadline);
        Self(
            publishing
                .map(|(verb, name)| publish(decision, cause, about, verb, name, size))
                .collect(),
        )
    }

    /// The events are stored: the spans are those that the events name.
    pub fn stored(self) {
        for (span, id) in self.0 {
            begin(&span, None, Some(id));
        }
    }

    /// The commit was refused, or its outcome is unknown.
    pub fn failed(self, problem: &CommitError) {
        for (span, _) in self.0 {
            span.record("otel.status_code", "ERROR");
            span.record("otel.status_description", problem.to_string());
            span.record("error.type", problem.kind());
        }
    }
}

/// The id of the order, if that is what an input is about.
fn order_id(about: Option<&AggregateId>) -> Option<&str> {
    about
        .filter(|about| about.kind() == AggregateKind::ORDER)
        .map(AggregateId::as_str)
}

fn publish(
    decision: &Span,
    cause: &Cause,
    about: &AggregateId,
    verb: &str,
    name: &EventName,
    size: CommitSize,
) -> (Span, u64) {
    let id = name.id(about);
    let position = cause.trace_of(about).child(name.service, &id);
    let span = info_span!(
        target: TARGET,
        parent: decision,
        "publish",
        otel.name = format!("{verb} {name}"),
        otel.kind = "producer",
        otel.status_code = Empty,
        otel.status_description = Empty,
        error.type = Empty,
        messaging.system = "nats",
        messaging.operation.type = "send",
        messaging.operation.name = verb,
        messaging.destination.name = name.stored_as(about),
        messaging.destination.template = name.filter(),
        messaging.message.id = id,
        messaging.message.conversation_id = about.as_str(),
        quadrille.order_id = order_id(Some(about)),
        quadrille.group.inputs = i64::try_from(size.inputs).unwrap_or(i64::MAX),
        quadrille.commit.messages = i64::try_from(size.messages).unwrap_or(i64::MAX),
    );
    (span, position.span_id())
}

/// Begins a span under these ids, where they are given.
fn begin(span: &Span, trace: Option<u128>, id: Option<u64>) {
    with_ids(trace, id, || drop(span.context()));
}

/// Another process's span as a parent.
fn remote(position: &TraceParent) -> Context {
    let flags = if position.is_sampled() {
        TraceFlags::SAMPLED
    } else {
        TraceFlags::default()
    };
    Context::new().with_remote_span_context(SpanContext::new(
        TraceId::from(position.trace_id()),
        SpanId::from(position.span_id()),
        flags,
        true,
        TraceState::default(),
    ))
}
