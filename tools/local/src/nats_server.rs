//! A real nats-server with JetStream, fsync before every acknowledgement, and its data in a folder of our choice.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;

use super::ports::is_taken;
use super::process::{Process, quote};
use super::{DEFAULT_NATS_PORT, env, free_port, repo_root};

/// The oldest server that has everything the commit needs.
pub const MIN_VERSION: [u64; 3] = [2, 14, 4];
/// A server replays its store before it listens; a big one takes a while.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a restart waits for its port. A client that reconnects in a loop can hold a port of the ephemeral range for
/// a moment, even by connecting to itself.
const PORT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the conditions of readiness are looked at.
const POLL: Duration = Duration::from_millis(5);
/// How long a server that accepts a connection may take to introduce itself.
const INFO_TIMEOUT: Duration = Duration::from_secs(3);
/// `INFO` is some hundred bytes; more than this is not a NATS server.
const MAX_INFO: u64 = 64 * 1024;

/// Where the nats-server program is: `NATS_SERVER_BIN` if set, else `.tools/nats-server` of the repository (which
/// `deploy/just` puts there), else the one in `PATH`. The same everywhere: `run-all`, the stories, the benches.
pub fn nats_server_binary() -> Result<PathBuf> {
    if let Some(named) = env("NATS_SERVER_BIN").map(PathBuf::from) {
        ensure!(
            named.is_file(),
            "NATS_SERVER_BIN is {}, but there is no such file",
            named.display()
        );
        return Ok(named);
    }
    let pinned = repo_root().join(".tools/nats-server");
    if pinned.is_file() {
        return Ok(pinned);
    }
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|folder| folder.join("nats-server"))
        .find(|program| program.is_file())
        .with_context(|| {
            format!(
                "there is no nats-server: neither NATS_SERVER_BIN is set, nor is there {}, nor one in PATH. Run \
                 `deploy/just --nats-server-only` once; it puts the pinned one there",
                pinned.display()
            )
        })
}

/// What a NATS server says of itself when a client connects.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Probe {
    /// Its version, as in `2.15.1`.
    pub version: String,
    /// Whether it has JetStream.
    #[serde(default)]
    pub jetstream: bool,
}

impl Probe {
    /// Refuses, with a sentence, a server that is too old or has no JetStream.
    pub fn check(&self) -> Result<()> {
        check_version(&self.version)?;
        ensure!(
            self.jetstream,
            "the NATS server has no JetStream: start it with `jetstream {{ ... }}` in its configuration, or with -js"
        );
        Ok(())
    }
}

/// Asks the NATS server at `address` (`host:port`) who it is.
pub async fn probe(address: &str) -> Result<Probe> {
    let ask = async {
        let stream = TcpStream::connect(address).await?;
        let mut line = String::new();
        BufReader::new(stream.take(MAX_INFO)).read_line(&mut line).await?;
        let info = line
            .strip_prefix("INFO ")
            .with_context(|| format!("{address} is not a NATS server"))?;
        serde_json::from_str(info).with_context(|| format!("{address} sent an INFO that is not JSON"))
    };
    tokio::time::timeout(INFO_TIMEOUT, ask)
        .await
        .unwrap_or_else(|_| Err(anyhow!("it said nothing within {INFO_TIMEOUT:?}")))
        .with_context(|| format!("no NATS server answers at {address}"))
}

/// Refuses a server that cannot be used in one sentence, before every service does. What is not plainly `nats://host:port`
/// (TLS first, websockets) is left to the services, which check it too.
pub(super) async fn check_url(url: &str) -> Result<()> {
    let first = url.split(',').next().unwrap_or(url).trim();
    let address = match first.split_once("://") {
        None => first,
        Some(("nats", address)) => address,
        Some(_) => return Ok(()),
    };
    let host = address
        .rsplit('@')
        .next()
        .unwrap_or(address)
        .trim_end_matches('/');
    let has_port = host
        .rsplit(':')
        .next()
        .is_some_and(|port| port.parse::<u16>().is_ok());
    let host = if has_port {
        host.to_owned()
    } else {
        format!("{host}:{DEFAULT_NATS_PORT}")
    };
    probe(&host)
        .await
        .and_then(|server| server.check())
        .context("cannot use the server at NATS_URL")
}

fn check_version(version: &str) -> Result<()> {
    let number = version.trim().trim_start_matches('v');
    // A release candidate counts as its release: "2.15.0-RC.2".
    let mut parts = number
        .split(['.', '-'])
        .map_while(|part| part.parse::<u64>().ok());
    let mut next = || parts.next();
    let (Some(major), Some(minor), Some(patch)) = (next(), next(), next()) else {
        bail!("the version of the NATS server is {version:?}, which is no version number");
    };
    let [a, b, c] = MIN_VERSION;
    ensure!(
        [major, minor, patch] >= MIN_VERSION,
        "the NATS server is {number}, too old: Quadrille needs {a}.{b}.{c} or newer (`deploy/just --nats-server-only` \
         fetches the pinned one)"
    );
    Ok(())
}

/// What server to start; see [`NatsServer::builder`].
#[derive(Clone, Debug, Default)]
pub struct NatsServerBuilder {
    port: Option<u16>,
    folder: Option<PathBuf>,
    store: Option<PathBuf>,
    extra: String,
    binary: Option<PathBuf>,
}

impl NatsServerBuilder {
    /// Listens on this port; 0, the default, is any free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = (port != 0).then_some(port);
        self
    }

    /// The port that was asked for, if it is a certain one.
    pub(super) fn fixed_port(&self) -> Option<u16> {
        self.port
    }

    /// Keeps its data in this folder, which is created if need be and stays. By default it is a temporary one that goes
    /// away with the handle.
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Keeps its streams in this folder instead, on a disk of which it may take all.
    ///
    /// By default the server takes three quarters of what is free as its limit, and refuses what is beyond it while all
    /// else goes on. Here there is no limit but the disk's own.
    pub fn store(mut self, folder: impl Into<PathBuf>) -> Self {
        self.store = Some(folder.into());
        self
    }

    /// Adds lines to its configuration (a cluster, accounts).
    pub fn config(mut self, lines: &str) -> Self {
        self.extra.push_str(lines);
        self.extra.push('\n');
        self
    }

    /// Uses this program instead of [`nats_server_binary`].
    pub fn binary(mut self, program: impl Into<PathBuf>) -> Self {
        self.binary = Some(program.into());
        self
    }

    /// Starts it and waits until it is ready.
    pub async fn start(self) -> Result<NatsServer> {
        let program = self.binary.map_or_else(nats_server_binary, Ok)?;
        let version = Command::new(&program)
            .arg("--version")
            .output()
            .with_context(|| format!("cannot run {} --version", program.display()))?;
        let version = String::from_utf8_lossy(&version.stdout).into_owned();
        check_version(version.rsplit(' ').next().unwrap_or(&version))
            .with_context(|| format!("cannot use {}", program.display()))?;

        let (folder, temporary) = match self.folder {
            Some(folder) => (folder, None),
            None => {
                let folder = tempfile::Builder::new().prefix("quadrille-nats-").tempdir()?;
                (folder.path().to_owned(), Some(folder))
            }
        };
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create the data folder {}", folder.display()))?;
        let folder = folder.canonicalize()?;
        let lock = lock(&folder)?;
        File::create(folder.join(LOG_FILE)).context("cannot write the log of nats-server")?;
        let mut server = NatsServer {
            program,
            port: self.port.map_or_else(free_port, Ok)?,
            store: self.store,
            extra: self.extra,
            process: None,
            log_start: 0,
            folder,
            _lock: lock,
            _temporary: temporary,
        };
        server.launch().await?;
        Ok(server)
    }
}

/// More than any disk has; 0 would be the default.
const NO_LIMIT: &str = "1PB";
const LOG_FILE: &str = "nats-server.log";
const CONFIG_FILE: &str = "nats-server.conf";

/// nats-server does not lock its store, and two of them on one would ruin it. The lock goes away with the file handle.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => bail!(
            "the data folder {} is in use by another Quadrille: stop that one, or set QUADRILLE_DATA to another folder",
            folder.display()
        ),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// A nats-server on 127.0.0.1 with JetStream and `sync_interval: always`. Dropping it kills it.
pub struct NatsServer {
    // Fields are dropped in this order: the server is dead before its folder is unlocked and removed.
    process: Option<Process>,
    program: PathBuf,
    port: u16,
    store: Option<PathBuf>,
    extra: String,
    log_start: u64,
    folder: PathBuf,
    _lock: File,
    _temporary: Option<TempDir>,
}

impl NatsServer {
    /// Describes a server to start; as it is, on a free port with a temporary folder.
    pub fn builder() -> NatsServerBuilder {
        NatsServerBuilder::default()
    }

    /// Where clients connect to. It stays the same over restarts.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port())
    }

    /// Where it can be asked about itself over HTTP, if its configuration says so (`http: "127.0.0.1:-1"`).
    pub fn monitoring(&self) -> Option<String> {
        let ports = written_ports(&self.folder)?;
        ports.monitoring.into_iter().next()
    }

    /// The port that it listens on. It stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder with its data, configuration and log.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The last lines that it has logged since its last start, indented, for an error message.
    pub fn log_tail(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = File::open(self.folder.join(LOG_FILE))?;
            let end = file.metadata()?.len();
            file.seek(SeekFrom::Start(self.log_start.max(end.saturating_sub(MAX_INFO))))?;
            let mut bytes = Vec::new();
            file.take(MAX_INFO).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        match read() {
            Ok(log) => quote(log.lines()),
            Err(error) => format!("    (its log cannot be read: {error})"),
        }
    }

    /// Its process id, or `None` while it is down.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().and_then(Process::id)
    }

    /// Kills it with SIGKILL and waits until it is gone; [`restart`](Self::restart) brings it back.
    pub async fn kill9(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill9().await,
            None => Ok(()),
        }
    }

    /// Freezes it with SIGSTOP: connections stay open and nothing is answered.
    pub fn stop(&self) -> Result<()> {
        self.running()?.stop()
    }

    /// Lets a frozen server go on, with SIGCONT.
    pub fn cont(&self) -> Result<()> {
        self.running()?.cont()
    }

    /// Asks it to end with SIGTERM and waits until it has.
    pub async fn terminate(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.terminate().await.map(drop),
            None => Ok(()),
        }
    }

    /// Waits until it ends by itself. May be dropped and called again; never returns while it is down on purpose.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        match &mut self.process {
            Some(process) => process.wait().await,
            None => std::future::pending().await,
        }
    }

    /// Starts it again on the same port and data, after killing it if it still runs, and waits until it is ready.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill9().await?;
        self.launch().await
    }

    fn running(&self) -> Result<&Process> {
        self.process.as_ref().context("nats-server is down")
    }

    async fn launch(&mut self) -> Result<()> {
        wait_for_port(self.port, self.log_start > 0).await?;
        self.forget_ports()?;
        let config = self.folder.join(CONFIG_FILE);
        std::fs::write(&config, self.config())
            .with_context(|| format!("cannot write {}", config.display()))?;
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.folder.join(LOG_FILE))?;
        self.log_start = log.metadata()?.len();
        let process = Process::builder("nats-server", &self.program)
            .arg("-c")
            .arg(&config)
            .log_to(log)
            .start()?;
        let process = self.process.insert(process);

        let deadline = Instant::now() + READY_TIMEOUT;
        let mut last = anyhow!("it was not asked");
        while Instant::now() < deadline {
            if let Some(status) = process.try_status()? {
                return Err(self.did_not_start(&format!("{status}")));
            }
            match probe(&format!("127.0.0.1:{}", self.port)).await {
                Ok(probe) => {
                    // Makes sure that the next start counts as a restart even if this one logged nothing.
                    self.log_start = self.log_start.max(1);
                    return probe.check();
                }
                Err(error) => last = error,
            }
            tokio::time::sleep(POLL).await;
        }
        Err(self.did_not_start(&format!("not ready within {READY_TIMEOUT:?}: {last:#}")))
    }

    fn did_not_start(&mut self, why: &str) -> anyhow::Error {
        self.process = None;
        let log = self.log_tail();
        if log.contains("address already in use") {
            return port_taken(self.port);
        }
        anyhow!(
            "nats-server did not start ({why}); the last lines of {}:\n{log}",
            self.folder.join(LOG_FILE).display()
        )
    }

    fn config(&self) -> String {
        let folder = self.folder.to_string_lossy();
        // JSON strings are strings of the configuration language too.
        let quoted = serde_json::Value::from(folder.as_ref());
        let store = match &self.store {
            None => quoted.to_string(),
            Some(store) => {
                let store = serde_json::Value::from(store.to_string_lossy().as_ref());
                format!("{store}, max_file: {NO_LIMIT}")
            }
        };
        let port = self.port;
        format!(
            "# Written by quadrille at every start.\n\
             host: 127.0.0.1\n\
             port: {port}\n\
             ports_file_dir: {quoted}\n\
             # Fsync before every acknowledgement: the default, every 2 minutes, loses acknowledged writes on power loss.\n\
             jetstream {{ store_dir: {store}, sync_interval: always }}\n\
             {}",
            self.extra
        )
    }

    /// A killed server leaves its ports file behind.
    fn forget_ports(&self) -> Result<()> {
        for file in ports_files(&self.folder) {
            std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
        Ok(())
    }
}

fn ports_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "ports"))
        .collect()
}

/// What the server has written to its ports file (`{"nats":["nats://127.0.0.1:34065"]}`), once it is whole.
fn written_ports(folder: &Path) -> Option<Ports> {
    let text = std::fs::read(ports_files(folder).pop()?).ok()?;
    serde_json::from_slice(&text).ok()
}

#[derive(Deserialize)]
struct Ports {
    #[serde(default)]
    monitoring: Vec<String>,
}

async fn wait_for_port(port: u16, is_restart: bool) -> Result<()> {
    let deadline = Instant::now() + if is_restart { PORT_TIMEOUT } else { Duration::ZERO };
    while is_taken(port) {
        if Instant::now() >= deadline {
            return Err(port_taken(port));
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

fn port_taken(port: u16) -> anyhow::Error {
    anyhow!(
        "port {port} (nats-server) is taken: stop what listens there, or set NATS_PORT to a free port, or NATS_URL to \
         use the server that is there"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::until;

    #[test]
    fn an_old_server_is_refused_with_a_sentence() {
        for old in ["2.14.3", "v2.10.29", "1.99.99"] {
            assert!(check_version(old).is_err(), "{old}");
        }
        for good in ["2.14.4", "v2.15.1", "2.15.0-RC.2", "3.0.0"] {
            assert!(check_version(good).is_ok(), "{good}");
        }
        let error = check_version("2.11.0").expect_err("old").to_string();
        assert!(
            error.contains("2.11.0, too old: Quadrille needs 2.14.4 or newer"),
            "{error}"
        );
        assert!(check_version("dev").is_err());
    }

    #[tokio::test]
    async fn a_server_at_nats_url_that_is_not_there_is_named() {
        let error = check_url("nats://user:secret@127.0.0.1:1")
            .await
            .expect_err("nobody is there");
        let error = format!("{error:#}");
        assert!(error.contains("no NATS server answers at 127.0.0.1:1"), "{error}");
        assert!(!error.contains("secret"), "{error}");
        check_url("wss://somewhere").await.expect("left to the services");
    }

    #[tokio::test]
    async fn a_server_keeps_port_and_folder_over_a_kill() {
        let mut server = NatsServer::builder().start().await.expect("it starts");
        let (url, address) = (server.url(), format!("127.0.0.1:{}", server.port()));
        assert!(probe(&address).await.expect("it answers").jetstream);
        server.kill9().await.expect("killed");
        assert!(probe(&address).await.is_err());
        server.restart().await.expect("it starts again");
        assert_eq!(server.url(), url);
        server.stop().expect("SIGSTOP");
        server.cont().expect("SIGCONT");
        let answers = until(READY_TIMEOUT, async || anyhow::Ok(probe(&address).await.ok()));
        assert!(answers.await.expect("no error").is_some(), "it answers");
        server.terminate().await.expect("it ends");

        let folder = server.folder().to_owned();
        drop(server);
        assert!(!folder.exists(), "a temporary folder goes away");
    }

    #[tokio::test]
    async fn a_taken_port_and_a_taken_folder_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let server = NatsServer::builder()
            .folder(folder.path())
            .start()
            .await
            .expect("it starts");
        let twice = NatsServer::builder()
            .port(server.port())
            .start()
            .await
            .err()
            .expect("taken")
            .to_string();
        assert!(
            twice.contains(&format!("port {} (nats-server) is taken", server.port())),
            "{twice}"
        );
        let shared = NatsServer::builder()
            .folder(folder.path())
            .start()
            .await
            .err()
            .expect("in use")
            .to_string();
        assert!(shared.contains("in use by another Quadrille"), "{shared}");
    }

    #[tokio::test]
    async fn a_server_that_cannot_start_is_quoted() {
        let error = NatsServer::builder()
            .config("nonsense_here {")
            .start()
            .await
            .err()
            .expect("no start");
        assert!(
            error
                .to_string()
                .contains("nats-server did not start (exit status: 1)"),
            "{error}"
        );
        assert!(error.to_string().contains("Parse error"), "{error}");
    }
}
