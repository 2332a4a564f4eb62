//! `quadrille watch` and `trace`: events as they are committed, and what has been said about one order.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::pin::pin;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use quadrille_events::{Event, OrderId};

use quadrille_local::{connect, env, nats_url};
use quadrille_runtime::operator::story::{self, Story, Telling};
use quadrille_runtime::printable;

/// Follow the events as they are committed, of all orders or of one
#[derive(clap::Args, Debug)]
pub struct WatchArgs {
    /// Only this order's
    order_id: Option<OrderId>,
    /// One line an event, even where the `nats` CLI is installed
    #[arg(long)]
    plain: bool,
}

/// Show one order's events as a tree: who said what because of what, and how long after
#[derive(clap::Args, Debug)]
pub struct TraceArgs {
    /// Which order
    order_id: OrderId,
}

/// Follows until it is stopped: by `nats sub` if that is installed.
pub async fn watch(args: WatchArgs) -> Result<()> {
    let operator = connect().await?;
    if !args.plain
        && let Some(nats) = nats_cli()
    {
        let mut command = Command::new(&nats);
        command.args(["--server", &nats_url()?]);
        if let Some(creds) = env("NATS_CREDS") {
            command.args(["--creds", &creds]);
        }
        command.arg("sub").args(subjects(args.order_id.as_ref()));
        // Only comes back if it could not.
        return Err(command.exec()).with_context(|| format!("cannot run {}", nats.display()));
    }
    let mut events = pin!(operator.follow(">").await?);
    while let Some(entry) = events.next().await {
        let Some((order_id, told)) = story::heard(&entry?) else {
            continue;
        };
        if args.order_id.as_ref().is_some_and(|wanted| *wanted != order_id) {
            continue;
        }
        let reason = told
            .reason
            .map(|reason| format!(": {}", printable(&reason)))
            .unwrap_or_default();
        println!(
            "{:.3}  {:<9}  {order_id}  {}{reason}",
            told.at, told.service, told.event
        );
    }
    Ok(())
}

/// Tells one order's story.
pub async fn trace(args: TraceArgs) -> Result<()> {
    let story = Story::so_far(&connect().await?, &args.order_id).await?;
    ensure!(
        !story.events().is_empty(),
        "nobody has said anything about an order {}",
        args.order_id
    );
    print!("{}", story.tell(Telling::Timed));
    Ok(())
}

/// The subjects under which the EVENTS log republishes, and nothing else: of one order those that end in its id.
fn subjects(order_id: Option<&OrderId>) -> Vec<String> {
    let order_id = order_id.map_or("*", OrderId::as_str);
    let mut subjects: Vec<_> = Event::names()
        .map(|name| format!("{}.{order_id}", name.subject))
        .collect();
    subjects.sort();
    // Two services say `cancel-payment`.
    subjects.dedup();
    subjects
}

fn nats_cli() -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join("nats"))
        .find(|file| file.is_file())
}
