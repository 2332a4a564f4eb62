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

use crate::engine::held::HeldInputs;
use crate::engine::input::PendingInput;
use crate::engine::listener::Listener;
use crate::engine::retention::guard_retention;
use crate::engine::store::Store;
use crate::engine::wires::Wires;
use crate::engine::{Engine, QUEUE};
use crate::http::Edge;
use crate::http::door::Door;
use crate::http::routes::service_routes;
use crate::http::server::listen;
use crate::nats::log::keep_log;
use crate::nats::streams::{Keeping, ensure};
use crate::nats::{Broker, EXPIRES};
use crate::settings::Settings;
use crate::shutdown::{stop_signal, stopped};
use crate::telemetry::log::{FLUSH_TIMEOUT, Telemetry};
use crate::telemetry::meters::{self, Metrics};

/// After this time the inputs of an instance that died come to another one, unless `ACK_WAIT` is set. Long enough that a broker
/// which is busy for a moment does not redeliver what is held.
const ACK_WAIT: Duration = Duration::from_secs(2);

/// How long a stop may take: the pulls that are open, the group in progress, the requests that wait for it, what is given back.
const STOP_TIMEOUT: Duration = Duration::from_secs(4);
// Within 5 s a service promises to stop.
const _: () = assert!(STOP_TIMEOUT.as_millis() + FLUSH_TIMEOUT.as_millis() < 5_000);
// Half of it is left when the pulls have ended.
const _: () = assert!(EXPIRES.as_millis() * 2 <= STOP_TIMEOUT.as_millis());

/// The `main` of a service: reads the settings, runs it until SIGTERM or Ctrl-C, and prints one sentence if
/// it cannot.
///
/// Settings: `NATS_URL` (`nats://127.0.0.1:4222`), `NATS_CREDS`, `BIND` (`127.0.0.1`), `PORT` (0 takes a free one),
/// `REPLICAS` (1), `RETENTION` (30d), `EVENTS_MAX_AGE` (7d), `ACK_WAIT` (2s), `CALL_GIVE_UP` (1h), `RUST_LOG`
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
    let ack_wait = settings.duration("ACK_WAIT", ACK_WAIT)?;
    let give_up_calls = settings.duration("CALL_GIVE_UP", Duration::from_secs(3_600))?;
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
    let held = HeldInputs::default();
    let (listening, pulling, listeners) = start_listeners(&store, &wires, &inputs, &held, ack_wait, &stop);
    let mut background = JoinSet::new();
    background.spawn(meters::keep(metrics.clone(), broker.clone(), name, stop.clone()));
    background.spawn(keep_log(broker.clone(), contract, keeping, stop.clone()));
    let (guarding, refusal) = guard_retention::<S>(&store, stop.clone());
    background.spawn(guarding);
    let door = Door {
        service: service.clone(),
        store: store.clone(),
        refusal,
        inputs,
        wires,
        pulling,
        listeners,
        stop: stop.clone(),
    };
    // The engine goes on until the listeners have ended, so that what they still bring is handled.
    let (handing_over, hand_over) = watch::channel(false);
    let engine = Engine::new(service, store, gathered, give_up_calls, hand_over);
    let mut engine = tokio::spawn(engine.run());
    let keep_alive = tokio::spawn(held.clone().keep_alive(broker.clone(), ack_wait));

    let address = listener.local_addr()?;
    let app = service_routes(routes(door.clone()), door, metrics, &edge);
    let serving_stop = stop.clone();
    let mut serving = tokio::spawn(async move { edge.serve(listener, app, serving_stop).await });
    info!(service = name, "listening on http://{address}");

    tokio::select! {
        ended = &mut engine => {
            ended.context("the engine panicked; the log says where")?;
            bail!("the engine ended by itself");
        }
        served = &mut serving => served.context("the HTTP server panicked")?,
        // Only a new process gets a connection again.
        () = broker.died() => bail!("the NATS client has died; the log says where"),
        () = stopped(&mut stopping) => {}
    }
    let finish = async {
        listening.join_all().await;
        let _ = handing_over.send(true);
        engine.await.context("the engine panicked; the log says where")?;
        background.join_all().await;
        if !serving.is_finished() {
            let _ = serving.await;
        }
        settled(&held, &broker).await;
        anyhow::Ok(())
    };
    match tokio::time::timeout(STOP_TIMEOUT, finish).await {
        Ok(ended) => ended?,
        Err(_) => warn!("not everything has ended within {STOP_TIMEOUT:?}; it is cut off"),
    }
    keep_alive.abort();
    info!(service = name, "stopped");
    Ok(())
}

/// Waits until nothing is held any more, and the broker knows that.
async fn settled(held: &HeldInputs, broker: &Broker) {
    // Outside calls and dead letters end beside the engine.
    held.emptied().await;
    // Acknowledgements that do not arrive would lead to redeliveries.
    if let Err(error) = broker.sent_everything().await {
        warn!(%error, "the last inputs come again");
    }
}

/// Starts one listener for each bucket that the wires name. Returns them, how many are pulling, and how many there are.
fn start_listeners<S: Service>(
    store: &Store,
    wires: &Wires<S::Input>,
    inputs: &mpsc::Sender<PendingInput<S>>,
    held: &HeldInputs,
    ack_wait: Duration,
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
            held: held.clone(),
            ack_wait,
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
