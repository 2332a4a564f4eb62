//! What a process tells of itself: the log, and its spans if a collector is named.
//!
//! Spans go to an OpenTelemetry collector by OTLP (http/protobuf) from a thread of the SDK's own, in batches, from a bounded
//! queue: when nobody takes them they are dropped, and no order waits for them.

use std::cell::Cell;
use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use opentelemetry::trace::{Link, SpanId, SpanKind, TraceId, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    IdGenerator, RandomIdGenerator, Sampler, SamplingResult, SdkTracerProvider, ShouldSample,
};
use tracing_subscriber::filter::{EnvFilter, LevelFilter, Targets};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::settings::Settings;
use crate::telemetry::spans;

/// How long the last spans may take to reach the collector at the stop.
pub(crate) const FLUSH_TIMEOUT: Duration = Duration::from_millis(900);

/// The log and the spans of this process, as long as it runs.
#[derive(Debug)]
pub(crate) struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Starts the log, as `RUST_LOG` and `LOG_FORMAT` say, and the export of spans if `OTEL_EXPORTER_OTLP_ENDPOINT` (or
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`) is set.
    ///
    /// # Errors
    /// Names the setting that makes no sense.
    pub fn start(settings: &Settings, service: &str) -> anyhow::Result<Self> {
        let filter = EnvFilter::try_new(settings.or("RUST_LOG", "info,async_nats=warn".to_owned())?)
            .context("RUST_LOG makes no sense")?
            // Where it listens is what whoever started it waits for, however silent it is to be.
            .add_directive("quadrille_runtime::run=info".parse()?);
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let lines = tracing_subscriber::fmt::layer()
            .with_target(false)
            .with_ansi(colours);
        let lines = match settings.or("LOG_FORMAT", "text".to_owned())?.as_str() {
            "text" => lines.boxed(),
            "json" => lines.json().flatten_event(true).boxed(),
            other => bail!("LOG_FORMAT={other}: must be `text` or `json`"),
        };
        let provider = provider(settings, service)?;
        match &provider {
            None => tracing_subscriber::registry()
                .with(lines.with_filter(filter))
                .init(),
            Some(provider) => {
                let exported = tracing_opentelemetry::layer()
                    .with_tracer(provider.tracer("quadrille"))
                    // A span begins when its ids are known, not when it is entered.
                    .with_context_activation(false)
                    .with_tracked_inactivity(false)
                    .with_location(false)
                    .with_threads(false)
                    .with_target(false);
                tracing_subscriber::registry()
                    .with(lines.with_filter(filter.add_directive(format!("{}=off", spans::TARGET).parse()?)))
                    .with(exported.with_filter(Targets::new().with_target(spans::TARGET, LevelFilter::INFO)))
                    .init();
                spans::turn_on();
            }
        }
        Ok(Self { provider })
    }

    /// Sends what is left, if the collector takes it in time.
    pub fn stop(self) {
        if let Some(provider) = self.provider
            && let Err(problem) = provider.shutdown_with_timeout(FLUSH_TIMEOUT)
        {
            tracing::warn!(%problem, "the last spans did not reach the collector");
        }
    }
}

/// What exports spans, if somebody is named who takes them.
fn provider(settings: &Settings, service: &str) -> anyhow::Result<Option<SdkTracerProvider>> {
    const ENDPOINTS: [&str; 2] = [
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    ];
    const PROTOCOLS: [&str; 2] = [
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
    ];
    let first = |names: [&'static str; 2]| -> anyhow::Result<Option<(&'static str, String)>> {
        for name in names {
            if let Some(value) = settings.get::<String>(name)? {
                return Ok(Some((name, value)));
            }
        }
        Ok(None)
    };
    let Some((name, endpoint)) = first(ENDPOINTS)? else {
        return Ok(None);
    };
    let disabled = settings.or("OTEL_SDK_DISABLED", String::new())?;
    if disabled.eq_ignore_ascii_case("true") || settings.or("OTEL_TRACES_EXPORTER", String::new())? == "none"
    {
        return Ok(None);
    }
    if !endpoint.starts_with("http://") {
        bail!("{name}: must begin with `http://`; a collector nearby is what speaks TLS to the world");
    }
    if let Some((name, protocol)) = first(PROTOCOLS)?
        && protocol != "http/protobuf"
    {
        bail!("{name}={protocol}: must be `http/protobuf`, which collectors take on port 4318");
    }
    let exporter = SpanExporter::builder()
        .with_http()
        .build()
        .context("the OTEL_EXPORTER_OTLP_ variables make no sense")?;
    Ok(Some(
        SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource(settings, service)?)
            .with_sampler(OrderSampler::new(settings)?)
            .with_id_generator(Ids::default())
            .build(),
    ))
}

/// Who speaks. What `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say comes before what is known here.
fn resource(settings: &Settings, service: &str) -> anyhow::Result<Resource> {
    let said = settings.or("OTEL_RESOURCE_ATTRIBUTES", String::new())?;
    let is_said = |key: &str| {
        said.split(',')
            .any(|pair| pair.split('=').next().map(str::trim) == Some(key))
    };
    let known = [
        ("service.name", service.to_owned()),
        ("service.namespace", "quadrille".to_owned()),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("service.instance.id", uuid::Uuid::now_v7().to_string()),
    ];
    let is_named = settings.get::<String>("OTEL_SERVICE_NAME")?.is_some();
    let known = known
        .into_iter()
        .filter(|(key, _)| !is_said(key) && (*key != "service.name" || !is_named))
        .map(|(key, value)| KeyValue::new(key, value));
    Ok(Resource::builder().with_attributes(known).build())
}

/// In the context of a parent: nobody has decided whether its trace is recorded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Undecided;

/// The sampler that `OTEL_TRACES_SAMPLER` names, but for traces that nobody has begun: their parent's flag says only what
/// nats-server is to do (see [`quadrille_events::TraceParent::of_order`]). Each service then decides as for a root; by ratio
/// that is a function of the trace id, so all four decide alike.
#[derive(Clone, Debug)]
struct OrderSampler {
    of_roots: Sampler,
    of_others: Sampler,
}

impl OrderSampler {
    fn new(settings: &Settings) -> anyhow::Result<Self> {
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

/// Draws ids at random, unless the span that begins at this moment has its own (see [`with_ids`]).
#[derive(Debug, Default)]
struct Ids(RandomIdGenerator);

thread_local! {
    static NEXT: Cell<(Option<TraceId>, Option<SpanId>)> = const { Cell::new((None, None)) };
}

/// What begins within `begin`, on this thread, gets these ids. Neither the SDK nor tracing takes an id with a span, so it
/// reaches the generator this way.
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

    fn refused(pairs: &[(&str, &str)]) -> String {
        let settings = Settings::of(pairs.iter().copied());
        provider(&settings, "order").unwrap_err().to_string()
    }

    #[test]
    fn without_an_endpoint_nothing_is_exported() {
        let none = |pairs: &[(&str, &str)]| {
            provider(&Settings::of(pairs.iter().copied()), "order")
                .unwrap()
                .is_none()
        };
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        assert!(none(&[]));
        assert!(none(&[endpoint, ("OTEL_SDK_DISABLED", "TRUE")]));
        assert!(none(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]));
    }

    #[test]
    fn what_cannot_be_exported_is_named() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        assert!(
            refused(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://x")])
                .starts_with("OTEL_EXPORTER_OTLP_ENDPOINT:")
        );
        assert!(
            refused(&[endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")])
                .starts_with("OTEL_EXPORTER_OTLP_PROTOCOL=grpc")
        );
        assert!(
            refused(&[endpoint, ("OTEL_TRACES_SAMPLER", "xray")]).starts_with("OTEL_TRACES_SAMPLER=xray")
        );
    }

    #[test]
    fn what_the_environment_says_of_the_resource_comes_first() {
        let keys = |pairs: &[(&str, &str)]| {
            let resource = resource(&Settings::of(pairs.iter().copied()), "order").unwrap();
            resource.get(&"service.name".into()).map(|name| name.to_string())
        };
        assert_eq!(keys(&[]).as_deref(), Some("order"));
        // What the SDK reads itself, from the environment, is not overwritten.
        assert_ne!(keys(&[("OTEL_SERVICE_NAME", "shop")]).as_deref(), Some("order"));
        assert_ne!(
            keys(&[("OTEL_RESOURCE_ATTRIBUTES", "a=b, service.name=shop")]).as_deref(),
            Some("order")
        );
    }

    #[test]
    fn ids_are_given_to_what_begins_within() {
        let ids = Ids::default();
        let given = with_ids(Some(7), Some(8), || (ids.new_trace_id(), ids.new_span_id()));
        assert_eq!(given, (TraceId::from(7_u128), SpanId::from(8_u64)));
        assert_ne!(ids.new_span_id(), SpanId::from(8_u64));
    }
}
