//! The log of a process, and the export of its spans if a collector is configured.
//!
//! Spans go to an OpenTelemetry collector by OTLP (http/protobuf) from a thread of the SDK's own, in batches, from a bounded
//! queue: without a collector they are dropped, and no order waits for them.

use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::filter::{EnvFilter, LevelFilter, Targets};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::settings::Settings;
use crate::telemetry::fields::printable_fields;
use crate::telemetry::sampling::{Ids, OrderSampler};
use crate::telemetry::spans;

/// How long the last spans may take to reach the collector at the stop.
pub(crate) const FLUSH_TIMEOUT: Duration = Duration::from_millis(900);

/// The log and the span exporter of this process.
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
            // The line with the address is written whatever the log level: scripts wait for it.
            .add_directive("quadrille_runtime::run=info".parse()?);
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let lines = tracing_subscriber::fmt::layer()
            .with_target(false)
            .with_ansi(colours);
        let lines = match settings.or("LOG_FORMAT", "text".to_owned())?.as_str() {
            "text" => lines.fmt_fields(printable_fields()).boxed(),
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

    /// Sends the remaining spans, if the collector takes them within [`FLUSH_TIMEOUT`].
    pub fn stop(self) {
        if let Some(provider) = self.provider
            && let Err(problem) = provider.shutdown_with_timeout(FLUSH_TIMEOUT)
        {
            tracing::warn!(%problem, "the last spans did not reach the collector");
        }
    }
}

/// The exporter of spans, if an endpoint is configured.
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

/// The resource that spans belong to. What `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say takes precedence.
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
}
