//! Where a campaign happens: the system, what strikes it, and how.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use quadrille_local::client::until;
use quadrille_local::{NatsServer, Service, free_port};
use quadrille_tests::{Options, PATIENCE, ProviderServer, SOLD_OUT, World};
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::disk::SmallDisk;
use crate::history::{Asked, History, Request};
use crate::hostile::Crowd;
use crate::plan::{Campaign, Plan};
use crate::poison::Poison;
use crate::proxy::{Proxy, Rules, Weather};

/// How many instances of each service there are.
const INSTANCES: usize = 2;
/// `ACK_WAIT`: short, so that what a dead instance had in hand soon comes again.
const ACK_WAIT: Duration = Duration::from_secs(1);
/// Longer than a commit waits for its answer (5 s): then it is in doubt, and may still be stored.
const BEYOND_DOUBT: Duration = Duration::from_secs(6);
/// What there is of everything that anybody buys or carries.
const PLENTY: u64 = 10_000_000;
/// How large the small disk is.
const DISK: u64 = 96 * 1024 * 1024;
/// How many events there are for each that is poison.
const EVENTS_PER_POISON: u64 = 100;
/// How long a server gets to come to itself once there is space on its disk again, before it is restarted.
const SPACE_PATIENCE: Duration = Duration::from_secs(1);

/// The system and what strikes it.
pub struct Arena {
    // Dropped in this order: the services and servers before what they stand on.
    /// The system.
    pub world: Arc<World>,
    /// The payment provider: no part of what is struck.
    pub provider: ProviderServer,
    gear: Gear,
}

/// What a campaign needs besides.
enum Gear {
    KillServices,
    KillBroker,
    Freeze,
    Repeat(Proxy),
    LoseAcks(Proxy),
    Disconnect(Proxy),
    Poison(Poison, u64),
    FullDisk {
        disk: SmallDisk,
        by_itself: usize,
        fillings: usize,
    },
    Cluster,
    Hostile(Crowd),
}

/// What a strike was.
pub struct Struck {
    /// The blow in a sentence.
    pub blow: String,
    /// How many it counts for.
    pub count: usize,
}

impl Struck {
    fn once(blow: impl Into<String>) -> Self {
        Self {
            blow: blow.into(),
            count: 1,
        }
    }
}

impl Arena {
    /// Builds it; the inner error says why this campaign cannot run here.
    ///
    /// # Errors
    /// Something does not start.
    pub async fn build(plan: &Plan) -> Result<std::result::Result<Self, String>> {
        let (provider, provider_url) = ProviderServer::start().await?;
        let options = World::with()
            .env("PAYMENT_PROVIDER_URL", &provider_url)
            .instances(INSTANCES)
            .env("ACK_WAIT", &format!("{}ms", ACK_WAIT.as_millis()))
            .env("PAYMENT_DEADLINE", &format!("{}ms", plan.deadline.as_millis()))
            // A line a decision is the most that a service writes.
            .env("RUST_LOG", "warn,async_nats=error");
        let (world, gear) = match plan.campaign {
            Campaign::KillServices => (open(options).await?, Gear::KillServices),
            Campaign::KillBroker => (open(options).await?, Gear::KillBroker),
            Campaign::Freeze => (open(options).await?, Gear::Freeze),
            Campaign::Repeat => {
                let (world, proxy) = behind_proxy(options, plan.own_seed()).await?;
                proxy.set(Rules {
                    repeat: 0.1,
                    delay: 0.1,
                    latest: ACK_WAIT * 3 / 2,
                    ..Rules::default()
                });
                (world, Gear::Repeat(proxy))
            }
            Campaign::LoseAcks => {
                let (world, proxy) = behind_proxy(options, plan.own_seed()).await?;
                proxy.set(Rules {
                    lose_acks: 0.2,
                    lose_answers: 0.01,
                    ..Rules::default()
                });
                (world, Gear::LoseAcks(proxy))
            }
            Campaign::Disconnect => {
                let (world, proxy) = behind_proxy(options, plan.own_seed()).await?;
                (world, Gear::Disconnect(proxy))
            }
            Campaign::Poison => {
                let world = open(options).await?;
                let poison = Poison::brew(&world.operator).await?;
                (world, Gear::Poison(poison, 0))
            }
            Campaign::FullDisk => {
                let disk = match SmallDisk::mount(DISK) {
                    Ok(disk) => disk,
                    Err(reason) => return Ok(Err(format!("{reason:#}"))),
                };
                let server = NatsServer::builder().store(disk.path());
                let world = open(options.server(server)).await?;
                let gear = Gear::FullDisk {
                    disk,
                    by_itself: 0,
                    fillings: 0,
                };
                (world, gear)
            }
            Campaign::Cluster => (open(options.cluster()).await?, Gear::Cluster),
            Campaign::Hostile => (open(options).await?, Gear::Hostile(Crowd::default())),
        };
        Ok(Ok(Self {
            world: Arc::new(world),
            provider,
            gear,
        }))
    }

    /// Strikes, and returns when what was hit is whole again. `left` is how many strikes are still to come.
    ///
    /// # Errors
    /// It does not become whole again.
    pub async fn strike(&mut self, rng: &mut StdRng, history: &History, left: usize) -> Result<Struck> {
        let world = &self.world;
        match &mut self.gear {
            Gear::KillServices => kill_services(world, rng).await,
            Gear::KillBroker => {
                world.with_nats(0, async |server| server.kill9().await).await?;
                // Down for a moment, or for as long as a start takes.
                tokio::time::sleep(Duration::from_millis(rng.random_range(0..300))).await;
                world.restart_nats().await?;
                Ok(Struck::once("kill -9 nats-server"))
            }
            Gear::Freeze => freeze(world, rng).await,
            Gear::Repeat(proxy) | Gear::LoseAcks(proxy) => spoil(proxy, left).await,
            Gear::Disconnect(proxy) => disturb(proxy, rng).await,
            Gear::Poison(poison, events) => {
                let next = *events + EVENTS_PER_POISON;
                world.holds_ever("EVENTS", next).await?;
                *events = next;
                Ok(Struck::once(poison.drop_in(world, rng).await?))
            }
            Gear::FullDisk {
                disk,
                by_itself,
                fillings,
            } => {
                let (struck, went_on) = fill(world, disk, rng, history).await?;
                *by_itself += usize::from(went_on);
                *fillings += 1;
                Ok(struck)
            }
            Gear::Cluster => strike_leader(world, rng).await,
            Gear::Hostile(crowd) => {
                let (blow, count) = crowd.wave(world, rng, history, left).await?;
                Ok(Struck { blow, count })
            }
        }
    }

    /// Nothing strikes any more.
    pub fn calm(&self) {
        match &self.gear {
            Gear::Repeat(proxy) | Gear::LoseAcks(proxy) | Gear::Disconnect(proxy) => {
                proxy.set(Rules::default());
                proxy.turn(Weather::Fine);
            }
            Gear::KillServices
            | Gear::KillBroker
            | Gear::Freeze
            | Gear::Poison(..)
            | Gear::FullDisk { .. }
            | Gear::Cluster
            | Gear::Hostile(_) => {}
        }
    }

    /// Poison that somebody should have parked and has not, each a sentence.
    ///
    /// # Errors
    /// The broker does not answer.
    pub async fn unparked(&self) -> Result<Vec<String>> {
        match &self.gear {
            Gear::Poison(poison, _) => poison.missing(&self.world.operator).await,
            Gear::KillServices
            | Gear::KillBroker
            | Gear::Freeze
            | Gear::Repeat(_)
            | Gear::LoseAcks(_)
            | Gear::Disconnect(_)
            | Gear::FullDisk { .. }
            | Gear::Cluster
            | Gear::Hostile(_) => Ok(Vec::new()),
        }
    }

    /// What else there is to know.
    pub fn notes(&self) -> Vec<String> {
        match &self.gear {
            Gear::Repeat(proxy) => {
                let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
                let (repeated, delayed) = (count(&proxy.counts().repeated), count(&proxy.counts().delayed));
                vec![format!(
                    "{repeated} deliveries came five times over, {delayed} late"
                )]
            }
            Gear::LoseAcks(proxy) => {
                let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
                let (acks, answers) = (
                    count(&proxy.counts().lost_acks),
                    count(&proxy.counts().lost_answers),
                );
                vec![format!(
                    "{acks} acknowledgements were lost, and {answers} answers to commits"
                )]
            }
            Gear::FullDisk {
                by_itself, fillings, ..
            } => vec![format!(
                "once there was space, orders were accepted in {by_itself} of {fillings} times before nats-server was \
                 restarted"
            )],
            Gear::Hostile(crowd) => crowd.notes(),
            Gear::KillServices
            | Gear::KillBroker
            | Gear::Freeze
            | Gear::Disconnect(_)
            | Gear::Poison(..)
            | Gear::Cluster => Vec::new(),
        }
    }

    /// The services that took more memory than hostile clients may cost, each a sentence.
    pub fn gluttons(&self) -> Vec<String> {
        if let Gear::Hostile(crowd) = &self.gear {
            crowd.gluttons()
        } else {
            Vec::new()
        }
    }
}

/// Starts the services and opens the shop, with plenty of everything.
async fn open(options: Options) -> Result<World> {
    let world = options.start_empty().await?;
    world
        .open(&["apple", "pear"], &["grace", "linus"], PLENTY)
        .await?;
    world.open(&[SOLD_OUT], &[], 0).await?;
    Ok(world)
}

async fn behind_proxy(options: Options, seed: u64) -> Result<(World, Proxy)> {
    let port = free_port()?;
    let proxy = Proxy::start(format!("127.0.0.1:{port}"), seed).await?;
    let server = NatsServer::builder().port(port);
    let world = open(options.server(server).through(&proxy.url)).await?;
    Ok((world, proxy))
}

/// One instance of a service, or both at the same moment, which is one strike.
async fn kill_services(world: &World, rng: &mut StdRng) -> Result<Struck> {
    let service = *Service::ALL.choose(rng).context("there are four services")?;
    let both = rng.random_bool(0.25);
    let victims = if both {
        vec![0, 1]
    } else {
        vec![rng.random_range(0..INSTANCES)]
    };
    for victim in &victims {
        world.kill9(service, *victim).await?;
    }
    for victim in &victims {
        world.restart(service, *victim).await?;
    }
    let blow = match victims.as_slice() {
        [victim] => format!("kill -9 {} {victim}", service.name()),
        _ => format!("kill -9 both of {}", service.name()),
    };
    Ok(Struck::once(blow))
}

async fn freeze(world: &World, rng: &mut StdRng) -> Result<Struck> {
    let mut time = ACK_WAIT.mul_f64(rng.random_range(1.2..2.0));
    if rng.random_bool(0.3) {
        if rng.random_bool(0.3) {
            time = BEYOND_DOUBT;
        }
        world.with_nats(0, async |server| server.stop()).await?;
        tokio::time::sleep(time).await;
        world.with_nats(0, async |server| server.cont()).await?;
        return Ok(Struck::once(format!("SIGSTOP nats-server for {time:?}")));
    }
    let service = *Service::ALL.choose(rng).context("there are four services")?;
    let victim = rng.random_range(0..INSTANCES);
    world.freeze(service, victim).await?;
    tokio::time::sleep(time).await;
    world.thaw(service, victim).await?;
    Ok(Struck::once(format!(
        "SIGSTOP {} {victim} for {time:?}",
        service.name()
    )))
}

/// Lets some frames be spoiled.
async fn spoil(proxy: &Proxy, left: usize) -> Result<Struck> {
    const SOME: u64 = 20;
    let before = proxy.counts().total();
    let some = SOME.min(left as u64);
    let spoiled = until(PATIENCE, async || {
        let spoiled = proxy.counts().total() - before;
        anyhow::Ok((spoiled >= some).then_some(spoiled))
    });
    let spoiled = spoiled.await?.context("nothing passes that could be spoiled")?;
    Ok(Struck {
        blow: format!("{spoiled} frames spoiled"),
        count: usize::try_from(spoiled)?,
    })
}

async fn disturb(proxy: &Proxy, rng: &mut StdRng) -> Result<Struck> {
    let blow = match rng.random_range(0..10) {
        0..=3 => format!("{} connection cut", proxy.cut_one(rng)),
        4..=5 => format!("{} connections cut", proxy.cut_all()),
        6..=7 => {
            let beyond_doubt = rng.random_bool(0.2);
            let time = if beyond_doubt {
                BEYOND_DOUBT
            } else {
                ACK_WAIT.mul_f64(rng.random_range(0.3..2.0))
            };
            proxy.turn(Weather::Stalled);
            tokio::time::sleep(time).await;
            proxy.turn(Weather::Fine);
            format!("stalled for {time:?}")
        }
        _ => {
            let pause = Duration::from_millis(rng.random_range(1..10));
            let time = ACK_WAIT.mul_f64(rng.random_range(0.5..2.0));
            proxy.turn(Weather::Slow(pause));
            tokio::time::sleep(time).await;
            proxy.turn(Weather::Fine);
            format!("slowed by {pause:?} a frame for {time:?}")
        }
    };
    Ok(Struck::once(blow))
}

/// Fills the disk until somebody is told that nothing is known, makes space, and restarts the server. Says whether an
/// order was accepted before the restart.
///
/// nats-server 2.15.1 remembers a write that failed for good: the stream that it was for answers nobody any more,
/// space or not, until the server is started again ("critical write error" in its log). Other streams may go on.
async fn fill(
    world: &World,
    disk: &SmallDisk,
    rng: &mut StdRng,
    history: &History,
) -> Result<(Struck, bool)> {
    let began = history.now();
    let free = rng.random_range(0..512 * 1024);
    disk.fill(free)?;
    // Which stream meets the limit first is chance, and with it who has to say so.
    let told = |request: &Request| request.status == Some(503);
    let felt = until(PATIENCE, async || {
        anyhow::Ok((history.count(began, told) > 0).then_some(()))
    });
    felt.await?
        .with_context(|| format!("the disk is full, and nobody was told so within {PATIENCE:?}"))?;
    disk.clear()?;
    let served = |since| {
        move || {
            history.count(since, |request| {
                request.asked == Asked::Create && request.status == Some(201)
            }) > 0
        }
    };
    let served_since_cleared = served(history.now());
    let went_on = until(SPACE_PATIENCE, async || {
        anyhow::Ok(served_since_cleared().then_some(()))
    })
    .await?;
    world.restart_nats().await?;
    let served_since_restart = served(history.now());
    until(PATIENCE, async || {
        anyhow::Ok(served_since_restart().then_some(()))
    })
    .await?
    .context("there is space again, nats-server was restarted, and no order is accepted")?;
    let how = if went_on.is_some() {
        "orders were accepted at once"
    } else {
        "orders were accepted after a restart"
    };
    Ok((
        Struck::once(format!("disk filled but for {free} bytes; {how}")),
        went_on.is_some(),
    ))
}

/// Kills or freezes whoever leads everything, or one of the streams, and waits until the cluster is whole again.
async fn strike_leader(world: &World, rng: &mut StdRng) -> Result<Struck> {
    const LED: [Option<&str>; 6] = [
        None,
        Some("KV_order"),
        Some("KV_payment"),
        Some("KV_inventory"),
        Some("KV_delivery"),
        Some("EVENTS"),
    ];
    let cluster = world.cluster().context("this is no cluster")?;
    let led = *LED.choose(rng).context("something is led")?;
    let victim = until(PATIENCE, async || anyhow::Ok(cluster.leader(led).await));
    let victim = victim.await?.context("nobody leads")?;
    let of = led.unwrap_or("all");
    let blow = if rng.random_bool(0.5) {
        world
            .with_nats(victim, async |server| server.kill9().await)
            .await?;
        let down = Duration::from_millis(rng.random_range(0..5_000));
        tokio::time::sleep(down).await;
        world
            .with_nats(victim, async |server| server.restart().await)
            .await?;
        format!("kill -9 n{victim}, leader of {of}; down for {down:?}")
    } else {
        // Longer than an election takes (4 to 9 s), or not.
        let time = ACK_WAIT.mul_f64(rng.random_range(1.5..12.0));
        world.with_nats(victim, async |server| server.stop()).await?;
        tokio::time::sleep(time).await;
        world.with_nats(victim, async |server| server.cont()).await?;
        format!("SIGSTOP n{victim}, leader of {of}, for {time:?}")
    };
    cluster.until_whole().await?;
    Ok(Struck::once(blow))
}
