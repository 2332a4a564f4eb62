//! Prometheus itself and its `promtool`, if they are on this machine.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use quadrille_local::client::until;
use quadrille_local::{Process, repo_root};
use quadrille_tests::{PATIENCE, leave_out};
use serde_json::Value;

/// A program of Prometheus': in PATH, or where `PROMTOOL` or `PROMETHEUS` says. On a developer's machine there need not be
/// one: then a test says so and leaves out what needs it. In CI there has to be.
///
/// # Panics
/// There is none, and this is CI.
pub fn find(program: &str) -> Option<PathBuf> {
    let named = std::env::var_os(program.to_uppercase()).map(PathBuf::from);
    let found = named.or_else(|| {
        std::env::split_paths(&std::env::var_os("PATH")?)
            .map(|folder| folder.join(program))
            .find(|file| file.is_file())
    });
    if found.is_none() {
        leave_out(
            &format!(
                "metrics and alerts are tested with the real {program}, which cannot be found: `apt-get install \
                 prometheus` brings it (Debian)"
            ),
            "QUADRILLE_NO_PROMETHEUS",
        );
    }
    found
}

/// Runs `promtool`, which must be content; returns whether it was there.
///
/// # Panics
/// It complains.
pub fn promtool(args: &[&str], input: &str) -> bool {
    let Some(program) = find("promtool") else {
        return false;
    };
    let mut child = Command::new(program)
        .args(args)
        .current_dir(repo_root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {args:?}: {said}");
    true
}

/// A Prometheus of the test's own. It ends with this handle.
pub struct Prometheus {
    url: String,
    http: reqwest::Client,
    _process: Process,
}

impl Prometheus {
    /// Starts one with this configuration, its data in `folder`.
    pub async fn start(program: &Path, config: &Path, folder: &Path) -> Self {
        let (address, mut listens) = tokio::sync::watch::channel(None);
        let process = Process::builder("prometheus", program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .on_line(move |line| {
                // `... msg="Listening on" address=127.0.0.1:33727`
                if line.contains("msg=\"Listening on\"")
                    && let Some((_, rest)) = line.split_once(" address=")
                {
                    address.send_replace(rest.split_whitespace().next().map(str::to_owned));
                }
            })
            .start()
            .unwrap();
        let listening = tokio::time::timeout(PATIENCE, listens.wait_for(Option::is_some)).await;
        let url = match listening {
            Ok(Ok(address)) => format!("http://{}", address.clone().unwrap_or_default()),
            Ok(Err(_)) | Err(_) => panic!("prometheus does not listen:\n{}", process.log_tail()),
        };
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .unwrap();
        Self {
            url,
            http,
            _process: process,
        }
    }

    /// Asks its API, once it is ready: `/api/v1/alerts`.
    pub async fn get(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let url = reqwest::Url::parse_with_params(&format!("{}{path}", self.url), query).unwrap();
        let answered = until(PATIENCE, async || {
            let answer = self.http.get(url.clone()).send().await?;
            // 503 while it reads its data.
            match answer.status().as_u16() {
                503 => Ok(None),
                _ => answer.json::<Value>().await.map(Some),
            }
        });
        answered.await.unwrap().expect("prometheus becomes ready")
    }
}
