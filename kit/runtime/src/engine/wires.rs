//! Stored events as the inputs of a service.

use std::sync::Arc;

use quadrille_decision::Wire;
use quadrille_events::split_entry;

use crate::cause::{Cause, InputName};
use crate::nats::StoredEvent;

/// The wires of a service.
pub(crate) type Wires<I> = Arc<Vec<Wire<I>>>;

/// Reads a stored event as the input that a service's wires make of it.
pub(crate) fn read_event<'a, I>(
    wires: &[Wire<I>],
    subject: &str,
    header: impl Fn(&'static str) -> Option<&'a str>,
    body: &[u8],
) -> Result<(I, Cause), String> {
    let (wire, id) = wire_of(wires, subject).ok_or_else(|| format!("no wire hears {subject}"))?;
    let event = StoredEvent::read(wire.name, id, header, body).map_err(|error| error.to_string())?;
    let (about, input) = wire.decode(body).map_err(|error| error.to_string())?;
    event.check_about(&about).map_err(|error| error.to_string())?;
    let cause = Cause {
        reference: event.envelope.reference(),
        name: InputName::Event(wire.name),
        trace: Some(event.envelope.traceparent),
    };
    Ok((input, cause))
}

/// The wire that hears a stored message, and the id that the message is about.
pub(crate) fn wire_of<'w, 's, I>(wires: &'w [Wire<I>], subject: &'s str) -> Option<(&'w Wire<I>, &'s str)> {
    let (service, key, id) = split_entry(subject)?;
    let mut wires = wires.iter();
    let wire = wires.find(|wire| wire.name.service == service && wire.name.has_key(key))?;
    Some((wire, id))
}
