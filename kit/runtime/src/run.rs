//! The life of a service: settings, connection, streams, listeners, engine, HTTP, stop.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use anyhow::{Context as _, bail};
use quadrille_decision::Service;
use quadrille_events::{Contract, Event, Said};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};
use utoipa_axum::router::OpenApiRouter;

use crate::engine::input::PendingInput;
use crate::engine::listener::Listener;
use crate::engine::outside_calls::CallLimits;
use crate::engine::store::Store;
use crate::engine::wires::Wires;
use crate::engine::{Engine, QUEUE};
use crate::http::Edge;
use crate::http::door::Door;
use crate::http::routes::service_routes;
use crate::http::server::listen;
use crate::nats::Broker;
use crate::nats::streams::{Keeping, ensure, keep_log};
use crate::settings::Settings;
use crate::shutdown::{stop_signal, stopped};
use crate::telemetry::log::{FLUSH_TIMEOUT, Telemetry};
use crate::telemetry::meters::{self, Metrics};

/// How long a stop may take: the group in progress, and the requests that wait for it.
const STOP_TIMEOUT: Duration = Duration::from_secs(4);
// Within 5 s a service promises to stop.
const _: () = assert!(STOP_TIMEOUT.as_millis() + FLUSH_TIMEOUT.as_millis() < 5_000);

/// The `main` of a service: reads the settings, runs it until SIGTERM or Ctrl-C, and prints one sentence if
/// it cannot.
///
/// Settings: `NATS_URL` (`nats://127.0.0.1:4222`), `NATS_CREDS`, `BIND` (`127.0.0.1`), `PORT` (0 takes a free one),
/// `REPLICAS` (1), `RETENTION` (30d), `EVENTS_MAX_AGE` (7d), `ACK_WAIT` (10s), `CALL_GIVE_UP` (1h), `RUST_LOG`
/// (`info`), `LOG_FORMAT` (`text` or `json`), `ALLOWED_HOSTS` (none), `MAX_SSE` (512), `MAX_SSE_PER_ADDRESS` (64), and OpenTelemetry's own: `OTEL_EXPORTER_OTLP_ENDPOINT` and what goes with it.
pub fn main<S: Service>(
    default_port: u16,
    make: impl FnOnce(&Settings) -> anyhow::Result<S>,
    routes: fn(Door<S>) -> OpenApiRouter,
) -> ExitCode {
    program(
        S::Said::SERVICE,
        default_port,
        async |settings, listener, stop| {
            let service = make(&settings)?;
            run(Event::CONTRACT, service, routes, &settings, listener, stop).await
        },
    )
}

/// The `main` of any program that listens on HTTP: starts the log and the export of spans, binds `BIND` and `PORT`, runs
/// `body` until it ends, which it should once `stop` turns true (SIGTERM or Ctrl-C), and prints one sentence if it
/// cannot.
pub fn program(
    name: &str,
    default_port: u16,
    body: impl AsyncFnOnce(Settings, TcpListener, watch::Receiver<bool>) -> anyhow::Result<()>,
) -> ExitCode {
    let settings = Settings::from_env();
    let ended = Telemetry::start(&settings, name).and_then(|telemetry| {
        let runtime = workers(&mut tokio::runtime::Builder::new_multi_thread())
            .enable_all()
            .build()?;
        let ended = runtime.block_on(async {
            let listener = bind(&settings, default_port)?;
            let (stopper, stop) = watch::channel(false);
            tokio::spawn(async move {
                stop_signal().await;
                info!("stopping: finishing the group in progress");
                let _ = stopper.send(true);
            });
            body(settings, listener, stop).await
        });
        // The spans of the last group end with the runtime, and are among the last that are sent.
        drop(runtime);
        telemetry.stop();
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{name}: {problem:#}");
            ExitCode::FAILURE
        }
    }
}

/// Half of the cores, unless `TOKIO_WORKER_THREADS` says otherwise: the engine is one task, nats-server and the other
/// services need theirs, and a thread that is woken for nothing costs (8 % of the CPU on two cores, by `just bench`).
fn workers(builder: &mut tokio::runtime::Builder) -> &mut tokio::runtime::Builder {
    if std::env::var_os("TOKIO_WORKER_THREADS").is_some() {
        return builder;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    builder.worker_threads((cores / 2).max(1))
}

/// Runs a service of `contract` on `listener` until `stop` turns true.
///
/// # Errors
/// Settings that make no sense, a server that cannot be used, an engine that died.
pub async fn run<S: Service>(
    contract: Contract,
    service: S,
    routes: fn(Door<S>) -> OpenApiRouter,
    settings: &Settings,
    listener: TcpListener,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let name = S::Said::SERVICE;
    let metrics = Metrics::start()?;
    let edge = Edge::new(settings)?;
    let url: String = settings.or("NATS_URL", "nats://127.0.0.1:4222".to_owned())?;
    let keeping = keeping(settings)?;
    let limits = CallLimits {
        ack_wait: settings.duration("ACK_WAIT", Duration::from_secs(10))?,
        give_up_calls: settings.duration("CALL_GIVE_UP", Duration::from_secs(3_600))?,
    };
    let mut stopping = stop.clone();
    let begun = async {
        let broker = Broker::connect(&url, &format!("quadrille-{name}")).await?;
        let replicas = ensure(&broker, contract, name, keeping).await?;
        anyhow::Ok(Store::new(broker, contract, name, replicas, keeping.retention))
    };
    let store = tokio::select! {
        store = begun => store?,
        () = stopped(&mut stopping) => return Ok(()),
    };

    let service = Arc::new(service);
    let wires: Wires<S::Input> = Arc::new(service.wires());
    let broker = store.broker.clone();
    let (inputs, gathered) = mpsc::channel(QUEUE);
    let (mut background, pulling, listeners) = start_listeners(&store, &wires, &inputs, limits, &stop);
    background.spawn(meters::keep(metrics.clone(), broker.clone(), name, stop.clone()));
    background.spawn(keep_log(broker.clone(), contract, keeping, stop.clone()));
    let door = Door {
        service: service.clone(),
        store: store.clone(),
        inputs,
        wires,
        pulling,
        listeners,
        stop: stop.clone(),
    };
    let mut engine = tokio::spawn(Engine::new(service, store, gathered, limits, stop.clone()).run());

    let address = listener.local_addr()?;
    let app = service_routes(routes(door.clone()), door, metrics, &edge);
    let serving_stop = stop.clone();
    let mut serving = tokio::spawn(async move { edge.serve(listener, app, serving_stop).await });
    info!(service = name, "listening on http://{address}");

    tokio::select! {
        ended = &mut engine => {
            ended.context("the engine panicked; the log says where")?;
            if !*stop.borrow() {
                bail!("the engine ended by itself");
            }
        }
        served = &mut serving => {
            served.context("the HTTP server panicked")?;
            engine.await.context("the engine panicked; the log says where")?;
        }
        // Only a new process gets a connection again.
        () = broker.died() => bail!("the NATS client has died; the log says where"),
    }
    let finish = async {
        while background.join_next().await.is_some() {}
        if !serving.is_finished() {
            let _ = serving.await;
        }
        // Acknowledgements that were not sent would lead to redeliveries.
        let _ = broker.client().flush().await;
    };
    if tokio::time::timeout(STOP_TIMEOUT, finish).await.is_err() {
        warn!("some connections were still open after {STOP_TIMEOUT:?}; they are closed");
    }
    info!(service = name, "stopped");
    Ok(())
}

/// Starts one listener for each bucket that the wires name. Returns them, how many are pulling, and how many there are.
fn start_listeners<S: Service>(
    store: &Store,
    wires: &Wires<S::Input>,
    inputs: &mpsc::Sender<PendingInput<S>>,
    limits: CallLimits,
    stop: &watch::Receiver<bool>,
) -> (JoinSet<()>, Arc<AtomicUsize>, usize) {
    let speakers: BTreeSet<&'static str> = wires.iter().map(|wire| wire.name.service).collect();
    let pulling = Arc::new(AtomicUsize::new(0));
    let mut listening = JoinSet::new();
    for speaker in &speakers {
        let listener = Listener::<S> {
            store: store.clone(),
            speaker,
            wires: wires.clone(),
            inputs: inputs.clone(),
            ack_wait: limits.ack_wait,
            redeliveries: store.meters.redeliveries(speaker),
            pulling: pulling.clone(),
            stop: stop.clone(),
        };
        listening.spawn(listener.run());
    }
    (listening, pulling, speakers.len())
}

fn keeping(settings: &Settings) -> anyhow::Result<Keeping> {
    let replicas = settings.or("REPLICAS", 1)?;
    if !(1..=5).contains(&replicas) {
        bail!("REPLICAS={replicas}: must be 1, 3 or 5");
    }
    let day = Duration::from_secs(86_400);
    Ok(Keeping {
        replicas,
        retention: settings.retention()?,
        events_max_age: settings.duration("EVENTS_MAX_AGE", 7 * day)?,
    })
}

fn bind(settings: &Settings, default_port: u16) -> anyhow::Result<TcpListener> {
    let port: u16 = settings.or("PORT", default_port)?;
    let host: std::net::IpAddr = settings.or("BIND", std::net::Ipv4Addr::LOCALHOST.into())?;
    let address = SocketAddr::new(host, port);
    listen(address).with_context(|| {
        format!(
            "cannot listen on {address}: is another instance running? PORT chooses another port, 0 a free one"
        )
    })
}
