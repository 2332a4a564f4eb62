//! The order service alone, for what one program costs or refuses.

use anyhow::Result;
use quadrille_local::usage::Usage;
use quadrille_local::{Instance, NatsServer, Service};

use crate::{PATIENCE, build};

/// A nats-server and the order service on it. Both end with this handle.
pub struct OrderAlone {
    pub order: Instance,
    pub nats: NatsServer,
}

impl OrderAlone {
    /// Starts both; returns when the service is ready.
    pub async fn start() -> Result<Self> {
        build()?;
        let nats = NatsServer::builder().start().await?;
        let mut order = Service::Order.launch(&nats.url())?.start()?;
        order.wait_ready(PATIENCE).await?;
        Ok(Self { order, nats })
    }

    /// Host and port of the service.
    pub fn address(&self) -> &str {
        self.order.url().trim_start_matches("http://")
    }

    /// The memory of the service, in bytes.
    pub fn memory(&self) -> f64 {
        let id = self.order.id().expect("it runs");
        let usage = Usage::of("order", id).expect("its usage can be read");
        usage.memory_mb * 1e6
    }
}
