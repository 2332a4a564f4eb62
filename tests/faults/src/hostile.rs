//! Hostile clients: waves of them against the services, and what they cost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use quadrille_local::Service;
use quadrille_local::client::until;
use quadrille_local::usage::Usage;
use quadrille_tests::hostile::{
    leave_head_unfinished, open_events, pipeline_without_reading, read_slowly, send_endless_head,
};
use quadrille_tests::{PATIENCE, World};
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use tokio::task::JoinSet;

use crate::history::{History, accepted};

/// The most clients of one wave: what one service may have to hold beside its customers.
const WAVE: usize = 2_000;
/// The clients of a wave of which each has 3,000 requests on its way: this many keep two cores busy.
const PIPELINES: usize = 50;
/// How long a wave stays at least; it goes when an order has been accepted since it came.
const STAY: Duration = Duration::from_secs(2);
/// The most memory that a service may take, in MB. Rows 4 and 6 of the attack that this repeats took 452 and 623 MB of it.
const MAX_MEMORY: f64 = 250.0;

/// What the clients of a wave do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hostility {
    /// Event streams on one order, of which nothing is read.
    OpenEvents,
    /// Requests without a look at the answers.
    Pipeline,
    /// Heads that are begun and left.
    LeaveHead,
    /// Heads that do not end.
    EndlessHead,
    /// Answers read byte by byte.
    ReadSlowly,
}

impl Hostility {
    const ALL: [Self; 5] = [
        Self::OpenEvents,
        Self::Pipeline,
        Self::LeaveHead,
        Self::EndlessHead,
        Self::ReadSlowly,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::OpenEvents => "open event streams",
            Self::Pipeline => "pipeline without reading",
            Self::LeaveHead => "leave a head unfinished",
            Self::EndlessHead => "send an endless head",
            Self::ReadSlowly => "read slowly",
        }
    }

    fn clients(self) -> usize {
        match self {
            Self::OpenEvents | Self::LeaveHead | Self::EndlessHead | Self::ReadSlowly => WAVE,
            Self::Pipeline => PIPELINES,
        }
    }
}

/// What the waves did so far, and what they cost.
#[derive(Default)]
pub(crate) struct Crowd {
    clients: BTreeMap<Hostility, usize>,
    streams: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    /// The most memory of any instance of each program, in MB.
    peaks: BTreeMap<&'static str, f64>,
}

impl Crowd {
    /// Lets a wave of at most `left` clients come and go; returns what they did, and how many there were. Fails if no order is accepted
    /// while they are there.
    pub async fn wave(
        &mut self,
        world: &World,
        rng: &mut StdRng,
        history: &History,
        left: usize,
    ) -> Result<(String, usize)> {
        let hostility = *Hostility::ALL.choose(rng).context("there are five")?;
        let count = hostility.clients().min(left);
        let service = match hostility {
            Hostility::OpenEvents => Service::Order,
            _ => *Service::ALL.choose(rng).context("there are four services")?,
        };
        let url = world.api().url(service);
        let address = url.trim_start_matches("http://").to_owned();
        let order = accepted(&history.requests()).into_iter().next_back();
        let path = format!("/orders/{}/events", order.context("an order was accepted")?);
        let mut clients = JoinSet::new();
        for number in 0..count {
            let (address, path) = (address.clone(), path.clone());
            let (streams, refused) = (Arc::clone(&self.streams), Arc::clone(&self.refused));
            clients.spawn(async move {
                let opened = move |status: u16| {
                    let counted = if status == 200 { &streams } else { &refused };
                    counted.fetch_add(1, Ordering::Relaxed);
                };
                // However it ends for the client, the service has to go on.
                let _ = match hostility {
                    Hostility::OpenEvents => open_events(&address, &path, number, opened).await,
                    Hostility::Pipeline => pipeline_without_reading(&address).await,
                    Hostility::LeaveHead => leave_head_unfinished(&address).await,
                    Hostility::EndlessHead => send_endless_head(&address).await.map(drop),
                    Hostility::ReadSlowly => read_slowly(&address).await,
                };
            });
        }
        tokio::time::sleep(STAY.mul_f64(rng.random_range(0.5..1.5))).await;
        let there = history.now();
        let served = until(PATIENCE, async || {
            let served = history.count(there, |request| request.status == Some(201));
            anyhow::Ok((served > 0).then_some(()))
        });
        let served = served.await?;
        self.measure(world).await?;
        clients.shutdown().await;
        let what = hostility.name();
        served
            .with_context(|| format!("no order is accepted while {count} clients of {service:?} {what}"))?;
        *self.clients.entry(hostility).or_default() += count;
        Ok((format!("{count} clients of {} {what}", service.name()), count))
    }

    async fn measure(&mut self, world: &World) -> Result<()> {
        for (name, id) in world.process_ids().await {
            let peak = self.peaks.entry(name).or_default();
            *peak = peak.max(Usage::of(name, id)?.peak_mb);
        }
        Ok(())
    }

    /// How many clients there were of each kind, and the most memory that each program took.
    pub fn notes(&self) -> Vec<String> {
        let clients = self.clients.iter();
        let clients = clients.map(|(hostility, count)| format!("{count} {}", hostility.name()));
        let peaks = self.peaks.iter();
        let peaks = peaks.map(|(name, peak)| format!("{name} {peak:.0} MB"));
        let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        let (streams, refused) = (count(&self.streams), count(&self.refused));
        vec![
            format!("clients: {}", clients.collect::<Vec<_>>().join(", ")),
            format!("{streams} event streams were opened, {refused} refused"),
            format!("most memory: {}", peaks.collect::<Vec<_>>().join(", ")),
        ]
    }

    /// The services that took more than [`MAX_MEMORY`], each a sentence.
    pub fn gluttons(&self) -> Vec<String> {
        let services = Service::ALL.map(Service::name);
        let gluttons = self.peaks.iter();
        let gluttons = gluttons.filter(|(name, peak)| services.contains(name) && **peak > MAX_MEMORY);
        gluttons
            .map(|(name, peak)| format!("{name} took {peak:.0} MB, more than {MAX_MEMORY} MB"))
            .collect()
    }
}
