//! What an open page is sent: the overview a few times a second while anything changes, the map when it does, and the
//! story of the order it looks at whenever something is said about it.

use std::time::Duration;

use axum::response::Response;
use axum::response::sse::Event;
use futures::{Stream, StreamExt, stream};
use jiff::Timestamp;
use quadrille_events::{OrderId, Step};
use quadrille_runtime::http::{Problem, SsePlace};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use crate::follow::{MAX_PAGES, Shared, Vitals};
use crate::map::Listener;
use crate::story::OrderStory;
use crate::view::Overview;

/// How often a page is sent what has changed: as live as an eye can follow.
const TICK: Duration = Duration::from_millis(250);
/// How often it is sent an overview even if nothing was said, because orders become stuck by themselves.
const AT_LEAST: Duration = Duration::from_secs(2);
/// The most dead letters that are listed on the page; `quadrille dead-letters` lists all.
const LISTED_LETTERS: usize = 20;

/// What a page looks at.
#[derive(Clone, Debug, Default)]
pub struct Looking {
    /// The order whose story the page shows.
    pub order: Option<OrderId>,
    /// Only the orders at this step.
    pub step: Option<Step>,
}

/// The stream of a page; 503 if too many pages are open.
pub fn stream(shared: Shared, looking: Looking, place: SsePlace) -> Result<Response, Problem> {
    let page = shared.pages().try_acquire_owned().map_err(|_| {
        Problem::unavailable(format!(
            "{MAX_PAGES} pages are open already; close one and reload"
        ))
    })?;
    let mut stop = shared.stop();
    let stopped = async move {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    Ok(place.answer(page_events(shared, looking, page).take_until(stopped)))
}

#[derive(Serialize)]
struct Glance {
    #[serde(flatten)]
    overview: Overview,
    trouble: Option<String>,
    listeners: Vec<Listener>,
    dead_letters: usize,
}

struct Page {
    shared: Shared,
    looking: Looking,
    vitals: watch::Receiver<Vitals>,
    ticks: Interval,
    sent: Option<(u64, Option<String>, Instant)>,
    story: Option<u32>,
    _page: OwnedSemaphorePermit,
}

fn page_events(shared: Shared, looking: Looking, page: OwnedSemaphorePermit) -> impl Stream<Item = Event> {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut vitals = shared.vitals();
    vitals.mark_changed();
    let page = Page {
        shared,
        looking,
        vitals,
        ticks,
        sent: None,
        story: None,
        _page: page,
    };
    stream::unfold(page, |mut page| async move {
        let events = page.next().await;
        Some((stream::iter(events), page))
    })
    .flatten()
}

impl Page {
    /// The events to send at the next tick.
    async fn next(&mut self) -> Vec<Event> {
        self.ticks.tick().await;
        let mut events = Vec::new();
        let new_vitals = self.vitals.has_changed().unwrap_or(false);
        let vitals = self.vitals.borrow_and_update().clone();
        if new_vitals {
            events.push(event("map", &vitals.map));
            let letters: Vec<_> = vitals.dead_letters.iter().rev().take(LISTED_LETTERS).collect();
            events.push(event("dead-letters", &letters));
        }
        let trouble = self.shared.trouble().or_else(|| vitals.problem.clone());
        let changes = self.shared.view().changes();
        let due = match &self.sent {
            None => true,
            Some((sent, told, at)) => *sent != changes || *told != trouble || at.elapsed() >= AT_LEAST,
        };
        if due || new_vitals {
            let overview = self.shared.view().overview(Timestamp::now(), self.looking.step);
            self.sent = Some((changes, trouble.clone(), Instant::now()));
            let (listeners, dead_letters) = (vitals.listeners, vitals.dead_letters.len());
            events.push(event(
                "overview",
                &Glance {
                    overview,
                    trouble,
                    listeners,
                    dead_letters,
                },
            ));
        }
        if let Some(order_id) = self.looking.order.clone() {
            let changes = self.shared.view().changes_of(&order_id);
            if self.story != Some(changes) || new_vitals {
                events.extend(self.story(&order_id, changes).await);
            }
        }
        events
    }

    async fn story(&mut self, order_id: &OrderId, changes: u32) -> Option<Event> {
        let operator = self.shared.operator().ok()?;
        match OrderStory::read(operator, order_id).await {
            Ok(story) => {
                self.story = Some(changes);
                Some(event("story", &story))
            }
            // It is asked for again with the next tick.
            Err(error) => Some(event("no-story", &error.to_string())),
        }
    }
}

fn event(name: &str, data: &impl Serialize) -> Event {
    Event::default()
        .event(name)
        .json_data(data)
        .unwrap_or_else(|error| Event::default().comment(error.to_string()))
}
