//! What the model asks a service, and what the service answers.

use quadrille_decision::Deadline;

use crate::world::{Command, Fault, Slot};

/// What a service has to answer.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) enum Stimulus<F> {
    Heard(F),
    Command(Command),
    /// The shop owner says how many pieces of the first item were put in.
    Stock(u8),
    Outcome(u32),
}

/// What a service answers.
#[derive(Clone, Debug)]
pub(crate) enum Verdict<F> {
    Say {
        facts: Vec<F>,
        slots: Vec<(usize, Slot)>,
        deadline: Deadline<F>,
    },
    Ask(u32),
    Ignore(&'static str),
    Refuse,
    Broken(Fault),
}

impl<F> Verdict<F> {
    /// The same with another form of what is said.
    pub fn map<G>(self, mut form: impl FnMut(F) -> G) -> Verdict<G> {
        match self {
            Verdict::Say {
                facts,
                slots,
                deadline,
            } => Verdict::Say {
                facts: facts.into_iter().map(&mut form).collect(),
                slots,
                deadline: deadline.map(form),
            },
            Verdict::Ask(ask) => Verdict::Ask(ask),
            Verdict::Ignore(reason) => Verdict::Ignore(reason),
            Verdict::Refuse => Verdict::Refuse,
            Verdict::Broken(fault) => Verdict::Broken(fault),
        }
    }
}
