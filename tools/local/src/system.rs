//! A whole Quadrille: servers, services, perhaps the console. `run-all`, the stories, the faults and the bench all start
//! this one, so what is measured and tested is what a developer runs.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use futures::FutureExt as _;
use futures::future::{join_all, select_all, try_join_all};
use tokio::sync::Mutex;

use super::client::Api;
use super::cluster::Cluster;
use super::instance::{Instance, Launch};
use super::nats_server::{NatsServer, NatsServerBuilder, check_url};
use super::process::Process;
use super::program::{Program, Service, bind};

/// How long a program may take to be ready, unless the builder says otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

type OnLine = Arc<dyn Fn(Program, &str) + Send + Sync>;

/// Which NATS servers a system stands on.
#[derive(Clone, Debug)]
enum Broker {
    Own(NatsServerBuilder),
    Cluster,
    At(String),
}

/// What to start; see [`System::builder`].
#[derive(Clone)]
pub struct SystemBuilder {
    broker: Broker,
    through: Option<String>,
    order: Vec<Service>,
    one_by_one: bool,
    instances: usize,
    console: bool,
    ports: BTreeMap<Program, u16>,
    env: Vec<(Option<Program>, String, String)>,
    on_line: Option<OnLine>,
    programs: Option<PathBuf>,
    patience: Duration,
}

impl Default for SystemBuilder {
    fn default() -> Self {
        Self {
            broker: Broker::Own(NatsServer::builder()),
            through: None,
            order: Service::ALL.to_vec(),
            one_by_one: false,
            instances: 1,
            console: false,
            ports: BTreeMap::new(),
            env: Vec::new(),
            on_line: None,
            programs: None,
            patience: PATIENCE,
        }
    }
}

impl SystemBuilder {
    /// Stands on a nats-server of its own of this kind. By default: on a free port, with a temporary folder.
    #[must_use]
    pub fn server(mut self, server: NatsServerBuilder) -> Self {
        self.broker = Broker::Own(server);
        self
    }

    /// Stands on three nats-servers of its own that are one cluster; streams have three replicas.
    #[must_use]
    pub fn cluster(mut self) -> Self {
        self.broker = Broker::Cluster;
        self.env("REPLICAS", "3")
    }

    /// Stands on servers that run already: a URL, or several with commas.
    #[must_use]
    pub fn at(mut self, nats_url: &str) -> Self {
        self.broker = Broker::At(nats_url.to_owned());
        self
    }

    /// The services connect to this URL instead of the servers': a proxy in front of them.
    #[must_use]
    pub fn through(mut self, nats_url: &str) -> Self {
        self.through = Some(nats_url.to_owned());
        self
    }

    /// Starts the services in this order, each ready before the next one starts. By default all start at once.
    #[must_use]
    pub fn in_order(mut self, order: [Service; 4]) -> Self {
        self.order = order.to_vec();
        self.one_by_one = true;
        self
    }

    /// The number of instances of every service.
    #[must_use]
    pub fn instances(mut self, instances: usize) -> Self {
        self.instances = instances;
        self
    }

    /// Starts the console too, once the services are ready.
    #[must_use]
    pub fn console(mut self) -> Self {
        self.console = true;
        self
    }

    /// Listens with this program on this port; 0, the default, is any free one. Not for several instances.
    #[must_use]
    pub fn port(mut self, program: impl Into<Program>, port: u16) -> Self {
        self.ports.insert(program.into(), port);
        self
    }

    /// Sets an environment variable of every program; all others are inherited.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((None, name.to_owned(), value.to_owned()));
        self
    }

    /// Sets an environment variable of one program.
    #[must_use]
    pub fn env_of(mut self, program: impl Into<Program>, name: &str, value: &str) -> Self {
        self.env
            .push((Some(program.into()), name.to_owned(), value.to_owned()));
        self
    }

    /// Calls `on_line` with every line that a program writes; it must not block for long.
    #[must_use]
    pub fn on_line(mut self, on_line: impl Fn(Program, &str) + Send + Sync + 'static) -> Self {
        self.on_line = Some(Arc::new(on_line));
        self
    }

    /// Takes the executables from this folder: those of another build. By default from beside this executable.
    #[must_use]
    pub fn programs(mut self, folder: impl Into<PathBuf>) -> Self {
        self.programs = Some(folder.into());
        self
    }

    /// How long each program may take to be ready; 60 s by default.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Starts everything and waits until it is ready. If that fails, or the future is dropped, all of it is killed.
    pub async fn start(self) -> Result<System> {
        let mut system = self.unstarted();
        system.start().await?;
        Ok(system)
    }

    /// The system of which nothing is started yet: for whoever wants to stop it properly even if it never starts.
    pub fn unstarted(self) -> System {
        System {
            members: Vec::new(),
            servers: Vec::new(),
            cluster: None,
            nats_url: String::new(),
            builder: self,
        }
    }

    fn launch(&self, program: Program, nats_url: &str) -> Result<Launch> {
        let nats_url = self.through.as_deref().unwrap_or(nats_url);
        let executable = program.executable(self.programs.as_deref())?;
        let mut launch = Launch::new(program, executable, nats_url)?
            .port(self.ports.get(&program).copied().unwrap_or_default());
        for (whose, name, value) in &self.env {
            if whose.is_none_or(|whose| whose == program) {
                launch = launch.env(name, value);
            }
        }
        if let Some(on_line) = self.on_line.clone() {
            launch = launch.on_line(move |line| on_line(program, line));
        }
        Ok(launch)
    }

    /// Everything that can be refused before anything is started, so that no half of a system is started.
    fn check(&self) -> Result<()> {
        let programs: Vec<Program> = Program::ALL
            .into_iter()
            .filter(|program| self.console || *program != Program::Console)
            .collect();
        for program in &programs {
            program.executable(self.programs.as_deref())?;
        }
        let server = match &self.broker {
            Broker::Own(server) => server.fixed_port(),
            Broker::Cluster | Broker::At(_) => None,
        };
        let loopback = String::from("127.0.0.1");
        let server = server.map(|port| ("nats-server", loopback, port, "NATS_PORT"));
        let fixed = programs.iter().filter_map(|program| {
            let port = self.ports.get(program).copied().filter(|port| *port != 0)?;
            Some((program.name(), bind(), port, program.port_variable()))
        });
        let wanted: Vec<_> = server.into_iter().chain(fixed).collect();
        ensure!(
            self.instances == 1 || self.ports.values().all(|port| *port == 0),
            "several instances cannot listen on one port"
        );
        check_ports(&wanted)
    }
}

/// Refuses ports of which one is taken, or two are the same; each with its owner, address and environment variable.
fn check_ports(wanted: &[(&str, String, u16, &str)]) -> Result<()> {
    let mut held = Vec::new();
    let mut taken = Vec::new();
    for (name, host, port, variable) in wanted {
        match TcpListener::bind((host.as_str(), *port)) {
            // Held until all are looked at: two programs on one port are found too.
            Ok(listener) => held.push(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                taken.push(format!("{port} ({name}, {variable})"));
            }
            Err(error) => {
                return Err(error).with_context(|| {
                    format!("{name} cannot listen on {host} port {port} (BIND and {variable} say where)")
                });
            }
        }
    }
    ensure!(
        taken.is_empty(),
        "{} {} taken: stop what listens there (another Quadrille?), or move this one by setting the variable in brackets",
        if taken.len() == 1 { "port" } else { "ports" },
        if let [one] = taken.as_slice() {
            format!("{one} is")
        } else {
            format!("{} are", taken.join(", "))
        },
    );
    Ok(())
}

/// A started program and where it is; locked apart from the others, so that one can be restarted while another is.
struct Member {
    program: Program,
    url: String,
    instance: Mutex<Instance>,
}

/// A running Quadrille. Dropping it kills all of it; [`System::stop`] lets it finish first.
pub struct System {
    // Dropped in this order: programs before the servers that they are connected to.
    members: Vec<Member>,
    servers: Vec<Mutex<NatsServer>>,
    cluster: Option<Cluster>,
    nats_url: String,
    builder: SystemBuilder,
}

impl System {
    /// Describes a system to start; as it is, one instance of each service on a nats-server of its own, on free ports.
    pub fn builder() -> SystemBuilder {
        SystemBuilder::default()
    }

    /// Starts everything and waits until it is ready. May be dropped: what is started by then can still be stopped.
    pub async fn start(&mut self) -> Result<()> {
        self.builder.check()?;
        self.start_servers().await?;
        for service in self.builder.order.clone() {
            for _ in 0..self.builder.instances {
                let launch = self.builder.launch(service.into(), &self.nats_url)?;
                self.add(launch.start()?);
                if self.builder.one_by_one {
                    self.wait_ready().await?;
                }
            }
        }
        self.wait_ready().await?;
        if self.builder.console {
            let launch = self.launch_console()?;
            self.add(launch.start()?);
            self.wait_ready().await?;
        }
        Ok(())
    }

    async fn start_servers(&mut self) -> Result<()> {
        let servers = match self.builder.broker.clone() {
            Broker::At(url) => {
                check_url(&url).await?;
                self.nats_url = url;
                return Ok(());
            }
            Broker::Own(server) => vec![server.start().await?],
            Broker::Cluster => {
                let (cluster, servers) = Cluster::start().await?;
                self.cluster = Some(cluster);
                servers
            }
        };
        let urls: Vec<String> = servers.iter().map(NatsServer::url).collect();
        self.nats_url = urls.join(",");
        self.servers = servers.into_iter().map(Mutex::new).collect();
        Ok(())
    }

    fn add(&mut self, instance: Instance) {
        self.members.push(Member {
            program: instance.program(),
            url: instance.url().to_owned(),
            instance: Mutex::new(instance),
        });
    }

    /// Waits for all that are started. Their URLs may change: see [`Instance::wait_ready`].
    async fn wait_ready(&mut self) -> Result<()> {
        let patience = self.builder.patience;
        let waits = self.members.iter_mut().map(|member| async move {
            let instance = member.instance.get_mut();
            instance.wait_ready(patience).await?;
            member.url = instance.url().to_owned();
            anyhow::Ok(())
        });
        try_join_all(waits).await.map(drop)
    }

    /// Describes a console for this system: one more than [`SystemBuilder::console`] starts.
    pub fn launch_console(&self) -> Result<Launch> {
        let launch = self.builder.launch(Program::Console, &self.nats_url)?;
        Ok(launch
            .env("ORDER_URL", self.url(Service::Order, 0)?)
            .env("PAYMENT_URL", self.url(Service::Payment, 0)?)
            .env("INVENTORY_URL", self.url(Service::Inventory, 0)?)
            .env("DELIVERY_URL", self.url(Service::Delivery, 0)?))
    }

    /// Where its server is, or its servers, with commas.
    pub fn nats_url(&self) -> &str {
        &self.nats_url
    }

    /// Its cluster, if it has one.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// The base URL of the n-th instance of a program.
    pub fn url(&self, program: impl Into<Program>, number: usize) -> Result<&str> {
        Ok(&self.member(program.into(), number)?.url)
    }

    /// Programs and their base URLs, in the order in which they were started.
    pub fn urls(&self) -> impl Iterator<Item = (Program, &str)> {
        self.members
            .iter()
            .map(|member| (member.program, member.url.as_str()))
    }

    /// A client of the n-th instance of every service.
    pub fn api(&self, number: usize) -> Result<Api> {
        let [order, payment, inventory, delivery] =
            Service::ALL.map(|service| self.url(service, number).map(str::to_owned));
        Api::at([order?, payment?, inventory?, delivery?])
    }

    fn member(&self, program: Program, number: usize) -> Result<&Member> {
        let mut members = self.members.iter().filter(|member| member.program == program);
        members
            .nth(number)
            .with_context(|| format!("there is no instance {number} of {}", program.name()))
    }

    /// Does something with the n-th instance of a program: kills, freezes, restarts it.
    pub async fn with_instance<T>(
        &self,
        program: impl Into<Program>,
        number: usize,
        act: impl AsyncFnOnce(&mut Instance) -> Result<T>,
    ) -> Result<T> {
        let member = self.member(program.into(), number)?;
        act(&mut *member.instance.lock().await).await
    }

    /// Does something with the n-th nats-server of its own: kills, freezes, restarts it.
    pub async fn with_server<T>(
        &self,
        number: usize,
        act: impl AsyncFnOnce(&mut NatsServer) -> Result<T>,
    ) -> Result<T> {
        let server = self.servers.get(number);
        let server = server.with_context(|| format!("there is no nats-server {number}"))?;
        act(&mut *server.lock().await).await
    }

    /// Names and process ids of all that run, servers first.
    pub async fn process_ids(&self) -> Vec<(&'static str, u32)> {
        let mut ids = Vec::new();
        for server in &self.servers {
            ids.extend(server.lock().await.id().map(|id| ("nats-server", id)));
        }
        for member in &self.members {
            let id = member.instance.lock().await.id();
            ids.extend(id.map(|id| (member.program.name(), id)));
        }
        ids
    }

    /// The programs that have ended without being told to, a sentence each.
    pub async fn deaths(&self) -> Result<Vec<String>> {
        let mut deaths = Vec::new();
        for member in &self.members {
            let mut instance = member.instance.lock().await;
            if let Some(status) = instance.try_status()? {
                deaths.push(format!("{:#}", instance.death(status)));
            }
        }
        Ok(deaths)
    }

    /// Waits until something ends without being told to.
    pub async fn death(&mut self) -> anyhow::Error {
        let mut deaths = Vec::new();
        for member in &mut self.members {
            let instance: &mut Process = member.instance.get_mut();
            deaths.push(async { instance.wait().await.map(|status| instance.death(status)) }.boxed());
        }
        for server in &mut self.servers {
            let server = server.get_mut();
            let death = async {
                let status = server.wait().await?;
                let log = server.log_tail();
                Ok(anyhow!("nats-server died: {status}; its last lines:\n{log}"))
            };
            deaths.push(death.boxed());
        }
        let (death, ..) = select_all(deaths).await;
        death.unwrap_or_else(|error| error)
    }

    /// Stops the programs, all at once, so that each can finish what it has in hand while the servers are there; then the
    /// servers. Returns what went wrong.
    pub async fn stop(&mut self) -> Vec<anyhow::Error> {
        let programs = self.members.iter_mut();
        let stopped = join_all(programs.map(|member| member.instance.get_mut().terminate())).await;
        let mut errors: Vec<_> = stopped.into_iter().filter_map(Result::err).collect();
        for server in &mut self.servers {
            errors.extend(server.get_mut().terminate().await.err());
        }
        errors
    }

    /// The data folder of its first server, if it has one of its own.
    pub fn folder(&mut self) -> Option<PathBuf> {
        let server = self.servers.first_mut()?.get_mut();
        Some(server.folder().to_owned())
    }

    /// The last lines of every process, for whoever looks for the cause of a failure.
    pub fn logs(&mut self) -> String {
        let mut text = String::new();
        for member in &mut self.members {
            let instance = member.instance.get_mut();
            text += &format!("--- {} ({})\n", member.program.name(), member.url);
            let log = instance.log();
            for line in log.iter().skip(log.len().saturating_sub(LOGGED)) {
                text += &format!("    {line}\n");
            }
        }
        for server in &mut self.servers {
            let server = server.get_mut();
            text += &format!("--- nats-server {}\n{}\n", server.url(), server.log_tail());
        }
        text
    }
}

/// How many lines of each program [`System::logs`] shows.
const LOGGED: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_are_taken_are_named_and_two_on_one_are_found() {
        let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
        let taken = holder.local_addr().expect("an address").port();
        let wanted = |name, port, variable| (name, String::from("127.0.0.1"), port, variable);
        let error = check_ports(&[wanted("order", taken, "ORDER_PORT")])
            .expect_err("it is taken")
            .to_string();
        assert!(
            error.contains(&format!("port {taken} (order, ORDER_PORT) is taken")),
            "{error}"
        );
        drop(holder);
        let twice = [
            wanted("order", taken, "ORDER_PORT"),
            wanted("payment", taken, "PAYMENT_PORT"),
        ];
        let error = check_ports(&twice).expect_err("both want it").to_string();
        assert!(error.contains("(payment, PAYMENT_PORT) is taken"), "{error}");
        check_ports(&twice[..1]).expect("it is free");
    }

    #[tokio::test]
    async fn several_instances_on_one_port_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        for program in Program::ALL {
            std::fs::write(folder.path().join(program.name()), "").expect("written");
        }
        let builder = System::builder()
            .programs(folder.path())
            .instances(2)
            .port(Service::Order, 1);
        let error = builder.start().await.err().expect("refused").to_string();
        assert!(
            error.contains("several instances cannot listen on one port"),
            "{error}"
        );
    }
}
