//! `quadrille run-all`: the whole system on this machine, until told to stop.

use std::convert::Infallible;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::future::try_join_all;
use quadrille_local::client::{Api, ApiError, until};
use quadrille_local::{NatsServer, Program, Service, Signals, System, env, repo_root, shop};
use serde_json::{Value, json};

/// How long stocking may meet "not now" (503, no answer) before it gives up.
const STOCK_PATIENCE: Duration = Duration::from_secs(10);

/// The stock of each item on the first day: some thousands, so that trying things out does not empty it.
const ITEM_QUANTITY: u64 = 5_000;
/// The couriers. Their capacity is more than any load test uses, so that `delivery.no-courier` has to be asked for.
const COURIERS: [&str; 3] = ["ada", "grace", "linus"];
const COURIER_CAPACITY: u64 = 100_000;

/// Run everything: nats-server (or the one at NATS_URL), the four services and the console, until Ctrl-C
///
/// Environment: NATS_URL uses that server instead of starting one; NATS_PORT, ORDER_PORT, PAYMENT_PORT, INVENTORY_PORT,
/// DELIVERY_PORT and CONSOLE_PORT move what is started; QUADRILLE_DATA is the data folder (default: .run in the repository). All else
/// is passed on to the services (FLOW, PAYMENT_DEADLINE, RUST_LOG, ...).
#[derive(clap::Args)]
pub struct RunAllArgs {}

/// Runs everything until a signal (Ok) or until something cannot start or has died (Err). Either way nothing is left running.
pub async fn run(_: RunAllArgs) -> Result<()> {
    let output = Output::new();
    let mut signals = Signals::listen()?;
    let mut system = unstarted(output)?;
    let outcome = tokio::select! {
        outcome = live(&mut system, output) => outcome.map(|never| match never {}),
        () = signals.next() => Ok(()),
    };
    if outcome.is_ok() {
        output.say("stopping (Ctrl-C again kills)");
    }
    tokio::select! {
        errors = system.stop() => for error in errors {
            output.say(&format!("{error:#}"));
        },
        () = signals.next() => output.say("killing"),
    }
    outcome
}

/// The system that the environment describes.
fn unstarted(output: Output) -> Result<System> {
    let mut builder = System::builder()
        .console()
        .on_line(move |program, line| output.log(program, line));
    builder = if let Some(url) = env("NATS_URL") {
        builder.at(&url)
    } else {
        let data = env("QUADRILLE_DATA").map_or_else(|| repo_root().join(".run"), PathBuf::from);
        let server = NatsServer::builder().port(quadrille_local::nats_port()?);
        builder.server(server.folder(data.join("nats")))
    };
    for program in Program::ALL {
        builder = builder.port(program, program.port()?);
    }
    if env("LOG_FORMAT").is_none() {
        builder = builder.env("LOG_FORMAT", "text");
    }
    Ok(builder.unstarted())
}

/// Starts everything, says where it is, and returns only when something could not start or has died.
async fn live(system: &mut System, output: Output) -> Result<Infallible> {
    let began = Instant::now();
    output.say("starting nats-server, the four services and the console");
    system.start().await?;
    stock(&system.api(0)?)
        .await
        .context("cannot put in the first stock and couriers")?;
    let took = began.elapsed().as_secs_f64();
    output.say(&format!("ready in {took:.1} s\n\n{}", overview(system)?));
    Err(system.death().await)
}

/// Where everything is, and what to do with it.
fn overview(system: &mut System) -> Result<String> {
    let folder = system.folder();
    let nats_url = without_secret(system.nats_url());
    let mut text = String::new();
    for (program, url) in system.urls() {
        text += &format!("  {:<10} {url}\n", program.name());
    }
    text += &format!("  {:<10} {nats_url}\n", "nats");
    if let Some(folder) = folder {
        let folder = folder.display();
        text += &format!(
            "  {:<10} {folder} (survives restarts; its log is in there)\n",
            "data"
        );
    }
    let page = system.url(Program::Console, 0)?;
    let order = system.url(Service::Order, 0)?;
    let example = json!({
        "customer_id": "ada",
        "lines": [{"item_id": "apple", "quantity": 2}],
        "currency": "EUR", "address": "1 Main St", "payment": "auto",
    });
    let (server, here) = elsewhere(system, &nats_url);
    text += &format!(
        "\nOpen {page} to see every order's way, live. Or try, in another terminal:\n\n  \
         curl -s {order}/orders/create_order -H 'content-type: application/json' -d '{example}'\n  \
         {here}deploy/just watch          # every event as it is committed; or: nats {server}sub 'payment.>'\n  \
         {here}deploy/just demo           # an order through every ending, each with its story\n\n\
         Ctrl-C stops everything."
    );
    Ok(text)
}

/// What commands need in another terminal, which does not have this environment: an option of `nats`, and variables of
/// `deploy/just`. Nothing for what is at its default.
fn elsewhere(system: &System, nats_url: &str) -> (String, String) {
    let (mut server, mut here) = (String::new(), String::new());
    if nats_url != "nats://127.0.0.1:4222" {
        server = format!("-s {nats_url} ");
        here = format!("NATS_URL={nats_url} ");
    }
    for (program, url) in system.urls() {
        let port = url.rsplit(':').next().unwrap_or_default();
        if program != Program::Console && port != program.default_port().to_string() {
            here += &format!("{}={port} ", program.port_variable());
        }
    }
    (server, here)
}

/// A server URL (or several, with commas) as it may be shown: without user, password or token.
fn without_secret(urls: &str) -> String {
    let show = |url: &str| match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://***@{host}"),
        (None, Some((_, host))) => format!("***@{host}"),
        (_, None) => url.to_owned(),
    };
    urls.split(',').map(show).collect::<Vec<_>>().join(",")
}

/// Puts in the items and couriers of the first day; what is there already is left alone.
async fn stock(api: &Api) -> Result<()> {
    let mut listed = Vec::new();
    for item in shop::items(ITEM_QUANTITY) {
        match surely(async || api.item(&item.item_id).await).await {
            Err(error) if is_not_found(&error) => {
                surely(async || api.list_item(&item).await).await?;
                listed.push(item);
            }
            there => drop(there?),
        }
    }
    let photos = listed
        .iter()
        .map(|item| surely(async || api.put_photo(&item.item_id, item.photo()).await));
    try_join_all(photos).await?;
    let there = surely(async || api.couriers().await).await?;
    for courier in COURIERS {
        if !is_listed(&there, courier) {
            surely(async || api.put_courier(courier, COURIER_CAPACITY).await).await?;
        }
    }
    Ok(())
}

fn is_not_found(error: &anyhow::Error) -> bool {
    error.downcast_ref::<ApiError>().and_then(ApiError::status) == Some(404)
}

fn is_listed(couriers: &Value, id: &str) -> bool {
    let mut couriers = couriers["couriers"].as_array().into_iter().flatten();
    couriers.any(|courier| courier["courier_id"] == id)
}

/// Repeats a request while its answer is "not now": it may be sent twice.
async fn surely(mut request: impl AsyncFnMut() -> Result<Value, ApiError>) -> Result<Value> {
    let mut doubt = None;
    let answered = until(STOCK_PATIENCE, async || match request().await {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is_in_doubt() => {
            doubt = Some(error.to_string());
            Ok(None)
        }
        Err(error) => Err(error),
    });
    answered.await?.with_context(|| {
        let why = doubt.unwrap_or_default();
        format!("no answer within {STOCK_PATIENCE:?}: {why}")
    })
}

/// Standard output. That nobody reads it is no reason to stop.
#[derive(Clone, Copy)]
struct Output {
    in_colour: bool,
}

impl Output {
    fn new() -> Self {
        Self {
            in_colour: std::io::stdout().is_terminal() && env("NO_COLOR").is_none(),
        }
    }

    fn say(self, text: &str) {
        drop(writeln!(std::io::stdout().lock(), "{text}"));
    }

    fn log(self, program: Program, line: &str) {
        let name = program.name();
        if !self.in_colour {
            return self.say(&format!("{name:<9} | {line}"));
        }
        let colour = colour(program);
        self.say(&format!("\x1b[{colour}m{name:<9} |\x1b[0m {line}"));
    }
}

/// The ANSI code of a program's colour in the log.
fn colour(program: Program) -> u8 {
    match program {
        Program::Service(Service::Order) => 36,
        Program::Service(Service::Payment) => 33,
        Program::Service(Service::Inventory) => 32,
        Program::Service(Service::Delivery) => 35,
        Program::Console => 90,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_courier_is_found_by_its_id() {
        let couriers = json!({"couriers": [{"courier_id": "ada", "load": 1}]});
        assert!(is_listed(&couriers, "ada"));
        assert!(!is_listed(&couriers, "grace") && !is_listed(&json!({}), "ada"));
    }

    #[test]
    fn a_password_is_not_shown() {
        assert_eq!(
            without_secret("nats://ada:p@ss@one:4222,nats://two"),
            "nats://***@one:4222,nats://two"
        );
        assert_eq!(without_secret("token@one"), "***@one");
    }
}
