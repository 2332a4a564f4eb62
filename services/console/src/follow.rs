//! Keeps the view up to date: reads the open orders from the buckets, follows the EVENTS log, and asks now and then how
//! the listeners keep up.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::bail;
use futures::StreamExt;
use quadrille_runtime::DeadLetter;
use quadrille_runtime::http::Problem;
use quadrille_runtime::operator::{EVENTS, Operator, Since, heard};
use tokio::sync::{Semaphore, watch};
use tracing::{info, warn};

use crate::map::{Listener, Map, listeners};
use crate::scrub::Scrubs;
use crate::view::View;

/// How many pages may be open at once. Each costs a few overviews a second.
pub const MAX_PAGES: usize = 32;
/// The log counts as read when fewer events than this are left.
const NEARLY: u64 = 500;
/// The log counts as read, too, after so long without an event: its last event may have expired while it was read.
const SILENCE: Duration = Duration::from_secs(2);
/// The pause before the log is read anew.
const PAUSE: Duration = Duration::from_secs(1);
/// How often listeners and dead letters are looked at while a page is open. Each look is eight requests.
const LOOK: Duration = Duration::from_secs(1);
/// How often while none is.
const LOOK_UNSEEN: Duration = Duration::from_secs(10);

/// The view and the connection to the broker, shared by all requests.
#[derive(Clone)]
pub struct Shared(Arc<Inner>);

struct Inner {
    view: Mutex<View>,
    vitals: watch::Sender<Vitals>,
    operator: OnceLock<Operator>,
    /// Why the view is behind the log; `None` if it is not.
    unread: Mutex<Option<String>>,
    pages: Arc<Semaphore>,
    scrubs: Scrubs,
    stop: watch::Receiver<bool>,
}

/// The state of the listeners and the dead letters, which are not in the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vitals {
    pub map: Map,
    pub listeners: Vec<Listener>,
    pub dead_letters: Vec<DeadLetter>,
    /// Why they could not be asked for.
    pub problem: Option<String>,
}

impl Shared {
    pub fn new(stop: watch::Receiver<bool>) -> Self {
        let vitals = Vitals {
            map: Map::new(&[]),
            ..Vitals::default()
        };
        Self(Arc::new(Inner {
            view: Mutex::default(),
            vitals: watch::Sender::new(vitals),
            operator: OnceLock::new(),
            unread: Mutex::new(Some("the log is not read yet".to_owned())),
            pages: Arc::new(Semaphore::new(MAX_PAGES)),
            scrubs: Scrubs::default(),
            stop,
        }))
    }

    pub fn view(&self) -> MutexGuard<'_, View> {
        self.0.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn vitals(&self) -> watch::Receiver<Vitals> {
        self.0.vitals.subscribe()
    }

    pub fn pages(&self) -> Arc<Semaphore> {
        self.0.pages.clone()
    }

    pub fn scrubs(&self) -> &Scrubs {
        &self.0.scrubs
    }

    pub fn stop(&self) -> watch::Receiver<bool> {
        self.0.stop.clone()
    }

    /// The connection, once there is one.
    pub fn operator(&self) -> Result<&Operator, Problem> {
        self.0
            .operator
            .get()
            .ok_or_else(|| Problem::unavailable("not connected to NATS yet (NATS_URL)"))
    }

    /// Why the page may show old data; `None` if it does not.
    pub fn trouble(&self) -> Option<String> {
        match self.0.operator.get() {
            None => Some("waiting for NATS".to_owned()),
            Some(operator) if !operator.is_connected() => Some("the connection to NATS is lost".to_owned()),
            Some(_) => self
                .0
                .unread
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }

    fn set_unread(&self, why: Option<String>) {
        *self.0.unread.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }
}

/// Connects, and from then on keeps `shared` up to date. Waits for a server that is not there (yet); fails if the server
/// cannot be used, or if the client has died.
pub async fn keep(nats_url: &str, shared: &Shared, scrub_period: Duration) -> anyhow::Result<Infallible> {
    let operator = Operator::connect(nats_url).await?;
    let operator = shared.0.operator.get_or_init(|| operator);
    tokio::select! {
        never = watch_listeners(operator, shared) => match never {},
        never = follow(operator, shared) => match never {},
        never = shared.0.scrubs.keep(operator, scrub_period) => match never {},
        () = operator.died() => bail!("the NATS client has died; the log says where"),
    }
}

/// Reads the log from its start, again and again: after a gap the fold is made anew, which is always right.
async fn follow(operator: &Operator, shared: &Shared) -> Infallible {
    let mut told = None;
    loop {
        let problem = match read(operator, shared).await {
            Ok(()) => "reading the log again".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        if told.as_ref() != Some(&problem) {
            warn!(%problem, "the EVENTS log cannot be followed; trying again");
            told = Some(problem.clone());
        }
        shared.set_unread(Some(problem));
        tokio::time::sleep(PAUSE).await;
    }
}

/// Folds the open orders and the log aside until that is nearly read, then shows them, and goes on live until that is not
/// possible without a gap.
async fn read(operator: &Operator, shared: &Shared) -> anyhow::Result<()> {
    // Before the log: whatever is said meanwhile is at its end.
    let mut learned = View::default();
    operator
        .open_orders(|order| {
            for (event, at) in &order.events {
                learned.learn(event, *at);
            }
        })
        .await?;
    let mut connections = operator.connections();
    let mut events = pin!(operator.follow_since(">", Since::Start).await?);
    let mut fresh = Some(learned);
    if operator.size(EVENTS).await?.messages == 0 {
        show(&mut fresh, shared);
    }
    loop {
        let Ok(next) = tokio::time::timeout(SILENCE, events.next()).await else {
            // Unless it is silent because the connection was lost in the middle of the log.
            let before = std::mem::replace(&mut connections, operator.connections());
            if operator.is_connected() && connections == before {
                show(&mut fresh, shared);
            }
            continue;
        };
        let Some(followed) = next.transpose()? else {
            return Ok(());
        };
        // What cannot be read is parked by whoever hears it, and shown as a dead letter.
        if let Some((event, at)) = heard(&followed.entry) {
            match &mut fresh {
                Some(view) => view.hear(&event, at),
                None => shared.view().hear(&event, at),
            }
        }
        if fresh.is_some() {
            if followed.behind < NEARLY {
                show(&mut fresh, shared);
            } else if followed.behind % NEARLY == 0 {
                shared.set_unread(Some(format!("reading the log: {} events to go", followed.behind)));
            }
        }
    }
}

fn show(fresh: &mut Option<View>, shared: &Shared) {
    if let Some(view) = fresh.take() {
        info!(events = view.changes(), "the log is read");
        *shared.view() = view;
        shared.set_unread(None);
    }
}

async fn watch_listeners(operator: &Operator, shared: &Shared) -> Infallible {
    loop {
        let found = tokio::try_join!(operator.lags(), operator.dead_letters());
        shared.0.vitals.send_if_modified(|known| {
            let now = match found {
                Ok((lags, dead_letters)) => Vitals {
                    map: Map::new(&lags),
                    listeners: listeners(&lags),
                    dead_letters,
                    problem: None,
                },
                Err(error) => Vitals {
                    problem: Some(format!("{error:#}")),
                    ..known.clone()
                },
            };
            let changed = *known != now;
            *known = now;
            changed
        });
        let unseen = tokio::time::sleep(LOOK_UNSEEN);
        let mut unseen = pin!(unseen);
        // A page that opens does not wait for the long pause to end.
        loop {
            tokio::select! {
                () = &mut unseen => break,
                () = tokio::time::sleep(LOOK) => if shared.0.pages.available_permits() < MAX_PAGES { break },
            }
        }
    }
}
