//! Which spans are recorded, and under which ids they begin.

use std::cell::Cell;

use anyhow::bail;
use opentelemetry::trace::{Link, SpanId, SpanKind, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, Sampler, SamplingResult, ShouldSample};

use crate::settings::Settings;

/// A marker in the context of a parent span: whether its trace is recorded is not decided yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Undecided;

/// The sampler that `OTEL_TRACES_SAMPLER` names, except for traces derived from an id: their parent's flag says only what
/// nats-server is to do (see [`quadrille_events::TraceParent::of`]). Each service then decides as for a root; by ratio
/// that is a function of the trace id, so all four decide alike.
#[derive(Clone, Debug)]
pub(crate) struct OrderSampler {
    of_roots: Sampler,
    of_others: Sampler,
}

impl OrderSampler {
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let name = settings.or("OTEL_TRACES_SAMPLER", "parentbased_always_on".to_owned())?;
        let ratio: f64 = settings.or("OTEL_TRACES_SAMPLER_ARG", 1.0)?;
        if !(0.0..=1.0).contains(&ratio) {
            bail!("OTEL_TRACES_SAMPLER_ARG={ratio}: must be a ratio from 0 to 1");
        }
        let of_roots = match name.strip_prefix("parentbased_").unwrap_or(&name) {
            "always_on" => Sampler::AlwaysOn,
            "always_off" => Sampler::AlwaysOff,
            "traceidratio" => Sampler::TraceIdRatioBased(ratio),
            _ => bail!(
                "OTEL_TRACES_SAMPLER={name}: must be `always_on`, `always_off` or `traceidratio`, or one of them after `parentbased_`"
            ),
        };
        let of_others = if name.starts_with("parentbased_") {
            Sampler::ParentBased(Box::new(of_roots.clone()))
        } else {
            of_roots.clone()
        };
        Ok(Self { of_roots, of_others })
    }
}

impl ShouldSample for OrderSampler {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let undecided = parent.is_some_and(|parent| parent.get::<Undecided>().is_some());
        let (sampler, parent) = match undecided {
            true => (&self.of_roots, None),
            false => (&self.of_others, parent),
        };
        sampler.should_sample(parent, trace_id, name, kind, attributes, links)
    }
}

/// Generates random ids, unless the span that begins at this moment has its own (see [`with_ids`]).
#[derive(Debug, Default)]
pub(crate) struct Ids(RandomIdGenerator);

thread_local! {
    static NEXT: Cell<(Option<TraceId>, Option<SpanId>)> = const { Cell::new((None, None)) };
}

/// A span that begins within `begin`, on this thread, gets these ids. Neither the SDK nor tracing takes an id with a span, so a
/// thread-local passes it to the generator.
pub(crate) fn with_ids<T>(trace: Option<u128>, span: Option<u64>, begin: impl FnOnce() -> T) -> T {
    NEXT.set((trace.map(TraceId::from), span.map(SpanId::from)));
    let begun = begin();
    NEXT.set((None, None));
    begun
}

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        NEXT.get().0.unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        NEXT.get().1.unwrap_or_else(|| self.0.new_span_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_given_to_what_begins_within() {
        let ids = Ids::default();
        let given = with_ids(Some(7), Some(8), || (ids.new_trace_id(), ids.new_span_id()));
        assert_eq!(given, (TraceId::from(7_u128), SpanId::from(8_u64)));
        assert_ne!(ids.new_span_id(), SpanId::from(8_u64));
    }
}
