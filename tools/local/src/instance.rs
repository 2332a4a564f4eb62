//! One running instance of a program: its process, its port, and how to start it again.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::free_port;
use super::process::Process;
use super::program::{Program, Service, bind, local_url};

/// What a program writes when somebody else has its port.
const PORT_TAKEN: &str = "cannot listen on";

type OnLine = Arc<dyn Fn(&str) + Send + Sync>;

/// What to start, once or several times; see [`Service::launch`].
#[derive(Clone)]
pub struct Launch {
    program: Program,
    executable: PathBuf,
    bind: String,
    port: Option<u16>,
    env: Vec<(String, String)>,
    on_line: Option<OnLine>,
}

impl Service {
    /// Describes an instance of the service on this server, on a free port.
    pub fn launch(self, nats_url: &str) -> Result<Launch> {
        Launch::new(self.into(), Program::from(self).executable(None)?, nats_url)
    }
}

impl Launch {
    /// Describes an instance of a program on this server, on a free port.
    pub(super) fn new(program: Program, executable: PathBuf, nats_url: &str) -> Result<Self> {
        Ok(Self {
            program,
            executable,
            bind: bind(),
            port: None,
            env: vec![(String::from("NATS_URL"), nats_url.to_owned())],
            on_line: None,
        })
    }

    /// Listens on this port and no other; 0 is any free one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = (port != 0).then_some(port);
        self
    }

    /// Sets an environment variable; all others are inherited.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// See [`ProcessBuilder::on_line`](super::ProcessBuilder::on_line).
    #[must_use]
    pub fn on_line(mut self, on_line: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.on_line = Some(Arc::new(on_line));
        self
    }

    /// Starts it; [`Instance::wait_ready`] waits for it.
    pub fn start(self) -> Result<Instance> {
        let port = self.port.map_or_else(free_port, Ok)?;
        self.start_on(port)
    }

    fn start_on(self, port: u16) -> Result<Instance> {
        Ok(Instance {
            process: self.process(port)?,
            url: local_url(&self.bind, port),
            port,
            launch: self,
        })
    }

    fn process(&self, port: u16) -> Result<Process> {
        let mut process = Process::builder(self.program.name(), &self.executable)
            .env("BIND", &self.bind)
            .env("PORT", port.to_string());
        for (name, value) in &self.env {
            process = process.env(name, value);
        }
        if let Some(on_line) = self.on_line.clone() {
            process = process.on_line(move |line| on_line(line));
        }
        process.start()
    }
}

/// A started program. It is a [`Process`] of which the port is known, so that it can be started again where it was.
pub struct Instance {
    launch: Launch,
    process: Process,
    port: u16,
    url: String,
}

impl Instance {
    pub fn program(&self) -> Program {
        self.launch.program
    }

    /// Its base URL: `http://127.0.0.1:20345`.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits until it is ready. A free port that somebody else has taken meanwhile is left to them, for another one.
    pub async fn wait_ready(&mut self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        while let Err(error) = self.process.wait_ready(&self.url, patience).await {
            let is_fixed = self.launch.port.is_some();
            if is_fixed || !self.found_its_port_taken() || Instant::now() >= deadline {
                return Err(error);
            }
            *self = self.launch.clone().start()?;
        }
        Ok(())
    }

    /// Starts it again where it was, after killing it if it still runs, and waits until it is ready. Where its port comes
    /// from the range of outgoing connections, one of those may hold it for a moment.
    pub async fn restart(&mut self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            self.process.kill9().await?;
            self.process = self.launch.process(self.port)?;
            match self.process.wait_ready(&self.url, patience).await {
                Ok(()) => return Ok(()),
                Err(_) if self.found_its_port_taken() && Instant::now() < deadline => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn found_its_port_taken(&self) -> bool {
        self.process.id().is_none() && self.process.log().iter().any(|line| line.contains(PORT_TAKEN))
    }
}

impl Deref for Instance {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Instance {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::process::{Command, Stdio};

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// A program that finds this port taken, and on any other writes it; what it writes is served by the test.
    fn stub(folder: &std::path::Path, taken: u16) -> Launch {
        let executable = folder.join("stub");
        let script = format!(
            "#!/bin/sh\nif [ $PORT = {taken} ]; then echo 'order: cannot listen on it' >&2; exit 1; fi\n\
             echo $PORT; exec sleep 100\n"
        );
        // Written by another process: a file that this one had open for writing could be held open by a child that another test
        // forks at this moment, and then cannot be executed (ETXTBSY).
        let mut writing = Command::new("sh")
            .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
            .arg(&executable)
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut input = writing.stdin.take().expect("a pipe");
        input.write_all(script.as_bytes()).expect("written");
        drop(input);
        assert!(writing.wait().expect("it ends").success());
        Launch::new(Service::Order.into(), executable, "nats://nowhere")
            .expect("described")
            .on_line(|line| {
                if let Ok(port) = line.parse::<u16>() {
                    std::thread::spawn(move || serve(port));
                }
            })
    }

    fn serve(port: u16) {
        // Of a program that is started again, the port is served already.
        let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) else {
            return;
        };
        for connection in listener.incoming() {
            let mut connection = connection.expect("accepted");
            drop(connection.read(&mut [0; 1_024]));
            drop(connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"));
        }
    }

    #[tokio::test]
    async fn a_free_port_that_is_taken_meanwhile_is_left_for_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
        let taken = holder.local_addr().expect("an address").port();
        let launch = stub(folder.path(), taken);
        let mut instance = launch.clone().start_on(taken).expect("it starts");
        instance.wait_ready(SOON).await.expect("ready elsewhere");
        assert_ne!(instance.port(), taken);
        assert_eq!(instance.url(), format!("http://127.0.0.1:{}", instance.port()));

        let error = launch
            .port(taken)
            .start()
            .expect("it starts")
            .wait_ready(SOON)
            .await
            .expect_err("a port that was asked for is not changed");
        assert!(error.to_string().contains("cannot listen on it"), "{error}");
    }

    #[tokio::test]
    async fn an_instance_is_started_again_where_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut instance = stub(folder.path(), 0).start().expect("it starts");
        instance.wait_ready(SOON).await.expect("ready");
        let (port, id) = (instance.port(), instance.id());
        instance.kill9().await.expect("killed");
        instance.restart(SOON).await.expect("ready again");
        assert_eq!(instance.port(), port);
        assert_ne!(instance.id(), id);
    }
}
