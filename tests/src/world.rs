//! A running system of a test's own.

use std::process::ExitStatus;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, bail};
use quadrille_local::client::Api;
use quadrille_local::{
    Cluster, Instance, Launch, NatsServer, NatsServerBuilder, Process, Service, System, SystemBuilder,
};
use quadrille_runtime::operator::Operator;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::{PATIENCE, PAY_FIRST, PLENTY, RESERVE_FIRST, SOLD_OUT, build, eventually, quadrille};

/// How a world differs from the usual one: a [`SystemBuilder`], and the flow.
#[derive(Clone)]
pub struct Options {
    system: SystemBuilder,
    instances: usize,
    flow: &'static str,
}

impl Default for Options {
    /// One instance of everything, in the flow that `FLOW` says: `FLOW=reserve-first` runs all stories in the other one.
    fn default() -> Self {
        let reserve_first = std::env::var("FLOW").is_ok_and(|flow| flow == RESERVE_FIRST);
        let flow = if reserve_first { RESERVE_FIRST } else { PAY_FIRST };
        Self {
            system: System::builder().patience(PATIENCE).env("FLOW", flow),
            instances: 1,
            flow,
        }
    }
}

impl Options {
    /// The number of instances of every service.
    #[must_use]
    pub fn instances(mut self, instances: usize) -> Self {
        self.instances = instances;
        self.system = self.system.instances(instances);
        self
    }

    /// Starts the services in this order, each ready before the next one starts.
    #[must_use]
    pub fn in_order(mut self, order: [Service; 4]) -> Self {
        self.system = self.system.in_order(order);
        self
    }

    /// Sets an environment variable of every service.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.system = self.system.env(name, value);
        self
    }

    /// Asks for stock before money.
    #[must_use]
    pub fn reserve_first(mut self) -> Self {
        self.flow = RESERVE_FIRST;
        self.env("FLOW", RESERVE_FIRST)
    }

    /// Stands on a nats-server of this kind.
    #[must_use]
    pub fn server(mut self, server: NatsServerBuilder) -> Self {
        self.system = self.system.server(server);
        self
    }

    /// Stands on a cluster of three nats-servers.
    #[must_use]
    pub fn cluster(mut self) -> Self {
        self.system = self.system.cluster();
        self
    }

    /// The services connect to the broker through this URL: a proxy.
    #[must_use]
    pub fn through(mut self, nats_url: &str) -> Self {
        self.system = self.system.through(nats_url);
        self
    }

    /// Starts it, with plenty of apples, pears and plums, an item that is sold out, and two couriers who can carry them all.
    pub async fn start(self) -> Result<World> {
        let world = self.start_empty().await?;
        let (items, couriers) = (["apple", "pear", "plum"], ["grace", "linus"]);
        world.open(&items, &couriers, PLENTY).await?;
        world.open(&[SOLD_OUT], &[], 0).await?;
        Ok(world)
    }

    /// Starts it with nothing in stock and no couriers.
    pub async fn start_empty(self) -> Result<World> {
        build()?;
        let system = self.system.start().await?;
        let operator = Operator::connect(system.nats_url()).await?;
        let apis = (0..self.instances).map(|number| system.api(number));
        Ok(World {
            nats_url: system.nats_url().to_owned(),
            operator,
            apis: apis.collect::<Result<_>>()?,
            turn: AtomicUsize::new(0),
            flow: self.flow,
            system,
        })
    }
}

/// A nats-server, the four services, and clients of them. All of it ends with this handle; if the test has failed, its logs
/// are shown.
pub struct World {
    system: System,
    /// Where the server is, or the servers, with commas.
    pub nats_url: String,
    pub operator: Operator,
    apis: Vec<Api>,
    turn: AtomicUsize,
    flow: &'static str,
}

impl World {
    /// Starts the usual one.
    pub async fn start() -> Result<Self> {
        Options::default().start().await
    }

    /// Describes one that differs.
    pub fn with() -> Options {
        Options::default()
    }

    /// [`PAY_FIRST`] or [`RESERVE_FIRST`].
    pub fn flow(&self) -> &'static str {
        self.flow
    }

    /// The service that hears `order.created`: payment, or inventory in the other flow.
    pub fn hears_orders(&self) -> Service {
        if self.flow == PAY_FIRST {
            Service::Payment
        } else {
            Service::Inventory
        }
    }

    /// Opens the shop with so much of each item, and couriers of that capacity.
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

    /// Its clients, one for each instance of every service.
    pub(crate) fn apis(&self) -> &[Api] {
        &self.apis
    }

    /// Its cluster, if it has one.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.system.cluster()
    }

    /// Starts a console for it; returns once that has read the log.
    pub async fn console(&self) -> Result<Instance> {
        let mut console = self.launch_console()?.start()?;
        console.wait_ready(PATIENCE).await?;
        Ok(console)
    }

    /// Runs `quadrille` against it; returns whether that succeeded, and what it printed.
    pub async fn quadrille(&self, args: &[&str]) -> Result<(bool, String)> {
        let mut builder = Process::builder("quadrille", quadrille()?).env("NATS_URL", &self.nats_url);
        for service in Service::ALL {
            let port = self.api().url(service).rsplit(':').next().unwrap_or_default();
            builder = builder.env(service.port_variable(), port);
        }
        for arg in args {
            builder = builder.arg(arg);
        }
        let mut process = builder.start()?;
        let ended = tokio::time::timeout(PATIENCE, process.wait()).await;
        let status = ended.context("quadrille does not end")??;
        Ok((status.success(), process.log().join("\n")))
    }

    /// Describes a console for it, to be started with settings of its own.
    pub fn launch_console(&self) -> Result<Launch> {
        self.system.launch_console()
    }

    /// Kills an instance of a service with SIGKILL.
    pub async fn kill9(&self, service: Service, instance: usize) -> Result<()> {
        self.with_instance(service, instance, async |instance| instance.kill9().await)
            .await
    }

    /// The last lines that an instance of a service wrote.
    pub async fn log(&self, service: Service, instance: usize) -> Result<Vec<String>> {
        self.with_instance(service, instance, async |instance| Ok(instance.log()))
            .await
    }

    /// Stops an instance of a service with SIGTERM, and returns how it ended.
    pub async fn terminate(&self, service: Service, instance: usize) -> Result<ExitStatus> {
        self.with_instance(service, instance, async |instance| instance.terminate().await)
            .await
    }

    /// Starts an instance of a service again, where it was; returns when it is ready.
    pub async fn restart(&self, service: Service, instance: usize) -> Result<()> {
        let restart = async |instance: &mut Instance| instance.restart(PATIENCE).await;
        self.with_instance(service, instance, restart).await
    }

    /// Freezes an instance of a service with SIGSTOP.
    pub async fn freeze(&self, service: Service, instance: usize) -> Result<()> {
        self.with_instance(service, instance, async |instance| instance.stop())
            .await
    }

    /// Resumes a frozen instance.
    pub async fn thaw(&self, service: Service, instance: usize) -> Result<()> {
        self.with_instance(service, instance, async |instance| instance.cont())
            .await
    }

    async fn with_instance<T>(
        &self,
        service: Service,
        number: usize,
        act: impl AsyncFnOnce(&mut Instance) -> Result<T>,
    ) -> Result<T> {
        self.system.with_instance(service, number, act).await
    }

    /// Kills the nats-server with SIGKILL and starts it again, on the same port and data.
    pub async fn restart_nats(&self) -> Result<()> {
        self.with_nats(0, async |server| server.restart().await).await
    }

    /// Does something with one of the servers: kills, freezes, restarts it.
    pub async fn with_nats<T>(
        &self,
        number: usize,
        act: impl AsyncFnOnce(&mut NatsServer) -> Result<T>,
    ) -> Result<T> {
        self.system.with_server(number, act).await
    }

    /// The processes of the services and servers, with their names.
    pub async fn process_ids(&self) -> Vec<(&'static str, u32)> {
        self.system.process_ids().await
    }

    /// The instances that have ended without being told to, each a sentence.
    pub async fn deaths(&self) -> Result<Vec<String>> {
        self.system.deaths().await
    }

    /// Stores a message with headers that no client would write, byte for byte.
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
}

impl Drop for World {
    fn drop(&mut self) {
        // `STORY_LOGS=1 cargo test ... -- --nocapture` shows them anyway.
        if std::thread::panicking() || std::env::var_os("STORY_LOGS").is_some() {
            eprintln!("{}", self.system.logs());
        }
    }
}
