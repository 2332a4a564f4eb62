//! The door through which HTTP enters: commands join the same groups as events, reads ask the leader.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::Stream;
use futures::stream::BoxStream;
use jiff::Timestamp;
use quadrille_decision::{Context, Decision, Reads, Refusal, Service};
use quadrille_events::{AggregateId, Body, EventName, TypedId, split_entry};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::Span;

use crate::background::repeat;
use crate::cause::{Cause, InputName};
use crate::engine::dead_letter::{DeadLetter, Parked};
use crate::engine::input::{PendingInput, Requester, Verdict};
use crate::engine::store::{StateError, Store};
use crate::engine::wires::{Wires, read_event};
use crate::http::origin::Origin;
use crate::http::problem::Problem;
use crate::nats::{ObjectError, Objects, ReadError, StreamCondition};
use crate::operator::history::{Archive, HistoryEntry};
use crate::telemetry::spans;

/// How long a command may take before its caller is told that the outcome is unknown.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(15);

/// How long the broker may take to answer whether the bucket takes messages.
const READINESS_TIMEOUT: Duration = Duration::from_secs(2);

/// The way into a service. Cheap to clone.
pub struct Door<S: Service> {
    pub(crate) service: Arc<S>,
    pub(crate) store: Store,
    pub(crate) inputs: mpsc::Sender<PendingInput<S>>,
    pub(crate) wires: Wires<S::Input>,
    pub(crate) pulling: Arc<AtomicUsize>,
    pub(crate) listeners: usize,
    /// Why new orders are refused; `None` if they are not.
    pub(crate) refusal: watch::Receiver<Option<String>>,
    pub(crate) stop: watch::Receiver<bool>,
}

impl<S: Service> Clone for Door<S> {
    fn clone(&self) -> Self {
        Self {
            service: self.service.clone(),
            store: self.store.clone(),
            inputs: self.inputs.clone(),
            wires: self.wires.clone(),
            pulling: self.pulling.clone(),
            listeners: self.listeners,
            refusal: self.refusal.clone(),
            stop: self.stop.clone(),
        }
    }
}

/// The answer to a command that took effect, now or before.
#[derive(Debug)]
pub struct Reply<S: Service> {
    /// The state of the order after it.
    pub state: S::State,
    /// Whether it was this command that took effect.
    pub outcome: Outcome,
}

/// Some aggregates of one kind: see [`Door::page`].
#[derive(Clone, Debug)]
pub struct IdPage<I> {
    /// The ids, each with its place: the `after` of what is behind it.
    pub ids: Vec<(I, u64)>,
    /// The `after` of the next page, if there are more.
    pub next: Option<u64>,
}

/// Whether a command changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did, durably.
    Done,
    /// Nothing was to be done, for this reason.
    Ignored(&'static str),
}

impl<S: Service> Door<S> {
    /// Has a command decided and waits until the commit is durable. `what` names the command in the causation id of
    /// the events it brings about: `http/<what>`.
    ///
    /// # Errors
    /// A refusal as 404, 409 or 422. 503 if the outcome is not known in time: the same command again finds out.
    pub async fn command(
        &self,
        input: S::Input,
        what: &'static str,
        origin: Origin,
    ) -> Result<Reply<S>, Problem> {
        let cause = Cause {
            reference: format!("http/{what}"),
            name: InputName::Command(what),
            trace: origin.trace,
        };
        let about = S::about(&input);
        let span = spans::command(self.store.service, what, about.as_ref(), cause.trace.as_ref());
        self.put(input, cause, false, span).await
    }

    /// Whether new orders (or other aggregates) may begin. They may not while a listener has been away for longer than three quarters
    /// of `RETENTION`: they would wait for it, and add to what the broker must not forget.
    ///
    /// # Errors
    /// 503 with the reason.
    pub fn admits_new(&self) -> Result<(), Problem> {
        match &*self.refusal.borrow() {
            None => Ok(()),
            Some(reason) => Err(Problem::unavailable(reason.clone())),
        }
    }

    async fn put(
        &self,
        input: S::Input,
        cause: Cause,
        read_first: bool,
        span: Span,
    ) -> Result<Reply<S>, Problem> {
        let unknown = |why: &str| {
            Problem::unavailable(format!(
                "{why}: it is not known whether the request took effect; send the same request again to find out"
            ))
        };
        let (answer, verdict) = oneshot::channel();
        let deadline = Instant::now() + COMMAND_TIMEOUT;
        let requester = Requester::Command { answer, deadline };
        let pending = PendingInput::new(input, cause, requester, span).read_first(read_first);
        let waiting = async {
            self.inputs
                .send(pending)
                .await
                .map_err(|_| Problem::unavailable("the service is stopping; try again"))?;
            verdict.await.map_err(|_| unknown("the service is stopping"))
        };
        let verdict = tokio::time::timeout_at((deadline + Duration::from_secs(1)).into(), waiting)
            .await
            .map_err(|_| unknown("the broker did not answer in time"))??;
        match verdict {
            Verdict::Done { state } => Ok(Reply {
                state,
                outcome: Outcome::Done,
            }),
            Verdict::Ignored { state, reason } => Ok(Reply {
                state,
                outcome: Outcome::Ignored(reason),
            }),
            Verdict::Refused(refusal) => Err(refusal.into()),
            Verdict::Failed(problem) => Err(Problem::internal(problem)),
            Verdict::Postponed(problem) => Err(Problem::unavailable(problem)),
            Verdict::Unknown(problem) => Err(unknown(&problem)),
        }
    }

    /// The state of an order (or other aggregate) in this service, from the leader; the default if the service has said nothing
    /// about it.
    ///
    /// # Errors
    /// 503 if the broker does not answer.
    pub async fn state(&self, id: &impl TypedId) -> Result<S::State, Problem> {
        self.state_of(id.aggregate()).await
    }

    async fn state_of(&self, about: AggregateId) -> Result<S::State, Problem> {
        let mut states = self.store.states::<S>(std::slice::from_ref(&about)).await?;
        match states.remove(&about) {
            Some(Ok(known)) => Ok(known.state),
            Some(Err(error)) => Err(error.into()),
            None => Ok(S::State::default()),
        }
    }

    /// The states of several aggregates, in the order of `ids`: see [`Door::state`].
    ///
    /// # Errors
    /// 503 if the broker does not answer.
    pub async fn states<I: TypedId>(&self, ids: &[I]) -> Result<Vec<S::State>, Problem> {
        let about: Vec<_> = ids.iter().map(TypedId::aggregate).collect();
        let mut states = self.store.states::<S>(&about).await?;
        let state = |about| match states.remove(about) {
            Some(Ok(known)) => Ok(known.state),
            Some(Err(error)) => Err(error.into()),
            None => Ok(S::State::default()),
        };
        about.iter().map(state).collect()
    }

    /// The aggregates about which the service has said `B`, in the order in which it was stored: at most `limit`, behind the place
    /// `after` (0 is the start). `B` should be written once: an entry that is rewritten moves to the end.
    ///
    /// # Errors
    /// 503 if the broker does not answer.
    pub async fn page<B: Body>(&self, after: u64, limit: usize) -> Result<IdPage<B::Id>, Problem> {
        let Store { broker, stream, .. } = &self.store;
        let filter = B::NAME.filter();
        let page = broker
            .page(stream, &filter, after.saturating_add(1), limit)
            .await?;
        let last = page.messages.last().map(|message| message.sequence);
        let there = page.messages.iter().filter(|message| !message.is_deleted());
        let ids = there.filter_map(|message| {
            let (_, _, id) = split_entry(&message.subject)?;
            Some((id.parse().ok()?, message.sequence))
        });
        Ok(IdPage {
            ids: ids.collect(),
            next: last.filter(|_| page.has_more),
        })
    }

    /// A record of the ledger.
    ///
    /// # Errors
    /// 503 if the broker does not answer.
    pub async fn record(&self, key: &str) -> Result<Option<S::Record>, Problem> {
        Ok(self.records_at(vec![key.to_owned()]).await?.remove(key))
    }

    /// The records with these keys that exist.
    ///
    /// # Errors
    /// 503 if the broker does not answer.
    pub async fn records_at(&self, keys: Vec<String>) -> Result<BTreeMap<String, S::Record>, Problem> {
        self.existing(&Reads::Keys(keys)).await
    }

    /// All records whose key is `prefix` and one more token.
    ///
    /// # Errors
    /// 503 if the broker does not answer.
    pub async fn records(&self, prefix: &'static str) -> Result<BTreeMap<String, S::Record>, Problem> {
        self.existing(&Reads::All(prefix)).await
    }

    async fn existing(&self, reads: &Reads) -> Result<BTreeMap<String, S::Record>, Problem> {
        let records = self.store.records::<S>(reads).await?;
        Ok(records
            .into_iter()
            .filter_map(|(key, seen)| Some((key, seen.record?)))
            .collect())
    }

    /// What all services have said about an order (or other aggregate), in the order in which it was stored.
    ///
    /// # Errors
    /// 503 if the broker does not answer.
    pub async fn history(&self, id: &impl TypedId) -> Result<Vec<HistoryEntry>, Problem> {
        Ok(self.archive().history(&id.aggregate()).await?)
    }

    /// The history of an order (or other aggregate) and then, live, what else is said about it, until the service stops.
    ///
    /// # Errors
    /// 503 if the broker does not answer.
    pub async fn history_live(
        &self,
        id: &impl TypedId,
    ) -> Result<impl Stream<Item = HistoryEntry> + Send + 'static, Problem> {
        Ok(self.archive().live(&id.aggregate(), self.stop.clone()).await?)
    }

    /// The events of these names that are said about an order (or other aggregate) from now on, by whichever service.
    ///
    /// # Errors
    /// 503 if the broker does not answer.
    pub async fn arriving(
        &self,
        id: &impl TypedId,
        names: impl IntoIterator<Item = &'static EventName>,
    ) -> Result<BoxStream<'static, HistoryEntry>, Problem> {
        let names = names.into_iter();
        Ok(self.archive().arriving(&id.aggregate(), names).await?)
    }

    /// The dead letters of an order (or other aggregate), of whichever service.
    ///
    /// # Errors
    /// 503 if the broker does not answer.
    pub async fn dead_letters_of(&self, id: &impl TypedId) -> Result<Vec<DeadLetter>, Problem> {
        Ok(self.archive().dead_letters(&id.aggregate()).await?)
    }

    /// Decides a command and says nothing: for a handler that has work to do before it sends the command. The command itself is decided
    /// anew.
    ///
    /// # Errors
    /// The refusal with which the command would be answered now. 503 if the broker does not answer.
    pub async fn check(&self, input: &S::Input) -> Result<(), Problem> {
        let state = match S::about(input) {
            None => S::State::default(),
            Some(about) => self.state_of(about).await?,
        };
        let records = self.existing(&S::reads(input)).await?;
        let context = Context {
            now: Timestamp::now(),
            records: &records,
        };
        if let Decision::Refuse(refusal) = S::decide(&state, input, &context) {
            return Err(refusal.into());
        }
        Ok(())
    }

    /// The service: its settings, for handlers.
    pub fn service(&self) -> &S {
        &self.service
    }

    /// A bucket of objects, for what is larger than an event. No commit covers an object: store the object first, then say the event
    /// that names it, and let [`Door::repeat`] remove what no event names.
    pub fn objects(&self, bucket: &'static str) -> Objects {
        Objects::new(self.store.broker.clone(), bucket, self.store.replicas)
    }

    /// Repeats a job until the service stops, with pauses of at most `period`; a stop drops a job in progress. Every instance does it, so
    /// a job must be harmless when it is done twice at once.
    pub fn repeat<F: Future<Output = ()> + Send + 'static>(
        &self,
        period: Duration,
        job: impl Fn(Self) -> F + Send + 'static,
    ) {
        let door = self.clone();
        tokio::spawn(repeat(period, self.stop.clone(), move || job(door.clone())));
    }

    fn archive(&self) -> Archive {
        Archive {
            broker: self.store.broker.clone(),
            contract: self.store.contract,
            replicas: self.store.replicas,
        }
    }

    pub(crate) async fn dead_letters(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<DeadLetter>, Option<u64>), Problem> {
        Ok(self.store.letters(after, limit).await?)
    }

    pub(crate) async fn dead_letter(&self, id: &str) -> Result<Parked, Problem> {
        let found = self.store.letter(id).await?;
        found.ok_or_else(|| {
            Problem::not_found(format!("no dead letter {id} is parked at {}", self.store.service))
        })
    }

    /// Puts a parked input through the same door again, and takes the letter away once it is settled.
    pub(crate) async fn retry(&self, id: &str) -> Result<Outcome, Problem> {
        let Parked { letter, body } = self.dead_letter(id).await?;
        let header = |name: &'static str| letter.headers.get(name).map(String::as_str);
        let (input, cause) = read_event(&self.wires, &letter.subject, header, &body)
            .map_err(|problem| Problem::conflict(format!("it stays parked: {problem}")))?;
        let about = S::about(&input);
        let attempt = i64::try_from(letter.attempts)
            .unwrap_or(i64::MAX)
            .saturating_add(1);
        let span = spans::heard(self.store.service, &cause, about.as_ref(), body.len(), attempt);
        let reply = self.put(input, cause, true, span).await?;
        self.store.drop_letter(id).await.map_err(|error| {
            Problem::unavailable(format!(
                "it was handled, but the letter is still there: {error}; retry again"
            ))
        })?;
        Ok(reply.outcome)
    }

    /// Whether the service is connected, listens to all services that it needs, and its bucket takes messages. Fails with the reason.
    pub(crate) async fn readiness(&self) -> Result<(), String> {
        self.is_listening()?;
        let store = &self.store;
        let bucket = &store.stream;
        let asking = tokio::time::timeout(READINESS_TIMEOUT, store.broker.condition(bucket));
        match asking.await {
            Ok(Ok(StreamCondition::Writable)) => Ok(()),
            Ok(Ok(StreamCondition::Sealed)) => {
                Err(format!("the stream {bucket} is sealed: it takes no message"))
            }
            Ok(Ok(StreamCondition::Missing)) => Err(format!(
                "the stream {bucket} is gone: restore it, or restart the service to begin with an empty one"
            )),
            Ok(Err(problem)) => Err(problem.to_string()),
            Err(_) => Err(format!("NATS does not answer within {READINESS_TIMEOUT:?}")),
        }
    }

    /// Whether the service is connected and listens to all services that it needs, as far as it knows without asking.
    pub(crate) fn is_listening(&self) -> Result<(), String> {
        if !self.store.broker.is_connected() {
            return Err("not connected to NATS".to_owned());
        }
        let pulling = self.pulling.load(Ordering::Relaxed);
        if pulling < self.listeners {
            return Err(format!("{pulling} of {} listeners are listening", self.listeners));
        }
        Ok(())
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound(detail) => Problem::not_found(detail),
            Refusal::Conflict(detail) => Problem::conflict(detail),
            Refusal::Mismatch(detail) => Problem::mismatch(detail),
            Refusal::Invalid { field, detail } => Problem::invalid(field, detail),
            Refusal::Outdated(detail) => Problem::outdated(detail),
            Refusal::Unconditional(detail) => Problem::unconditional(detail),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        Problem::unavailable(error.to_string())
    }
}

impl From<ObjectError> for Problem {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Unavailable(error) => error.into(),
            error @ ObjectError::Damaged(_) => Problem::internal(error.to_string()),
        }
    }
}

impl From<StateError> for Problem {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Read(error) => error.into(),
            error @ StateError::Unreadable { .. } => Problem::internal(error.to_string()),
            error @ StateError::Incomplete { .. } => Problem::unavailable(error.to_string()),
        }
    }
}
