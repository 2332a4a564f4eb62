//! What the stories stand on: a [`World`] with a real nats-server and the real service programs, of its own.
//!
//! Everything is awaited by a condition, with a deadline; no story sleeps, and no port is fixed.

mod provider;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use quadrille_audit::{Books, Report, audit};
use quadrille_events::{Event, OrderId, PaymentEvent};
use quadrille_local::client::{Api, NewOrder, OrderView, until};
use quadrille_local::{NatsServer, Process, Service, console, free_port, repo_root};
use quadrille_runtime::operator::Operator;
use quadrille_runtime::operator::story::{Story, Telling};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

pub use provider::Provider;

/// How long anything awaited may take. Much longer than it ever does; it only ends a test that has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How many requests a crowd sends at once.
const CROWD: usize = 32;
/// What there is of every item that nobody runs out of.
pub const PLENTY: u64 = 10_000;

/// Money before stock.
pub const PAY_FIRST: &str = "pay-first";
/// Stock before money.
pub const RESERVE_FIRST: &str = "reserve-first";

/// How a world differs from the usual one.
#[derive(Clone, Debug)]
pub struct Options {
    instances: usize,
    order: Vec<Service>,
    env: Vec<(String, String)>,
    flow: &'static str,
    through: Option<String>,
}

impl Default for Options {
    /// One instance of everything, in the flow that `FLOW` says: `FLOW=reserve-first` runs all stories in the other one.
    fn default() -> Self {
        let reserve_first = std::env::var("FLOW").is_ok_and(|flow| flow == RESERVE_FIRST);
        Self {
            instances: 1,
            order: Service::ALL.to_vec(),
            env: Vec::new(),
            flow: if reserve_first { RESERVE_FIRST } else { PAY_FIRST },
            through: None,
        }
    }
}

impl Options {
    /// So many instances of every service.
    #[must_use]
    pub fn instances(mut self, instances: usize) -> Self {
        self.instances = instances;
        self
    }

    /// Starts the services in this order, each ready before the next one starts.
    #[must_use]
    pub fn in_order(mut self, order: [Service; 4]) -> Self {
        self.order = order.to_vec();
        self
    }

    /// A setting of every service.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Stock is asked for before money.
    #[must_use]
    pub fn reserve_first(mut self) -> Self {
        self.flow = RESERVE_FIRST;
        self
    }

    /// The services find the broker here, behind a proxy say, and not where it is.
    #[must_use]
    pub fn through(mut self, nats_url: &str) -> Self {
        self.through = Some(nats_url.to_owned());
        self
    }

    /// Starts it, with plenty of apples, pears and plums, and two couriers who can carry them all.
    ///
    /// # Errors
    /// Something does not start; quotes its log.
    pub async fn start(self) -> Result<World> {
        let world = self.start_empty().await?;
        let (items, couriers) = (["apple", "pear", "plum"], ["grace", "linus"]);
        world.open(&items, &couriers, PLENTY).await?;
        Ok(world)
    }

    /// Starts it with nothing in stock and nobody to bring it.
    ///
    /// # Errors
    /// As [`Options::start`].
    pub async fn start_empty(self) -> Result<World> {
        self.start_on(vec![NatsServer::builder().start().await?]).await
    }

    /// Starts the services on this server, or on these of a cluster, with nothing in stock.
    ///
    /// # Errors
    /// As [`Options::start`].
    pub async fn start_on(self, nats: Vec<NatsServer>) -> Result<World> {
        build()?;
        let urls: Vec<String> = nats.iter().map(NatsServer::url).collect();
        let nats_url = urls.join(",");
        let mut services: BTreeMap<Service, Vec<Instance>> = BTreeMap::new();
        let in_turn = self.order != Service::ALL;
        for service in &self.order {
            for _ in 0..self.instances {
                let mut instance = Instance::start(*service, &nats_url, &self)?;
                if in_turn {
                    instance.wait_ready().await?;
                }
                services.entry(*service).or_default().push(instance);
            }
        }
        for instance in services.values_mut().flatten() {
            instance.wait_ready().await?;
        }
        let operator = Operator::connect(&nats_url).await?;
        let apis = (0..self.instances)
            .map(|n| Api::at(Service::ALL.map(|service| services[&service][n].url.clone())))
            .collect::<Result<_>>()?;
        let turn = AtomicUsize::new(0);
        Ok(World {
            services: Mutex::new(services),
            nats: Mutex::new(nats),
            nats_url,
            operator,
            apis,
            turn,
            options: self,
        })
    }
}

/// One running instance of a service.
struct Instance {
    service: Service,
    process: Process,
    url: String,
}

impl Instance {
    /// Starts it on a port of its own, which nobody else gets while it is down.
    fn start(service: Service, nats_url: &str, options: &Options) -> Result<Self> {
        Ok(Self {
            service,
            process: Self::process(service, nats_url, free_port()?, options)?,
            url: String::new(),
        })
    }

    fn process(service: Service, nats_url: &str, port: u16, options: &Options) -> Result<Process> {
        let nats_url = options.through.as_deref().unwrap_or(nats_url);
        let mut builder = service.on(nats_url, port)?.env("FLOW", options.flow);
        for (name, value) in &options.env {
            builder = builder.env(name, value);
        }
        builder.start()
    }

    async fn wait_ready(&mut self) -> Result<()> {
        if self.url.is_empty() {
            self.url = self.process.wait_ready(PATIENCE).await?;
        }
        Ok(())
    }

    fn port(&self) -> Result<u16> {
        let port = self.url.rsplit(':').next().unwrap_or_default();
        port.parse().with_context(|| format!("no port in {}", self.url))
    }

    /// Starts it again where it was.
    async fn restart(&mut self, nats_url: &str, options: &Options) -> Result<()> {
        let (service, port) = (self.service, self.port()?);
        (self.process, self.url) = ready(|| Self::process(service, nats_url, port, options)).await?;
        Ok(())
    }
}

/// Starts a program, again if its port is taken: somebody's outgoing connection may have got it for a moment, where these
/// come from the same range. Returns it when it is ready, and where it is.
async fn ready(start: impl Fn() -> Result<Process>) -> Result<(Process, String)> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut process = start()?;
        match process.wait_ready(PATIENCE).await {
            Ok(url) => return Ok((process, url)),
            Err(error) if format!("{error:#}").contains("cannot listen") && Instant::now() < deadline => {}
            Err(error) => return Err(error),
        }
    }
}

/// A nats-server, the four services, and those who talk to them. All of it ends with this handle; if the test has
/// failed, its logs are shown.
pub struct World {
    // Dropped in this order: services before the server that they talk to.
    services: Mutex<BTreeMap<Service, Vec<Instance>>>,
    nats: Mutex<Vec<NatsServer>>,
    /// Where the server is, or the servers.
    pub nats_url: String,
    /// Looks into every stream.
    pub operator: Operator,
    apis: Vec<Api>,
    turn: AtomicUsize,
    options: Options,
}

impl World {
    /// The usual one.
    ///
    /// # Errors
    /// As [`Options::start`].
    pub async fn start() -> Result<Self> {
        Options::default().start().await
    }

    /// One that differs.
    pub fn with() -> Options {
        Options::default()
    }

    /// [`PAY_FIRST`] or [`RESERVE_FIRST`].
    pub fn flow(&self) -> &'static str {
        self.options.flow
    }

    /// Who hears `order.created`: payment, or whoever is asked first in the other flow.
    pub fn hears_orders(&self) -> Service {
        if self.options.flow == PAY_FIRST {
            Service::Payment
        } else {
            Service::Inventory
        }
    }

    /// Opens the shop: there is so much of each item, and each courier can carry as much.
    ///
    /// # Errors
    /// The services do not take it in time.
    pub async fn open(&self, items: &[&str], couriers: &[&str], quantity: u64) -> Result<()> {
        for item in items {
            eventually(async || Ok(Some(self.api().put_item(item, quantity).await?))).await?;
        }
        for courier in couriers {
            eventually(async || Ok(Some(self.api().put_courier(courier, quantity).await?))).await?;
        }
        Ok(())
    }

    /// The services' HTTP. With several instances each call speaks to the next ones.
    pub fn api(&self) -> &Api {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        &self.apis[turn % self.apis.len()]
    }

    /// Starts a console for it on this port, 0 for a free one; returns where, once it has read the log.
    ///
    /// # Errors
    /// It does not start.
    pub async fn console(&self, port: u16) -> Result<(Process, String)> {
        let (order, payment) = (self.api().url(Service::Order), self.api().url(Service::Payment));
        let port = if port == 0 { free_port()? } else { port };
        ready(|| console::on(&self.nats_url, port, order, payment)?.start()).await
    }

    /// Kills an instance of a service with SIGKILL.
    ///
    /// # Errors
    /// It cannot be killed.
    pub async fn kill9(&self, service: Service, instance: usize) -> Result<()> {
        self.with_instance(service, instance, async |instance| instance.process.kill9().await)
            .await
    }

    /// The last lines that an instance of a service wrote.
    ///
    /// # Errors
    /// There is no such instance.
    pub async fn log(&self, service: Service, instance: usize) -> Result<Vec<String>> {
        let lines = async |instance: &mut Instance| {
            let lines = instance.process.log().into_iter();
            Ok(lines.map(|line| line.text).collect())
        };
        self.with_instance(service, instance, lines).await
    }

    /// Asks an instance of a service to stop, with SIGTERM, and returns how it ended.
    ///
    /// # Errors
    /// It did not stop in time.
    pub async fn terminate(&self, service: Service, instance: usize) -> Result<ExitStatus> {
        self.with_instance(service, instance, async |instance| {
            instance.process.terminate().await
        })
        .await
    }

    /// Starts an instance of a service again, where it was; returns when it is ready.
    ///
    /// # Errors
    /// It does not start.
    pub async fn restart(&self, service: Service, instance: usize) -> Result<()> {
        let restart = async |instance: &mut Instance| instance.restart(&self.nats_url, &self.options).await;
        self.with_instance(service, instance, restart).await
    }

    /// Freezes an instance of a service: it hears nothing and says nothing.
    ///
    /// # Errors
    /// The signal cannot be sent.
    pub async fn freeze(&self, service: Service, instance: usize) -> Result<()> {
        self.with_instance(service, instance, async |instance| instance.process.stop())
            .await
    }

    /// Lets a frozen instance go on.
    ///
    /// # Errors
    /// The signal cannot be sent.
    pub async fn thaw(&self, service: Service, instance: usize) -> Result<()> {
        self.with_instance(service, instance, async |instance| instance.process.cont())
            .await
    }

    async fn with_instance<T>(
        &self,
        service: Service,
        number: usize,
        act: impl AsyncFnOnce(&mut Instance) -> Result<T>,
    ) -> Result<T> {
        let mut services = self.services.lock().await;
        let instance = services
            .get_mut(&service)
            .and_then(|instances| instances.get_mut(number));
        act(instance.with_context(|| format!("there is no instance {number} of {}", service.name()))?).await
    }

    /// Kills the nats-server with SIGKILL and starts it again, on the same port and data.
    ///
    /// # Errors
    /// It does not start.
    pub async fn restart_nats(&self) -> Result<()> {
        self.with_nats(0, async |server| server.restart().await).await
    }

    /// Does something with one of the servers: kills, freezes, restarts it.
    ///
    /// # Errors
    /// What `act` fails with.
    pub async fn with_nats<T>(
        &self,
        number: usize,
        act: impl AsyncFnOnce(&mut NatsServer) -> Result<T>,
    ) -> Result<T> {
        let mut servers = self.nats.lock().await;
        let server = servers.get_mut(number);
        act(server.with_context(|| format!("there is no nats-server {number}"))?).await
    }

    /// Stores a message with headers that no client would write, byte for byte.
    ///
    /// # Errors
    /// The server does not take it.
    pub async fn publish_bytes(&self, subject: &str, headers: &[u8], body: &[u8]) -> Result<()> {
        let address = self.nats_url.trim_start_matches("nats://");
        let mut server = BufReader::new(TcpStream::connect(address).await?);
        let (some, all) = (headers.len(), headers.len() + body.len());
        let head = format!("CONNECT {{\"headers\":true}}\r\nHPUB {subject} {some} {all}\r\n");
        let message = [head.as_bytes(), headers, body, b"\r\nPING\r\n"].concat();
        server.write_all(&message).await?;
        let mut line = String::new();
        while server.read_line(&mut line).await? > 0 {
            match line.trim_end() {
                "PONG" => return Ok(()),
                error if error.starts_with("-ERR") => bail!("the server says {error}"),
                _ => line.clear(),
            }
        }
        bail!("the server has closed the connection")
    }

    /// Waits until so many messages are in the bucket of a service, or in `EVENTS`: the middle of something.
    ///
    /// # Errors
    /// They are not in time.
    pub async fn holds(&self, service_or_events: &str, messages: u64) -> Result<()> {
        let holds = eventually(async || {
            let size = self.operator.size(service_or_events).await?;
            Ok((size.messages >= messages).then_some(()))
        });
        holds
            .await
            .with_context(|| format!("{service_or_events} has not held {messages} messages"))
    }

    /// Waits until so many messages were ever stored there, some of which may have been replaced or gone since.
    ///
    /// # Errors
    /// They are not in time.
    pub async fn holds_ever(&self, service_or_events: &str, messages: u64) -> Result<()> {
        let holds = eventually(async || {
            let size = self.operator.size(service_or_events).await?;
            Ok((size.last_sequence >= messages).then_some(()))
        });
        holds
            .await
            .with_context(|| format!("{service_or_events} has not been given {messages} messages"))
    }

    /// The instances that have ended by themselves, each a sentence.
    ///
    /// # Errors
    /// A process cannot be looked at.
    pub async fn deaths(&self) -> Result<Vec<String>> {
        let mut deaths = Vec::new();
        for instance in self.services.lock().await.values_mut().flatten() {
            if let Some(status) = instance.process.try_status()? {
                deaths.push(format!("{:#}", instance.process.death(status)));
            }
        }
        Ok(deaths)
    }

    /// Places an order, which must be accepted.
    ///
    /// # Errors
    /// It is not.
    pub async fn place(&self, order: NewOrder) -> Result<OrderId> {
        Ok(self.api().create_order(&order).await?.order_id)
    }

    /// Places many orders at once. Whoever gets no answer asks again, with the same idempotency key; so this works while
    /// services are being killed.
    ///
    /// # Errors
    /// One is refused, or cannot be placed in time.
    pub async fn place_many(&self, count: usize, order: impl Fn(usize) -> NewOrder) -> Result<Vec<OrderId>> {
        let placed = stream::iter(0..count).map(|number| {
            let order = order(number);
            async move { self.place_surely(&order, &format!("order-{number}")).await }
        });
        placed
            .buffer_unordered(CROWD)
            .collect::<Vec<_>>()
            .await
            .into_iter()
            .collect()
    }

    /// Places an order, asking again while the answer is in doubt.
    ///
    /// # Errors
    /// As [`World::place_many`].
    pub async fn place_surely(&self, order: &NewOrder, key: &str) -> Result<OrderId> {
        let mut doubt = None;
        let placed = until(PATIENCE, async || {
            match self.api().create_order_once(order, key).await {
                Ok(placed) => Ok(Some(placed.order_id)),
                Err(error) if error.is_in_doubt() => {
                    doubt = Some(error);
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        });
        match placed.await? {
            Some(order_id) => Ok(order_id),
            None => bail!("an order could not be placed within {PATIENCE:?}: {doubt:?}"),
        }
    }

    /// Waits until an order is completed or cancelled, by the word of any instance: some may be dead.
    ///
    /// # Errors
    /// It is not in time; tells its story so far.
    pub async fn ended(&self, order_id: &OrderId) -> Result<OrderView> {
        if let [only] = self.apis.as_slice() {
            return only.wait_until_ended(order_id, PATIENCE).await;
        }
        let ended = until(PATIENCE, async || match self.api().order(order_id).await {
            Ok(order) => Ok(order.has_ended().then_some(order)),
            Err(error) if error.is_in_doubt() => Ok(None),
            Err(error) => Err(error),
        });
        match ended.await? {
            Some(order) => Ok(order),
            None => bail!(
                "order {order_id} has not ended within {PATIENCE:?}; so far:\n{}",
                Story::so_far(&self.operator, order_id)
                    .await?
                    .tell(Telling::Timed)
            ),
        }
    }

    /// Waits until all of these are completed or cancelled.
    ///
    /// # Errors
    /// As [`World::ended`].
    pub async fn all_ended(&self, order_ids: &[OrderId]) -> Result<Vec<OrderView>> {
        let ended = stream::iter(order_ids).map(|order_id| self.ended(order_id));
        ended
            .buffered(CROWD)
            .collect::<Vec<_>>()
            .await
            .into_iter()
            .collect()
    }

    /// Waits until an event was said of an order: `payment.opened`.
    ///
    /// # Errors
    /// It is not in time; tells its story so far.
    pub async fn said(&self, event: &str, order_id: &OrderId) -> Result<()> {
        let said = eventually(async || {
            let story = self.operator.history(order_id).await?;
            Ok(story.iter().any(|entry| entry.event == event).then_some(()))
        });
        match said.await {
            Ok(()) => Ok(()),
            Err(why) => bail!(
                "nobody has said {event} of order {order_id}: {why:#}; so far:\n{}",
                Story::so_far(&self.operator, order_id)
                    .await?
                    .tell(Telling::Timed)
            ),
        }
    }

    /// Waits until the payment of an order is opened, and returns until when, as it is stored: payment itself says so only
    /// while it is open.
    ///
    /// # Errors
    /// It is not in time.
    pub async fn opened(&self, order_id: &OrderId) -> Result<Timestamp> {
        let subject = format!("$KV.payment.opened.{order_id}");
        let opened = eventually(async || {
            let entries = self.operator.entries_of(order_id, &[]).await?;
            let opened = entries.iter().find(|entry| entry.subject == subject);
            let opened = opened.map(|entry| Event::decode("payment", "opened", &entry.body));
            let Some(Event::Payment(PaymentEvent::Opened(opened))) = opened.transpose()? else {
                return Ok(None);
            };
            Ok(Some(opened.expires_at))
        });
        opened
            .await
            .with_context(|| format!("the payment of order {order_id} was not opened"))
    }

    /// Waits until everybody has handled everything.
    ///
    /// # Errors
    /// Somebody has not in time.
    pub async fn settle(&self) -> Result<()> {
        let mut lags = Vec::new();
        let settled = eventually(async || {
            lags = self.operator.lags().await?;
            let quiet = lags.iter().all(|lag| lag.pending == 0 && lag.unacknowledged == 0);
            Ok(quiet.then_some(()))
        });
        settled
            .await
            .with_context(|| format!("not all was handled: {lags:#?}"))
    }

    /// An order's whole story, told without what differs from run to run.
    ///
    /// # Errors
    /// It is not over in time.
    pub async fn story(&self, order_id: &OrderId) -> Result<String> {
        self.ended(order_id).await?;
        self.settle().await?;
        Ok(Story::so_far(&self.operator, order_id)
            .await?
            .tell(Telling::Timeless))
    }

    /// Audits everything: all invariants must hold, and no order may still wait for somebody.
    ///
    /// # Errors
    /// The report, if one does not.
    pub async fn audit(&self) -> Result<Report> {
        self.judge(self.report(None, PATIENCE).await?)
    }

    /// Audits everything, and the payment provider's books, which are looked at once nothing is on its way any more.
    ///
    /// # Errors
    /// As [`World::audit`].
    pub async fn audit_with(&self, books: impl FnOnce() -> Books) -> Result<Report> {
        self.settle().await?;
        self.judge(self.report(Some(&books()), PATIENCE).await?)
    }

    /// What an audit says that waits so long for everybody to come to rest.
    ///
    /// # Errors
    /// What is stored cannot be read.
    pub async fn report(&self, books: Option<&Books>, patience: Duration) -> Result<Report> {
        eventually(async || audit(&self.operator, books, patience).await.map(Some)).await
    }

    fn judge(&self, report: Report) -> Result<Report> {
        ensure!(report.is_clean(), "the audit found\n{report}");
        ensure!(
            report.waiting.is_empty(),
            "these orders still wait: {:#?}",
            report.waiting
        );
        Ok(report)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // `STORY_LOGS=1 cargo test ... -- --nocapture` shows them anyway.
        if !std::thread::panicking() && std::env::var_os("STORY_LOGS").is_none() {
            return;
        }
        for instance in self.services.get_mut().values_mut().flatten() {
            eprintln!("--- {} ({})", instance.service.name(), instance.url);
            let log = instance.process.log();
            for line in log.iter().skip(log.len().saturating_sub(40)) {
                eprintln!("    {}", line.text);
            }
        }
        for server in self.nats.get_mut() {
            eprintln!("--- nats-server {}\n{}", server.url(), server.log_tail());
        }
    }
}

/// Looks again and again until there is something. A look that fails is no reason to give up: a server that is being started,
/// or three of them in an election, do not answer.
///
/// # Errors
/// There is nothing within [`PATIENCE`]; says what the last look failed with, if it did.
pub async fn eventually<T>(mut look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let mut failed = None;
    let found = until(PATIENCE, async || {
        let looked = look().await;
        failed = looked.as_ref().err().map(|error| format!(": {error:#}"));
        anyhow::Ok(looked.unwrap_or_default())
    });
    let found = found.await?;
    found.with_context(|| format!("not within {PATIENCE:?}{}", failed.unwrap_or_default()))
}

/// Builds all programs once per process: cargo builds only the test's own package for a test, and a story of yesterday's
/// services proves nothing. Whoever has just built them all says so with `QUADRILLE_BUILT=1`. A program that stands
/// beside them was built with them.
///
/// # Errors
/// What cargo has to say.
pub fn build() -> Result<()> {
    static BUILT: OnceLock<std::result::Result<(), String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        if std::env::var_os("QUADRILLE_BUILT").is_some() {
            return Ok(());
        }
        let Some(folder) = test_folder() else {
            return Ok(());
        };
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--workspace", "--bins", "--locked", "--quiet"]);
        if folder.ends_with("release") {
            cargo.arg("--release");
        }
        // What the outer cargo says about this package would make build scripts run again, here and there.
        let about_us = [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_BIN_",
            "CARGO_CRATE_",
            "CARGO_PRIMARY_",
            "OUT_DIR",
        ];
        for (name, _) in std::env::vars_os() {
            if about_us
                .iter()
                .any(|prefix| name.to_string_lossy().starts_with(prefix))
            {
                cargo.env_remove(name);
            }
        }
        cargo
            .arg("--target-dir")
            .arg(folder.parent().unwrap_or(Path::new("target")))
            .current_dir(repo_root());
        let output = cargo
            .output()
            .map_err(|error| format!("cannot run cargo: {error}"))?;
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    });
    built
        .clone()
        .map_err(|error| anyhow!("the programs do not build:\n{error}"))
}

/// Says that something is left out, and what it lacks on this machine. On a developer's machine that may be; in CI there
/// has to be all that is tested with, unless the variable `unless` is set.
///
/// # Panics
/// `CI` is set, and `unless` is not.
pub fn leave_out(lacks: &str, unless: &str) {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    assert!(
        !is_set("CI") || is_set(unless),
        "{lacks}; {unless}=1 leaves out what is tested with it"
    );
    // Not `eprintln!`: of a test that passes, cargo shows nothing that was printed so.
    drop(writeln!(std::io::stderr(), "LEFT OUT: {lacks}"));
}

/// The `quadrille` program.
///
/// # Errors
/// It does not build.
pub fn quadrille() -> Result<PathBuf> {
    build()?;
    let folder = test_folder().context("this is no test: it is in no target folder")?;
    Ok(folder.join("quadrille"))
}

/// `target/debug` or `target/release`: where this test's own program came from, if it is a test.
fn test_folder() -> Option<PathBuf> {
    let exe = std::env::current_exe().ok()?;
    let deps = exe.ancestors().find(|folder| folder.ends_with("deps"))?;
    deps.parent().map(Path::to_owned)
}
