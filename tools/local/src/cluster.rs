//! Three nats-servers that are one, and who leads what in it.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{NatsServer, free_port};
use crate::client::until;

/// How many servers there are.
pub const SERVERS: usize = 3;
/// How long three servers may take to become one, or to become one again.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long one look at a server may take.
const LOOK: Duration = Duration::from_secs(2);

/// Where the three can be asked about themselves.
pub struct Cluster {
    monitors: Vec<u16>,
    http: reqwest::Client,
}

impl Cluster {
    /// Starts three servers and waits until they have a leader.
    pub async fn start() -> Result<(Self, Vec<NatsServer>)> {
        let ports: Vec<u16> = (0..2 * SERVERS).map(|_| free_port()).collect::<Result<_>>()?;
        let (routes, monitors) = ports.split_at(SERVERS);
        // Servers of another cluster that come upon one of these ports are not taken in.
        let name: u64 = rand::random();
        let all: Vec<String> = routes
            .iter()
            .map(|port| format!("nats://127.0.0.1:{port}"))
            .collect();
        let starting = routes
            .iter()
            .zip(monitors)
            .enumerate()
            .map(|(number, (route, monitor))| {
                let config = format!(
                    "server_name: n{number}\n\
                 http: \"127.0.0.1:{monitor}\"\n\
                 cluster {{ name: \"quadrille-{name:x}\", listen: \"127.0.0.1:{route}\", routes: [{}] }}",
                    all.join(", ")
                );
                NatsServer::builder().config(&config).start()
            });
        let servers = futures::future::try_join_all(starting).await?;
        let cluster = Self {
            monitors: monitors.to_vec(),
            http: reqwest::Client::builder().no_proxy().timeout(LOOK).build()?,
        };
        cluster.until_whole().await?;
        Ok((cluster, servers))
    }

    /// Waits until every server is up, has caught up with its leaders, and knows who they are.
    pub async fn until_whole(&self) -> Result<()> {
        let mut last = String::new();
        let whole = until(PATIENCE, async || {
            for (number, monitor) in self.monitors.iter().enumerate() {
                let health = self.look(*monitor, "healthz").await;
                if !health.as_ref().is_ok_and(|health| health["status"] == "ok") {
                    last = format!("n{number}: {health:?}");
                    return anyhow::Ok(None);
                }
            }
            Ok(self.leader(None).await)
        });
        whole
            .await?
            .map(drop)
            .with_context(|| format!("the cluster was not whole within {PATIENCE:?}: {last}"))
    }

    /// Who leads this stream, or everything (`None`), by the word of whoever answers.
    pub async fn leader(&self, stream: Option<&str>) -> Option<usize> {
        for monitor in &self.monitors {
            let Ok(told) = self.look(*monitor, "jsz?streams=true").await else {
                continue;
            };
            let name = match stream {
                None => told["meta_cluster"]["leader"].as_str().map(str::to_owned),
                Some(stream) => {
                    let accounts = told["account_details"].as_array().into_iter().flatten();
                    let mut streams =
                        accounts.flat_map(|a| a["stream_detail"].as_array().into_iter().flatten());
                    streams
                        .find(|detail| detail["name"] == stream)
                        .and_then(|detail| detail["cluster"]["leader"].as_str())
                        .map(str::to_owned)
                }
            };
            let number = name.and_then(|name| name.strip_prefix('n')?.parse().ok());
            if number.is_some() {
                return number;
            }
        }
        None
    }

    async fn look(&self, monitor: u16, path: &str) -> Result<Value> {
        let url = format!("http://127.0.0.1:{monitor}/{path}");
        let text = self.http.get(url).send().await?.text().await?;
        Ok(serde_json::from_str(&text)?)
    }
}
