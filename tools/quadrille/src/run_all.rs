//! `quadrille run-all`: the whole system on this machine, until told to stop.

use std::io::{IsTerminal, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::FutureExt;
use futures::future::{join_all, select_all, try_join_all};
use serde_json::{Value, json};

use quadrille_local::{NatsServer, Process, Service, Signals, env, probe, repo_root};

/// All services must be ready by then.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long stocking may meet "not now" (503, no answer) before it gives up.
const STOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// One HTTP request of ours.
const HTTP_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause between two tries of a request.
const HTTP_PAUSE: Duration = Duration::from_millis(200);

/// What the shop has on its first day, of each: some thousands, so that trying things out does not empty it.
const ITEMS: [&str; 4] = ["apple", "pear", "plum", "bread"];
const ITEM_QUANTITY: u64 = 5_000;
/// Who delivers. More than any load test sends, so that "no courier" has to be asked for.
const COURIERS: [&str; 3] = ["ada", "grace", "linus"];
const COURIER_CAPACITY: u64 = 100_000;

/// Run everything: nats-server (or the one at NATS_URL), the four services and the console, until Ctrl-C
///
/// Environment: NATS_URL uses that server instead of starting one; NATS_PORT, ORDER_PORT, PAYMENT_PORT, INVENTORY_PORT,
/// DELIVERY_PORT and CONSOLE_PORT move what is started; QUADRILLE_DATA is the data folder (default: .run in the repository). All else
/// is passed on to the services (FLOW, PAYMENT_DEADLINE, RUST_LOG, ...).
#[derive(clap::Args)]
pub struct Args {}

/// Runs everything until a signal (Ok) or until something dies (Err). Either way nothing is left running.
pub async fn run(_: Args) -> Result<()> {
    let settings = Settings::from_env()?;
    let mut signals = Signals::listen()?;
    let mut system = System::default();
    let outcome = tokio::select! {
        outcome = system.live(&settings) => outcome.map(|never| match never {}),
        () = signals.next() => Ok(()),
    };
    if outcome.is_ok() {
        settings.console.say("stopping (Ctrl-C again kills)");
    }
    tokio::select! {
        () = system.stop(&settings.console) => {}
        () = signals.next() => settings.console.say("killing"),
    }
    outcome
}

struct Settings {
    /// `NATS_URL`, if there is a server to use already.
    nats_url: Option<String>,
    nats_port: u16,
    data: PathBuf,
    bind: String,
    ports: [(Service, u16); 4],
    console_port: u16,
    console: Console,
}

impl Settings {
    fn from_env() -> Result<Self> {
        let [a, b, c, d] = Service::ALL;
        Ok(Self {
            nats_url: env("NATS_URL"),
            nats_port: quadrille_local::nats_port()?,
            data: env("QUADRILLE_DATA").map_or_else(|| repo_root().join(".run"), PathBuf::from),
            bind: env("BIND").unwrap_or_else(|| String::from("127.0.0.1")),
            ports: [(a, a.port()?), (b, b.port()?), (c, c.port()?), (d, d.port()?)],
            console_port: quadrille_local::console::port()?,
            console: Console {
                colour: std::io::stdout().is_terminal() && env("NO_COLOR").is_none(),
            },
        })
    }

    /// Looks at every port before anything is started, so that a second `run-all` does not start half of itself.
    fn check_ports(&self) -> Result<()> {
        let services = self
            .ports
            .iter()
            .map(|(service, port)| (service.name(), self.bind.as_str(), *port, service.port_variable()));
        let nats =
            self.nats_url
                .is_none()
                .then_some(("nats-server", "127.0.0.1", self.nats_port, "NATS_PORT"));
        let mut held = Vec::new();
        let mut taken = Vec::new();
        let console = (
            quadrille_local::console::NAME,
            self.bind.as_str(),
            self.console_port,
            quadrille_local::console::PORT_VARIABLE,
        );
        for (name, host, port, variable) in nats.into_iter().chain(services).chain([console]) {
            match TcpListener::bind((host, port)) {
                // Held until all are looked at: two services on one port are found too.
                Ok(listener) => held.push(listener),
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                    taken.push(format!("{port} ({name}, {variable})"));
                }
                Err(error) => {
                    return Err(error).with_context(|| {
                        format!("{name} cannot listen on {host} port {port} (BIND and {variable} say where)")
                    });
                }
            }
        }
        ensure!(
            taken.is_empty(),
            "{} {} taken: stop what listens there (another Quadrille?), or move this one by setting the variable in brackets",
            if taken.len() == 1 { "port" } else { "ports" },
            if let [one] = taken.as_slice() {
                format!("{one} is")
            } else {
                format!("{} are", taken.join(", "))
            },
        );
        Ok(())
    }
}

/// What has been started so far. Dropping it kills all of it.
#[derive(Default)]
struct System {
    // Dropped in this order: services before the server that they talk to.
    services: Vec<Process>,
    nats: Option<NatsServer>,
}

impl System {
    /// Starts everything, says where it is, and returns only when something could not start or has died.
    async fn live(&mut self, settings: &Settings) -> Result<std::convert::Infallible> {
        let began = Instant::now();
        let nats_url = self.start(settings).await?;
        let mut urls = try_join_all(
            self.services
                .iter_mut()
                .map(|service| service.wait_ready(READY_TIMEOUT)),
        )
        .await?;
        stock(url(&urls, Service::Inventory), url(&urls, Service::Delivery))
            .await
            .context("cannot put in the first stock and couriers")?;
        urls.push(self.start_console(settings, &nats_url, &urls).await?);
        self.say_where(settings, &nats_url, &urls, began.elapsed());
        Err(self.death().await)
    }

    async fn start(&mut self, settings: &Settings) -> Result<String> {
        settings.check_ports()?;
        for service in Service::ALL {
            service.binary()?;
        }
        quadrille_local::console::binary()?;
        let console = settings.console;
        let nats_url = match &settings.nats_url {
            Some(url) => {
                check_server(url).await?;
                url.clone()
            }
            None => {
                let folder = settings.data.join("nats");
                let nats = NatsServer::builder()
                    .port(settings.nats_port)
                    .folder(folder)
                    .start()
                    .await?;
                self.nats.insert(nats).url()
            }
        };
        for (service, port) in settings.ports {
            let mut process = service
                .on(&nats_url, port)?
                .on_line(move |line| console.log(service.name(), colour(service), &line.text));
            if env("LOG_FORMAT").is_none() {
                process = process.env("LOG_FORMAT", "text");
            }
            self.services.push(process.start()?);
        }
        Ok(nats_url)
    }

    /// Starts the console once the services are there whose URLs it has to know.
    async fn start_console(
        &mut self,
        settings: &Settings,
        nats_url: &str,
        urls: &[String],
    ) -> Result<String> {
        let (order, payment) = (url(urls, Service::Order), url(urls, Service::Payment));
        let console = settings.console;
        let mut process = quadrille_local::console::on(nats_url, settings.console_port, order, payment)?
            .on_line(move |line| console.log(quadrille_local::console::NAME, GREY, &line.text));
        if env("LOG_FORMAT").is_none() {
            process = process.env("LOG_FORMAT", "text");
        }
        self.services.push(process.start()?);
        match self.services.last_mut() {
            Some(console) => console.wait_ready(READY_TIMEOUT).await,
            None => bail!("the console is gone"),
        }
    }

    /// Waits until one of them ends by itself, which none should.
    async fn death(&mut self) -> anyhow::Error {
        let mut deaths = Vec::new();
        for service in &mut self.services {
            deaths.push(async { service.wait().await.map(|status| service.death(status)) }.boxed());
        }
        if let Some(nats) = &mut self.nats {
            let death = async {
                let status = nats.wait().await?;
                Ok(anyhow::anyhow!(
                    "nats-server died: {status}; its last lines:\n{}",
                    nats.log_tail()
                ))
            };
            deaths.push(death.boxed());
        }
        let (death, ..) = select_all(deaths).await;
        death.unwrap_or_else(|error| error)
    }

    /// Services first, all at once, so that each can finish its group while the server is there.
    async fn stop(&mut self, console: &Console) {
        let stopped = join_all(self.services.iter_mut().map(Process::terminate)).await;
        let mut errors: Vec<_> = stopped.into_iter().filter_map(Result::err).collect();
        if let Some(nats) = &mut self.nats {
            errors.extend(nats.terminate().await.err());
        }
        for error in errors {
            console.say(&format!("{error:#}"));
        }
    }

    fn say_where(&self, settings: &Settings, nats_url: &str, urls: &[String], took: Duration) {
        let nats_url = without_secret(nats_url);
        let mut text = format!("ready in {:.1} s\n\n", took.as_secs_f64());
        for (service, url) in self.services.iter().zip(urls) {
            text += &format!("  {:<10} {url}\n", service.name());
        }
        text += &format!("  {:<10} {nats_url}\n", "nats");
        if let Some(nats) = &self.nats {
            text += &format!(
                "  {:<10} {} (survives restarts; its log is in there)\n",
                "data",
                nats.folder().display()
            );
        }
        let order = urls.first().map_or("", String::as_str);
        let page = urls.last().map_or("", String::as_str);
        // Whoever types these in another terminal does not have our environment; what is at its default needs no help.
        let is_default = nats_url == "nats://127.0.0.1:4222";
        let server = if is_default {
            String::new()
        } else {
            format!("-s {nats_url} ")
        };
        let mut here = if is_default {
            String::new()
        } else {
            format!("NATS_URL={nats_url} ")
        };
        for (service, url) in Service::ALL.into_iter().zip(urls) {
            let port = url.rsplit(':').next().unwrap_or_default();
            if port != service.default_port().to_string() {
                here += &format!("{}={port} ", service.port_variable());
            }
        }
        text += &format!(
            "\nOpen {page} to see every order's way, live. Or try, in another terminal:\n\n  \
             curl -s {order}/orders/create_order -H 'content-type: application/json' -d '{}'\n  \
             {here}deploy/just watch          # every event as it is committed; or: nats {server}sub 'payment.>'\n  \
             {here}deploy/just demo           # an order through every ending, each with its story\n\n\
             Ctrl-C stops everything.",
            json!({
                "customer_id": "ada",
                "lines": [{"item_id": "apple", "quantity": 2, "unit_price": 250}],
                "total": 500, "currency": "EUR", "address": "1 Main St", "payment": "auto",
            })
        );
        settings.console.say(&text);
    }
}

/// Refuses a server that cannot do, in one sentence instead of four services' worth of them. What is not plainly
/// `nats://host:port` (TLS first, websockets) is left to the services, which check it too.
async fn check_server(url: &str) -> Result<()> {
    let first = url.split(',').next().unwrap_or(url).trim();
    let address = match first.split_once("://") {
        None => first,
        Some(("nats", address)) => address,
        Some(_) => return Ok(()),
    };
    let host = address
        .rsplit('@')
        .next()
        .unwrap_or(address)
        .trim_end_matches('/');
    let has_port = host
        .rsplit(':')
        .next()
        .is_some_and(|port| port.parse::<u16>().is_ok());
    let host = if has_port {
        host.to_owned()
    } else {
        format!("{host}:4222")
    };
    probe(&host)
        .await
        .and_then(|server| server.check())
        .context("cannot use the server at NATS_URL")
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
async fn stock(inventory: &str, delivery: &str) -> Result<()> {
    let http = Http(
        reqwest::Client::builder()
            .no_proxy()
            .timeout(HTTP_TIMEOUT)
            .build()?,
    );
    for item in ITEMS {
        let url = format!("{inventory}/inventory/items/{item}");
        if http.get(&url).await?.is_none() {
            http.put(&url, &json!({"quantity": ITEM_QUANTITY})).await?;
        }
    }
    let there = http
        .get(&format!("{delivery}/couriers"))
        .await?
        .unwrap_or_default();
    for courier in COURIERS {
        if !mentions(&there, courier) {
            http.put(
                &format!("{delivery}/couriers/{courier}"),
                &json!({"capacity": COURIER_CAPACITY}),
            )
            .await?;
        }
    }
    Ok(())
}

/// Whether a `courier_id` in there is this one.
fn mentions(couriers: &Value, id: &str) -> bool {
    match couriers {
        Value::Array(list) => list.iter().any(|courier| mentions(courier, id)),
        Value::Object(map) => {
            map.get("courier_id").is_some_and(|courier| courier == id)
                || map
                    .values()
                    .any(|value| (value.is_array() || value.is_object()) && mentions(value, id))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Requests that are repeated while the answer is "not now"; all that is sent through it may be sent twice.
struct Http(reqwest::Client);

impl Http {
    /// The body, or `None` for 404.
    async fn get(&self, url: &str) -> Result<Option<Value>> {
        let answer = self.send("GET", || self.0.get(url), url).await?;
        Ok(if answer.status().as_u16() == 404 {
            None
        } else {
            Some(answer.json().await?)
        })
    }

    async fn put(&self, url: &str, body: &Value) -> Result<()> {
        self.send("PUT", || self.0.put(url).json(body), url)
            .await
            .map(drop)
    }

    async fn send(
        &self,
        method: &str,
        request: impl Fn() -> reqwest::RequestBuilder,
        url: &str,
    ) -> Result<reqwest::Response> {
        let deadline = Instant::now() + STOCK_TIMEOUT;
        loop {
            let why = match request().send().await {
                Ok(answer) if answer.status().is_success() => return Ok(answer),
                Ok(answer) if answer.status().as_u16() == 404 && method == "GET" => return Ok(answer),
                Ok(answer) => {
                    let status = answer.status();
                    let body = answer.text().await.unwrap_or_default();
                    ensure!(
                        status.as_u16() == 503,
                        "{method} {url} was answered {status}: {body}"
                    );
                    format!("{status}: {body}")
                }
                Err(error) => error.without_url().to_string(),
            };
            if Instant::now() >= deadline {
                bail!("{method} {url} got no answer within {STOCK_TIMEOUT:?}: {why}");
            }
            tokio::time::sleep(HTTP_PAUSE).await;
        }
    }
}

/// Where a service is; `urls` are in the order of [`Service::ALL`].
fn url(urls: &[String], service: Service) -> &str {
    let place = Service::ALL.iter().position(|one| *one == service);
    place.and_then(|place| urls.get(place)).map_or("", String::as_str)
}

/// Standard output. Nobody reading it is no reason to stop.
#[derive(Clone, Copy)]
struct Console {
    colour: bool,
}

impl Console {
    fn say(self, text: &str) {
        drop(writeln!(std::io::stdout().lock(), "{text}"));
    }

    fn log(self, name: &str, colour: u8, line: &str) {
        if !self.colour {
            return self.say(&format!("{name:<9} | {line}"));
        }
        self.say(&format!("\x1b[{colour}m{name:<9} |\x1b[0m {line}"));
    }
}

/// The console's colour in the log.
const GREY: u8 = 90;

fn colour(service: Service) -> u8 {
    match service {
        Service::Order => 36,
        Service::Payment => 33,
        Service::Inventory => 32,
        Service::Delivery => 35,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_courier_is_found_in_a_list_and_in_an_object() {
        let list = json!([{"courier_id": "ada", "load": 1}]);
        let object = json!({"couriers": [{"courier_id": "ada"}], "next": null});
        assert!(mentions(&list, "ada") && mentions(&object, "ada"));
        assert!(!mentions(&list, "grace") && !mentions(&json!([]), "ada"));
    }

    #[test]
    fn a_password_is_not_shown() {
        assert_eq!(
            without_secret("nats://ada:p@ss@one:4222,nats://two"),
            "nats://***@one:4222,nats://two"
        );
        assert_eq!(without_secret("token@one"), "***@one");
    }

    #[tokio::test]
    async fn a_server_at_nats_url_that_is_not_there_is_named() {
        let error = check_server("nats://user:secret@127.0.0.1:1")
            .await
            .expect_err("nobody is there");
        let error = format!("{error:#}");
        assert!(error.contains("no NATS server answers at 127.0.0.1:1"), "{error}");
        assert!(!error.contains("secret"), "{error}");
        check_server("wss://somewhere")
            .await
            .expect("left to the services");
    }
}
