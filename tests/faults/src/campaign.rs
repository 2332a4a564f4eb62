//! One campaign: an own server and own services, customers who never stop, one kind of strike that hits again and
//! again; then everybody finishes, and everything is checked.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use quadrille_audit::Violation;
use quadrille_events::Ending;
use quadrille_local::client::until;
use quadrille_tests::{PATIENCE, World, eventually};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::arena::Arena;
use crate::check::check;
use crate::customers::Customers;
use crate::history::{History, Strike, Tally, accepted};
use crate::plan::{Campaign, Plan, nth};
use crate::stored::StoredOrders;

/// What the audit says of an event that EVENTS lacks. When the disk is full, nats-server 2.15.1 skips what it cannot
/// write while it sources a bucket into EVENTS, and does not come back to it. Nobody decides from the log, and it can be
/// sourced anew (delete it, and start a service again); so after a full disk, and only then, it is counted and told,
/// and no violation.
const NOT_LOGGED: &str = "in its bucket and not in the log";
/// How long the log may take to catch up where it may never.
const LOG_PATIENCE: Duration = Duration::from_secs(10);

/// What came of a campaign.
#[derive(Debug)]
pub struct Outcome {
    /// Which.
    pub campaign: Campaign,
    /// How often it struck.
    pub strikes: usize,
    /// How many requests came to what.
    pub tally: Tally,
    /// How many orders were answered 201.
    pub accepted: usize,
    /// How many orders there are: some were accepted, and the answer was lost.
    pub orders: usize,
    /// How many of them have ended.
    pub ended: usize,
    /// How they did.
    pub endings: BTreeMap<Ending, usize>,
    /// What should not be.
    pub violations: Vec<Violation>,
    /// After each strike: how long it took from the moment that it was healed until every order had ended that was
    /// placed before and needs nobody. Others may have struck meanwhile; not after the last.
    pub catch_up: Vec<Duration>,
    /// What else there is to know.
    pub notes: Vec<String>,
    /// How long all of it took.
    pub took: Duration,
}

/// What came of planning one.
#[derive(Debug)]
pub enum Ran {
    /// It ran.
    Through(Box<Outcome>),
    /// It cannot run here, for this reason. Nothing was tried, so nothing is proven.
    LeftOut(String),
}

/// Runs a campaign, writes its history into `folder`, and tells `progress` how it goes.
///
/// # Errors
/// The system does not start, or what was struck does not come back: that is as bad as a violation.
pub async fn run(plan: Plan, folder: &Path, progress: impl Fn(&str)) -> Result<Ran> {
    let began = Instant::now();
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let path = folder.join(format!("{}-{}.jsonl", plan.campaign.name(), plan.seed));
    let mut arena = match Arena::build(&plan).await? {
        Ok(arena) => arena,
        Err(reason) => return Ok(Ran::LeftOut(reason)),
    };
    let history = Arc::new(History::begin(&path)?);
    let world = Arc::clone(&arena.world);
    let customers = Customers::come(&world, &history, plan.own_seed(), plan.customers, plan.pause);
    let served = until(PATIENCE, async || {
        anyhow::Ok((history.accepted() >= plan.customers).then_some(()))
    });
    served
        .await?
        .context("no orders were accepted before the first strike")?;

    let mut told = 0;
    let mut strikes = 0;
    for turn in 0.. {
        if strikes >= plan.strikes {
            break;
        }
        let mut rng = StdRng::seed_from_u64(nth(plan.own_seed(), turn));
        let healed = history.now();
        tokio::time::sleep(Duration::from_millis(rng.random_range(50..400))).await;
        if rng.random_bool(0.5) {
            // As often as not, only what has come to itself is struck again.
            let works = until(PATIENCE, async || {
                let served = history.count(healed, |request| request.status == Some(201));
                anyhow::Ok((served > 0).then_some(()))
            });
            if works.await?.is_none() {
                let deaths = world.deaths().await?.join("\n");
                bail!("no order is accepted any more after {strikes} strikes; {deaths}");
            }
        }
        let began = history.now();
        let struck = arena.strike(&mut rng, &history, plan.strikes - strikes).await?;
        let healed = history.now();
        history.struck(Strike {
            began,
            healed,
            strike: struck.blow,
        })?;
        strikes += struck.count;
        if (strikes - told) * 10 >= plan.strikes {
            told = strikes;
            let (what, accepted) = (plan.campaign.strike(), history.accepted());
            progress(&format!(
                "{strikes} of {} {what}, {accepted} orders accepted",
                plan.strikes
            ));
        }
    }
    arena.calm();

    let mut violations = Vec::new();
    let mut found = |invariant: &'static str, sentences: Vec<String>| {
        let each = sentences.into_iter();
        violations.extend(each.map(|sentence| Violation { invariant, sentence }));
    };
    found("whoever asks gets an answer in the end", customers.leave().await?);
    found(
        "everybody handles everything in the end",
        come_to_an_end(&world, &history).await?,
    );
    found("no process dies by itself", world.deaths().await?);
    let unparked = eventually(async || arena.unparked().await.map(Some));
    found("poison is parked", unparked.await?);
    found("memory stays bounded", arena.gluttons());
    let patience = match plan.campaign {
        Campaign::FullDisk => LOG_PATIENCE,
        Campaign::KillServices
        | Campaign::KillBroker
        | Campaign::Freeze
        | Campaign::Repeat
        | Campaign::LoseAcks
        | Campaign::Disconnect
        | Campaign::Poison
        | Campaign::Cluster
        | Campaign::Hostile => PATIENCE,
    };
    let mut report = world.report(Some(&arena.provider.books()), patience).await?;
    if plan.campaign == Campaign::FullDisk {
        let before = report.violations.len();
        report
            .violations
            .retain(|violation| !violation.sentence.ends_with(NOT_LOGGED));
        let unlogged = before - report.violations.len();
        report.notes.push(format!(
            "{unlogged} of {} events are in their buckets and not in the EVENTS log, which has to be sourced anew",
            report.events
        ));
    }
    let waiting = report.waiting.iter();
    let waiting = waiting.map(|(order_id, what)| format!("order {order_id} still waits for {what}"));
    found("1: every order ends completed or cancelled", waiting.collect());
    let stored = stored(&world).await?;
    let requests = history.requests();
    violations.extend(report.violations);
    violations.extend(check(&requests, &stored));
    history.flush()?;

    let ended = stored
        .orders
        .values()
        .filter(|record| record.facts.has_ended())
        .count();
    Ok(Ran::Through(Box::new(Outcome {
        campaign: plan.campaign,
        strikes,
        tally: history.tally(),
        accepted: accepted(&requests).len(),
        orders: stored.orders.len(),
        ended,
        endings: report.endings,
        violations,
        catch_up: catch_up(&history.strikes(), history.began_at, &stored),
        notes: [arena.notes(), report.notes].concat(),
        took: began.elapsed(),
    })))
}

/// Waits until every order has ended, and gives up for those who wait for approval and have gone. Says what still hangs.
async fn come_to_an_end(world: &Arc<World>, history: &Arc<History>) -> Result<Vec<String>> {
    let deadline = Instant::now() + 2 * PATIENCE;
    loop {
        if let Err(behind) = world.settle().await {
            return Ok(vec![format!("{behind:#}")]);
        }
        let stored = stored(world).await?;
        let open = stored
            .orders
            .iter()
            .filter(|(_, record)| !record.facts.has_ended());
        let open: Vec<_> = open.collect();
        // Whatever hangs then is the audit's to name.
        if open.is_empty() || Instant::now() > deadline {
            return Ok(Vec::new());
        }
        for (order_id, record) in open {
            if record.facts.awaits_approval() {
                Customers::give_up(world, history, order_id).await?;
            }
        }
        // The others wait for their deadline: a moment that nobody announces.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn stored(world: &World) -> Result<StoredOrders> {
    eventually(async || StoredOrders::read(&world.operator).await.map(Some)).await
}

fn catch_up(strikes: &[Strike], began_at: Timestamp, stored: &StoredOrders) -> Vec<Duration> {
    let mut lives: Vec<(Timestamp, Timestamp)> = stored
        .orders
        .values()
        .filter(|record| record.needs_nobody())
        .filter_map(|record| Some((record.placed_at()?, record.ended_at()?)))
        .collect();
    lives.sort();
    let mut caught_up = Vec::new();
    for strike in strikes {
        let healed = began_at + Duration::from_micros(strike.healed);
        let before = lives.partition_point(|(placed, _)| *placed <= healed);
        let last = lives[..before].iter().map(|(_, ended)| *ended).max();
        let after = last.map(|last| last.duration_since(healed));
        caught_up.push(after.and_then(|after| after.try_into().ok()).unwrap_or_default());
    }
    caught_up
}
