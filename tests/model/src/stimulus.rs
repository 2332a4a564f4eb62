//! What the model asks a service, and what the service answers.

use quadrille_decision::Deadline;

use crate::world::{Fault, ModelCommand, ShopCommand, Slot};

/// What a service has to answer.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) enum Stimulus<F> {
    Heard(F),
    Command(ModelCommand),
    /// A command about the first item.
    Shop(ShopCommand),
    Outcome(u32),
}

/// What a service answers.
#[derive(Clone, Debug)]
pub(crate) enum ModelledAnswer<F> {
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

impl<F> ModelledAnswer<F> {
    /// The same with another form of what is said.
    pub fn map<G>(self, mut form: impl FnMut(F) -> G) -> ModelledAnswer<G> {
        match self {
            ModelledAnswer::Say {
                facts,
                slots,
                deadline,
            } => ModelledAnswer::Say {
                facts: facts.into_iter().map(&mut form).collect(),
                slots,
                deadline: deadline.map(form),
            },
            ModelledAnswer::Ask(ask) => ModelledAnswer::Ask(ask),
            ModelledAnswer::Ignore(reason) => ModelledAnswer::Ignore(reason),
            ModelledAnswer::Refuse => ModelledAnswer::Refuse,
            ModelledAnswer::Broken(fault) => ModelledAnswer::Broken(fault),
        }
    }
}
