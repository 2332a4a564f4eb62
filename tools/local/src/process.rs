//! A child process with its log, its signals and a certain end.
//!
//! Rust runs no destructors when the process is killed or interrupted, and Linux' `PR_SET_PDEATHSIG` needs `unsafe` and
//! hangs on the *thread* that spawned. So each child gets a guardian: a shell that waits on a pipe that only we hold,
//! and kills the child's group when the pipe closes, however we ended.

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
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How many lines of its log a process keeps for error messages.
const KEPT_LINES: usize = 200;
/// A longer line is cut into several, so that a child cannot fill our memory with one.
const MAX_LINE: u64 = 64 * 1024;
/// How many of the kept lines an error message quotes.
const QUOTED_LINES: usize = 12;
/// A service promises to end within 5 s of SIGTERM; a loaded machine gets twice that before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the death of a killed group may take when its handle is dropped. It takes milliseconds; the limit keeps a
/// process that the kernel cannot end (a hung disk) from holding us too.
const KILL_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the last lines of a process that has ended may take to arrive. They are in the pipe already, unless a
/// grandchild holds it open; but a busy machine may not come round to reading it.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How often `/readyz` is asked.
const READY_POLL: Duration = Duration::from_millis(20);

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output: the log of a service.
    Stdout,
    /// Standard error: the sentence a service ends with when it cannot run; a panic.
    Stderr,
}

/// A line that a process wrote, without its line ending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where it was written to.
    pub stream: Stream,
    /// What it says.
    pub text: String,
}

type OnLine = Arc<dyn Fn(&Line) + Send + Sync>;

/// What to start; see [`Process::builder`].
pub struct ProcessBuilder {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    on_line: Option<OnLine>,
    log_file: Option<std::fs::File>,
}

impl ProcessBuilder {
    /// Adds an argument.
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
    pub fn on_line(mut self, on_line: impl Fn(&Line) + Send + Sync + 'static) -> Self {
        self.on_line = Some(Arc::new(on_line));
        self
    }

    /// Lets the process write straight into this file; nothing of it is then captured.
    pub fn log_to(mut self, file: std::fs::File) -> Self {
        self.log_file = Some(file);
        self
    }

    /// Starts the process. Must be called in a tokio runtime, which reads its log as long as it runs.
    pub fn start(self) -> Result<Process> {
        let output = |file: &Option<std::fs::File>| -> Result<Stdio> {
            Ok(file
                .as_ref()
                .map(|f| f.try_clone())
                .transpose()?
                .map_or_else(Stdio::piped, Stdio::from))
        };
        let mut child = tokio::process::Command::new(&self.program)
            .args(&self.args)
            .envs(self.env)
            .stdin(Stdio::null())
            .stdout(output(&self.log_file)?)
            .stderr(output(&self.log_file)?)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}: {}", self.name, self.program.display()))?;
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
        let (listening, listens) = watch::channel(None);
        let reader = |stream| Reader {
            stream,
            log: Arc::clone(&log),
            on_line: self.on_line.clone(),
            listening: listening.clone(),
        };
        let mut readers = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            readers.push(tokio::spawn(reader(Stream::Stdout).run(stdout)));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.push(tokio::spawn(reader(Stream::Stderr).run(stderr)));
        }
        Ok(Process {
            name: self.name,
            child,
            group,
            guardian: Some(guardian),
            log,
            listens,
            readers,
        })
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
    log: Arc<Mutex<VecDeque<Line>>>,
    listens: watch::Receiver<Option<String>>,
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

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id (also its group's), or `None` once it has ended.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until it has logged that it is `listening on http://HOST:PORT`, and returns that base URL.
    pub async fn wait_listening(&mut self, timeout: Duration) -> Result<String> {
        let mut listens = self.listens.clone();
        let heard = async {
            match listens.wait_for(Option::is_some).await {
                Ok(url) => url.clone().unwrap_or_default(),
                // All readers are gone, so the process is ending: its exit below says more.
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            // A process that spoke and then died is better reported as dead.
            biased;
            status = self.child.wait() => {
                let status = status.with_context(|| format!("cannot wait for {}", self.name))?;
                self.ended().await;
                Err(self.death(status))
            }
            url = heard => Ok(url),
            () = tokio::time::sleep(timeout) => bail!(
                "{} did not log `listening on http://...` within {timeout:?}; its last lines:\n{}",
                self.name, self.log_tail()
            ),
        }
    }

    /// Waits until it is listening and `GET /readyz` answers 200, and returns its base URL.
    pub async fn wait_ready(&mut self, timeout: Duration) -> Result<String> {
        let deadline = Instant::now() + timeout;
        let url = self.wait_listening(timeout).await?;
        let http = reqwest::Client::builder().no_proxy().timeout(timeout).build()?;
        let mut last = String::from("no answer");
        while Instant::now() < deadline {
            if let Some(status) = self.try_status()? {
                self.ended().await;
                return Err(self.death(status));
            }
            match http.get(format!("{url}/readyz")).send().await {
                Ok(answer) if answer.status().as_u16() == 200 => return Ok(url),
                Ok(answer) => last = answer.status().to_string(),
                Err(error) => last = error.without_url().to_string(),
            }
            tokio::time::sleep(READY_POLL).await;
        }
        bail!(
            "{} was not ready within {timeout:?} (GET {url}/readyz: {last}); its last lines:\n{}",
            self.name,
            self.log_tail()
        )
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

    /// Freezes its group with SIGSTOP: it keeps its connections and says nothing.
    pub fn stop(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets a frozen group go on, with SIGCONT.
    pub fn cont(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Asks it to end with SIGTERM and waits until it has. One that takes longer than 10 s is killed, as an error.
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

    /// The last lines that it wrote (up to 200).
    pub fn log(&self) -> Vec<Line> {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }

    /// The last dozen lines that it wrote, indented, for an error message.
    pub fn log_tail(&self) -> String {
        quote(self.log().iter().map(|line| line.text.as_str()))
    }

    /// The sentence for a process that ended without being asked to.
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

    /// The child has been reaped: lets its guardian go and waits for its last lines.
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
struct Reader {
    stream: Stream,
    log: Arc<Mutex<VecDeque<Line>>>,
    on_line: Option<OnLine>,
    listening: watch::Sender<Option<String>>,
}

impl Reader {
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
            let text = String::from_utf8_lossy(&bytes)
                .trim_end_matches(['\n', '\r'])
                .to_owned();
            self.line(Line {
                stream: self.stream,
                text,
            });
        }
    }

    fn line(&self, line: Line) {
        if let Some(url) = base_url(&line.text) {
            self.listening.send_replace(Some(url));
        }
        if let Some(on_line) = &self.on_line {
            on_line(&line);
        }
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == KEPT_LINES {
            log.pop_front();
        }
        log.push_back(line);
    }
}

/// The base URL in a line that says `listening on http://HOST:PORT`, be it text or JSON.
fn base_url(line: &str) -> Option<String> {
    let url = &line[line.find("listening on http://")? + "listening on ".len()..];
    let end = url
        .find(|c: char| !c.is_ascii_alphanumeric() && !":/.-[]".contains(c))
        .unwrap_or(url.len());
    Some(url[..end].trim_end_matches(['/', '.']).to_owned())
}

/// Kills a process group when we are gone.
struct Guardian(std::process::Child);

impl Guardian {
    fn over(group: Pid) -> std::io::Result<Self> {
        use std::os::unix::process::CommandExt;
        std::process::Command::new("sh")
            // `read` fails at the end of the pipe, that is when we end; we never write to it.
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
    use super::*;

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

    #[test]
    fn the_base_url_is_found_in_text_and_in_json() {
        let text = "2026-01-01T00:00:00Z  INFO order: listening on http://127.0.0.1:7001";
        let json = r#"{"message":"listening on http://[::1]:7001","level":"INFO"}"#;
        assert_eq!(base_url(text).as_deref(), Some("http://127.0.0.1:7001"));
        assert_eq!(base_url(json).as_deref(), Some("http://[::1]:7001"));
        assert_eq!(base_url("connected"), None);
    }

    #[tokio::test]
    async fn a_process_that_listens_is_found_and_ends_on_sigterm() {
        let mut process = sh(
            "trap 'echo bye; exit 3' TERM; echo listening on http://127.0.0.1:1; while :; do sleep 0.01; done",
        );
        assert_eq!(
            process.wait_listening(SOON).await.expect("it listens"),
            "http://127.0.0.1:1"
        );
        assert_eq!(process.terminate().await.expect("it ends").code(), Some(3));
        assert!(process.log_tail().contains("bye"));
    }

    #[tokio::test]
    async fn a_process_that_dies_first_is_reported_with_its_last_lines() {
        let error = sh("echo port 7001 is taken >&2; exit 2")
            .wait_listening(SOON)
            .await
            .expect_err("it died");
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

        let mut parent = sh("sleep 100 & echo $!; echo listening on http://x:1; wait");
        parent.wait_listening(SOON).await.expect("it started its child");
        let grandchild: u32 = parent.log()[0].text.parse().expect("a process id");
        assert!(is_alive(grandchild));
        drop(parent);
        let gone = async {
            while is_alive(grandchild) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(SOON, gone)
            .await
            .expect("the grandchild is gone");
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
        assert_eq!(log.last().map(|line| line.text.as_str()), Some("500"));
    }
}
