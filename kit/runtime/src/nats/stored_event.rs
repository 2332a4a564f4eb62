//! The one way of reading a stored event: by its name, its headers, and the limits of its body.

use jiff::Timestamp;
use quadrille_events::{AggregateId, Contract, DecodeError, Envelope, Event, EventName};

use crate::nats::message::{KV_OPERATION, StoredMessage};

/// The largest body of an event: an order of a hundred lines is a tenth of it.
pub const MAX_EVENT_BYTES: usize = 256 * 1024;

/// An event of a bucket or of the EVENTS log, its body undecoded.
#[derive(Clone, Debug)]
pub struct StoredEvent<'a> {
    /// What it is called.
    pub name: &'static EventName,
    /// What it is about.
    pub about: AggregateId,
    /// What its headers say.
    pub envelope: Envelope,
    /// Its body.
    pub body: &'a [u8],
}

/// Why a message is no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredEventError {
    /// The subject is not that of an event: a ledger record, a schedule, a dead letter, or an event unknown here.
    NotAnEvent(String),
    /// The message has the name of an event, and cannot be read as it, for this reason.
    Unreadable(String),
}

impl std::fmt::Display for StoredEventError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotAnEvent(problem) | Self::Unreadable(problem) => f.write_str(problem),
        }
    }
}

impl std::error::Error for StoredEventError {}

impl<'a> StoredEvent<'a> {
    /// Reads a message of a bucket: `$KV.payment.charged.42`.
    ///
    /// # Errors
    /// [`StoredEventError`] says why it is no event, or what is wrong with it.
    pub fn in_bucket(contract: Contract, message: &'a StoredMessage) -> Result<Self, StoredEventError> {
        let (name, id) = contract.stored(&message.subject).ok_or_else(|| {
            StoredEventError::NotAnEvent(format!("{} is no event of the contract", message.subject))
        })?;
        Self::read(name, id, |key| message.header(key), &message.body)
    }

    /// Reads a message of the EVENTS log: `payment.charged.42`. Two services may use one subject; the header `ce-source` tells
    /// which of them said it.
    ///
    /// # Errors
    /// As [`StoredEvent::in_bucket`].
    pub fn in_log(contract: Contract, message: &'a StoredMessage) -> Result<Self, StoredEventError> {
        Self::republished(
            contract,
            &message.subject,
            |key| message.header(key),
            &message.body,
        )
    }

    /// Reads a message under its plain subject, from its parts.
    ///
    /// # Errors
    /// As [`StoredEvent::in_bucket`].
    pub fn republished<'h>(
        contract: Contract,
        subject: &str,
        header: impl Fn(&'static str) -> Option<&'h str>,
        body: &'a [u8],
    ) -> Result<Self, StoredEventError> {
        let found = subject.rsplit_once('.').and_then(|(subject, id)| {
            let name = contract.said(header("ce-source")?, subject)?;
            Some((name, id))
        });
        let (name, id) = found
            .ok_or_else(|| StoredEventError::NotAnEvent(format!("{subject} is no event of the contract")))?;
        Self::read(name, id, header, body)
    }

    /// Reads a message that claims to be `name` about `id`.
    ///
    /// # Errors
    /// [`StoredEventError::Unreadable`] says what is wrong with it.
    pub fn read<'h>(
        name: &'static EventName,
        id: &str,
        header: impl Fn(&'static str) -> Option<&'h str>,
        body: &'a [u8],
    ) -> Result<Self, StoredEventError> {
        let unreadable = StoredEventError::Unreadable;
        if header(KV_OPERATION).is_some() {
            let problem = "the entry was deleted by a KV client; an event cannot be unsaid";
            return Err(unreadable(problem.to_owned()));
        }
        if body.len() > MAX_EVENT_BYTES {
            let size = body.len();
            return Err(unreadable(format!(
                "the body has {size} bytes; {MAX_EVENT_BYTES} at most are read"
            )));
        }
        let about = AggregateId::new(name.about, id)
            .map_err(|error| unreadable(format!("the {} id {error}", name.about)))?;
        let envelope = Envelope::read(name, &about, header).map_err(|error| unreadable(error.to_string()))?;
        Ok(Self {
            name,
            about,
            envelope,
            body,
        })
    }

    /// The event itself, of the shop's own contract.
    ///
    /// # Errors
    /// Its body is not what its name says, or is about something else than its subject.
    pub fn event(&self) -> Result<Event, StoredEventError> {
        let decoded = Event::decode(self.name.service, &self.name.key(), self.body);
        let event = decoded.map_err(|error: DecodeError| StoredEventError::Unreadable(error.to_string()))?;
        self.check_about(&event.about())?;
        Ok(event)
    }

    /// Checks that the body is about what the subject says.
    ///
    /// # Errors
    /// It is about something else.
    pub fn check_about(&self, about: &AggregateId) -> Result<(), StoredEventError> {
        if *about == self.about {
            return Ok(());
        }
        let kind = self.name.about;
        Err(StoredEventError::Unreadable(format!(
            "the body is about the {kind} {about}, the subject about {}",
            self.about
        )))
    }

    /// The reason that its body gives, if it gives one.
    pub fn reason(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Reason {
            reason: Option<String>,
        }
        serde_json::from_slice::<Reason>(self.body).ok()?.reason
    }

    /// When it was decided. When EVENTS sources a bucket anew, its own time is that of the sourcing.
    pub fn decided_at(&self, stored_at: Timestamp) -> Timestamp {
        self.envelope.time.min(stored_at)
    }
}
