//! A child process with its log, its signals and a certain end.
//!
//! Rust runs no destructors when a process is killed or interrupted, and Linux' `PR_SET_PDEATHSIG` needs `unsafe` and is
//! bound to the *thread* that spawned the child. So each child has a guardian: a shell that waits on a pipe whose other end
//! only this process holds, and kills the child's group when the pipe closes, however this process ended.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::task::JoinHandle;

/// How many lines of its log a process keeps for error messages.
const KEPT_LINES: usize = 200;
/// A longer line is cut into several: a bound on the memory that a child's output takes.
const MAX_LINE: u64 = 64 * 1024;
/// How many of the kept lines an error message quotes.
const QUOTED_LINES: usize = 12;
/// Twice the 5 s within which a service ends after SIGTERM: the machine may be loaded.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the death of a killed group may take when its handle is dropped. It takes milliseconds, unless the kernel cannot
/// end the process (a hung disk).
const KILL_TIMEOUT: Duration = Duration::from_secs(2);
/// How long reading the last lines of an ended process may take. They are in the pipe already, unless a grandchild holds it
/// open; a busy machine reads late.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause between two requests of `/readyz`.
const READY_POLL: Duration = Duration::from_millis(20);
/// How long one request of `/readyz` may take. A process that has bound its port and does not serve yet answers late.
const READY_REQUEST: Duration = Duration::from_secs(2);

type OnLine = Arc<dyn Fn(&str) + Send + Sync>;

pub struct ProcessBuilder {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    on_line: Option<OnLine>,
    log_file: Option<std::fs::File>,
}

impl ProcessBuilder {
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Sets an environment variable; all others are inherited.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Calls `on_line` with every line that the process writes. It runs on the task that reads the pipe, so it must
    /// not block for long.
    pub fn on_line(mut self, on_line: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.on_line = Some(Arc::new(on_line));
        self
    }

    /// Lets the process write straight into this file; nothing of it is captured.
    pub fn log_to(mut self, file: std::fs::File) -> Self {
        self.log_file = Some(file);
        self
    }

    /// Starts the process. Must be called in a tokio runtime, which reads its log as long as it runs.
    pub fn start(self) -> Result<Process> {
        let mut child = self.spawn()?;
        let group = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .map(Pid::from_raw)
            .with_context(|| format!("{} has no process id", self.name))?;
        let guardian = Guardian::over(group)
            .inspect_err(|_| killpg(group, Signal::SIGKILL).unwrap_or_default())
            .with_context(|| {
                format!(
                    "cannot start the guardian of {} (`sh` must be in PATH)",
                    self.name
                )
            })?;

        let log = Arc::new(Mutex::new(VecDeque::new()));
        let reader = || LogReader {
            log: Arc::clone(&log),
            on_line: self.on_line.clone(),
        };
        let mut readers = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            readers.push(tokio::spawn(reader().run(stdout)));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.push(tokio::spawn(reader().run(stderr)));
        }
        Ok(Process {
            name: self.name,
            child,
            group,
            guardian: Some(guardian),
            log,
            readers,
        })
    }

    fn spawn(&self) -> Result<tokio::process::Child> {
        let output = || -> Result<Stdio> {
            let file = self.log_file.as_ref().map(std::fs::File::try_clone).transpose()?;
            Ok(file.map_or_else(Stdio::piped, Stdio::from))
        };
        tokio::process::Command::new(&self.program)
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output()?)
            .stderr(output()?)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}: {}", self.name, self.program.display()))
    }
}

/// A running child process. Dropping it kills its whole group with SIGKILL and waits for its end.
///
/// Its log is read by tasks of the runtime it was started in, so it should not outlive that runtime: with nobody
/// reading, its writes fail.
pub struct Process {
    name: String,
    child: tokio::process::Child,
    group: Pid,
    guardian: Option<Guardian>,
    log: Arc<Mutex<VecDeque<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Describes a process to start: `name` is what messages call it.
    pub fn builder(name: impl Into<String>, program: impl AsRef<Path>) -> ProcessBuilder {
        ProcessBuilder {
            name: name.into(),
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            on_line: None,
            log_file: None,
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id (also its group's), or `None` once it has ended.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until `GET {url}/readyz` is answered 200. Ends with an error as soon as the process has ended.
    pub async fn wait_ready(&mut self, url: &str, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(READY_REQUEST)
            .build()?;
        loop {
            let asked = http.get(format!("{url}/readyz")).send().await;
            // Asked after the request: whoever answered it may be another process on the same port.
            if let Some(status) = self.try_status()? {
                self.ended().await;
                return Err(self.death(status));
            }
            let last = match asked {
                Ok(reply) if reply.status().as_u16() == 200 => return Ok(()),
                Ok(reply) => reply.status().to_string(),
                Err(error) => error.without_url().to_string(),
            };
            if Instant::now() >= deadline {
                bail!(
                    "{} was not ready within {timeout:?} (GET {url}/readyz: {last}); its last lines:\n{}",
                    self.name,
                    self.log_tail()
                );
            }
            tokio::time::sleep(READY_POLL).await;
        }
    }

    /// Waits until it ends by itself. May be dropped and called again.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        let status = self
            .child
            .wait()
            .await
            .with_context(|| format!("cannot wait for {}", self.name))?;
        self.ended().await;
        Ok(status)
    }

    /// How it ended, or `None` while it runs.
    pub fn try_status(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .with_context(|| format!("cannot ask for the state of {}", self.name))
    }

    /// Kills its group with SIGKILL, as a power cut would, and waits until it is gone.
    pub async fn kill9(&mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.wait().await.map(drop)
    }

    /// Freezes its group with SIGSTOP; its connections stay open.
    pub fn stop(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Resumes a frozen group with SIGCONT.
    pub fn cont(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Ends it with SIGTERM and waits for that. If it takes longer than 10 s it is killed, which is an error.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.signal(Signal::SIGCONT)?;
        match tokio::time::timeout(STOP_TIMEOUT, self.wait()).await {
            Ok(status) => status,
            Err(_) => {
                self.kill9().await?;
                bail!(
                    "{} did not end within {STOP_TIMEOUT:?} of SIGTERM and was killed; its last lines:\n{}",
                    self.name,
                    self.log_tail()
                )
            }
        }
    }

    /// The last lines that it wrote (up to 200), of both streams, without their line ends.
    pub fn log(&self) -> Vec<String> {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }

    /// The last dozen lines that it wrote, indented, for an error message.
    pub fn log_tail(&self) -> String {
        quote(self.log().iter().map(String::as_str))
    }

    /// The error for a process that ended without being told to.
    pub fn death(&self, status: ExitStatus) -> anyhow::Error {
        anyhow!(
            "{} died: {status}; its last lines:\n{}",
            self.name,
            self.log_tail()
        )
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        // Once reaped, its id may belong to somebody else.
        if self.child.id().is_none() {
            return Ok(());
        }
        match killpg(self.group, signal) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot send {signal} to {}", self.name)),
        }
    }

    /// Called once the child is reaped: ends its guardian and waits for its last lines.
    async fn ended(&mut self) {
        self.guardian = None;
        let readers = std::mem::take(&mut self.readers);
        drop(tokio::time::timeout(DRAIN_TIMEOUT, futures::future::join_all(readers)).await);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.signal(Signal::SIGKILL).is_err() {
            return;
        }
        // Until it is gone it may still hold its port and write into folders that are about to be removed.
        let deadline = Instant::now() + KILL_TIMEOUT;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The last lines, indented; says so if there are none.
pub(crate) fn quote<'a>(lines: impl DoubleEndedIterator<Item = &'a str>) -> String {
    let mut last: Vec<String> = lines
        .rev()
        .take(QUOTED_LINES)
        .map(|line| format!("    {line}"))
        .collect();
    last.reverse();
    if last.is_empty() {
        String::from("    (it wrote nothing)")
    } else {
        last.join("\n")
    }
}

/// Reads one of the pipes of a process to its end.
struct LogReader {
    log: Arc<Mutex<VecDeque<String>>>,
    on_line: Option<OnLine>,
}

impl LogReader {
    async fn run(self, pipe: impl AsyncRead + Unpin) {
        let mut pipe = BufReader::new(pipe);
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            // An error ends the log like an end of file: the process itself is watched by its exit.
            if !matches!(
                (&mut pipe).take(MAX_LINE).read_until(b'\n', &mut bytes).await,
                Ok(1..)
            ) {
                return;
            }
            let text = String::from_utf8_lossy(&bytes);
            self.line(text.trim_end_matches(['\n', '\r']));
        }
    }

    fn line(&self, line: &str) {
        if let Some(on_line) = &self.on_line {
            on_line(line);
        }
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == KEPT_LINES {
            log.pop_front();
        }
        log.push_back(line.to_owned());
    }
}

/// Kills a process group when this process ends.
struct Guardian(std::process::Child);

impl Guardian {
    fn over(group: Pid) -> std::io::Result<Self> {
        use std::os::unix::process::CommandExt;
        std::process::Command::new("sh")
            // `read` fails at the end of the pipe, that is when this process ends; nothing is ever written to it.
            .args([
                "-c",
                r#"read -r _ || kill -s KILL -- "-$1""#,
                "quadrille-guardian",
                &group.to_string(),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map(Self)
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        // Its stdin is still open here, so it is killed before it can see the end of the pipe.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::client::until;

    const SOON: Duration = Duration::from_secs(10);

    fn sh(script: &str) -> Process {
        Process::builder("stub", "sh")
            .arg("-c")
            .arg(script)
            .start()
            .expect("sh starts")
    }

    fn is_alive(id: u32) -> bool {
        nix::sys::signal::kill(Pid::from_raw(id.cast_signed()), None).is_ok()
    }

    /// A server that answers every request with this status line; returns its base URL.
    async fn answering(status: &'static str) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                drop(connection.read(&mut [0; 1_024]).await);
                let reply = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                drop(connection.write_all(reply.as_bytes()).await);
            }
        });
        url
    }

    #[tokio::test]
    async fn a_process_that_logs_nothing_is_ready_when_readyz_says_so_and_ends_on_sigterm() {
        let url = answering("200 OK").await;
        let mut process = sh("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done");
        process.wait_ready(&url, SOON).await.expect("it is ready");
        let up = until(SOON, async || Ok::<_, ()>(process.log().pop())).await;
        assert_eq!(up.expect("no error").as_deref(), Some("up"));
        let ended = process.terminate().await.expect("it ends");
        assert_eq!(ended.code(), Some(3));
        assert!(process.log_tail().contains("bye"));
    }

    #[tokio::test]
    async fn a_process_that_is_not_ready_in_time_is_named_with_the_last_reply() {
        let url = answering("503 Service Unavailable").await;
        let error = sh("exec sleep 100")
            .wait_ready(&url, Duration::from_millis(100))
            .await
            .expect_err("it is not ready")
            .to_string();
        assert!(error.contains("stub was not ready within 100ms"), "{error}");
        assert!(error.contains("/readyz: 503"), "{error}");
    }

    #[tokio::test]
    async fn a_process_that_dies_first_is_reported_with_its_last_lines() {
        // Somebody else answers on its port.
        let url = answering("200 OK").await;
        let mut process = sh("echo port 7001 is taken >&2; exit 2");
        drop(process.wait().await);
        let error = process.wait_ready(&url, SOON).await.expect_err("it died");
        let error = error.to_string();
        assert!(error.contains("stub died: exit status: 2"), "{error}");
        assert!(error.contains("port 7001 is taken"), "{error}");
    }

    #[tokio::test]
    async fn a_frozen_process_is_killed_and_a_dropped_one_takes_its_children_along() {
        let mut frozen = sh("exec sleep 100");
        frozen.stop().expect("SIGSTOP");
        frozen.kill9().await.expect("killed");
        assert_eq!(frozen.id(), None);

        let parent = sh("sleep 100 & echo $!; wait");
        let said = until(SOON, async || Ok::<_, ()>(parent.log().pop())).await;
        let said = said.expect("no error").expect("it started its child");
        let grandchild: u32 = said.parse().expect("a process id");
        assert!(is_alive(grandchild));
        drop(parent);
        let gone = until(SOON, async || Ok::<_, ()>((!is_alive(grandchild)).then_some(())));
        gone.await.expect("no error").expect("the grandchild is gone");
    }

    #[tokio::test]
    async fn a_guardian_kills_when_its_pipe_closes() {
        let mut process = sh("exec sleep 100");
        let guardian = process.guardian.as_mut().expect("it has a guardian");
        drop(guardian.0.stdin.take());
        tokio::time::timeout(SOON, process.wait())
            .await
            .expect("in time")
            .expect("it was killed");
    }

    #[tokio::test]
    async fn an_endless_line_is_cut_and_the_log_is_bounded() {
        let mut process =
            sh("head -c 200000 /dev/zero | tr '\\0' x; echo; for i in $(seq 1 500); do echo $i; done");
        process.wait().await.expect("it ends");
        let log = process.log();
        assert_eq!(log.len(), KEPT_LINES);
        assert_eq!(log.last().map(String::as_str), Some("500"));
    }
}
