//! A path through the world as a story that a person can read.

use stateright::Path;

use crate::choreography::{Choreography, WorldAction};
use crate::participant::AskKind;
use crate::stimulus::ModelledAnswer;
use crate::world::{
    Fault, InputCause, InstanceView, ModelCommand, PendingCall, ShopCommand, Stage, Who, WorldState,
};

/// One line a step.
pub(crate) fn tell(model: &Choreography, path: Path<WorldState, WorldAction>) -> Vec<String> {
    let steps = path.into_vec();
    let mut lines = Vec::new();
    if let Some((world, _)) = steps.first() {
        let slots = |slots: &[crate::world::Slot]| {
            slots
                .iter()
                .map(|slot| slot.there.to_string())
                .collect::<Vec<_>>()
                .join(" + ")
        };
        let couriers = if world.couriers.is_empty() {
            "no courier".to_owned()
        } else {
            format!("a courier for {}", slots(&world.couriers))
        };
        lines.push(format!("stock {}, {couriers}", slots(&world.stock)));
    }
    for pair in steps.windows(2) {
        let [(before, Some(action)), (after, _)] = pair else {
            continue;
        };
        lines.push(step(model, before, action, after));
    }
    if let Some((world, _)) = steps.last() {
        for (n, journey) in world.orders.iter().enumerate() {
            let books = &journey.books;
            let at = if model.is_quiet(world) {
                "at rest"
            } else {
                "so far"
            };
            lines.push(format!(
                "{}{at}: taken {}, given back {}",
                prefix(world, n),
                books.taken,
                books.returned
            ));
        }
    }
    lines
}

fn prefix(world: &WorldState, order: usize) -> String {
    if world.orders.len() > 1 {
        format!("[order {}] ", order + 1)
    } else {
        String::new()
    }
}

fn step(model: &Choreography, before: &WorldState, action: &WorldAction, after: &WorldState) -> String {
    let (order, happens) = happening(model, before, action);
    let comes = consequence(model, before, action, after, order);
    let fault = after
        .fault
        .map(|fault| format!("   <== {}", fault_in_words(fault)))
        .unwrap_or_default();
    format!("{}{happens}{comes}{fault}", prefix(before, order))
}

/// What happens, and about which order.
fn happening(model: &Choreography, before: &WorldState, action: &WorldAction) -> (usize, String) {
    let (order, happens) = match action {
        WorldAction::Deliver { order, ear, view } => {
            let heard = &model.ears[usize::from(*ear)];
            let again = before.orders[usize::from(*order)].settled & (1 << ear) != 0;
            let again = if again { " again" } else { "" };
            (
                *order,
                format!(
                    "{} hears {}{again}{}",
                    heard.who.name(),
                    heard.name,
                    knowing(*view)
                ),
            )
        }
        WorldAction::Command { order, command, view } => {
            let words = match command {
                ModelCommand::Create => "the customer places the order",
                ModelCommand::Approve => "the shop owner approves",
                ModelCommand::CancelOrder => "the customer cancels the order",
                ModelCommand::Confirm => "the customer confirms the payment",
                ModelCommand::CancelPayment => "the customer cancels the payment",
                ModelCommand::ConfirmDelivery => "the courier says that the goods are handed over",
                ModelCommand::FailDelivery => "the courier says that the delivery failed",
            };
            (*order, format!("{words}{}", knowing(*view)))
        }
        WorldAction::Shop { command, view } => {
            let words = match command {
                ShopCommand::Put(quantity) => format!("the shop owner says that {quantity} were put in"),
                ShopCommand::Withdraw => "the shop owner withdraws the item".to_owned(),
            };
            (0, format!("{words}{}", knowing(*view)))
        }
        WorldAction::Act { order, call, luck } => {
            let PendingCall { stage, who, .. } = before.orders[usize::from(*order)].calls[usize::from(*call)];
            let (Stage::Asked(ask) | Stage::Orphan(ask) | Stage::Answered(ask)) = stage;
            let whom = if who == Who::Delivery {
                "the desk"
            } else {
                "the provider"
            };
            let orphan = if matches!(stage, Stage::Orphan(_)) {
                ", and nobody waits for it any more"
            } else {
                ""
            };
            let kind = AskKind::of(ask).in_words();
            let free = if *luck { "" } else { ": no" };
            (*order, format!("{whom} gets the {kind} call{free}{orphan}"))
        }
        WorldAction::Outcome { order, call, view } => {
            let PendingCall { who, .. } = before.orders[usize::from(*order)].calls[usize::from(*call)];
            (
                *order,
                format!("{} gets the outcome of its call{}", who.name(), knowing(*view)),
            )
        }
        WorldAction::Crash { order, call, orphan } => {
            let PendingCall { who, cause, .. } = before.orders[usize::from(*order)].calls[usize::from(*call)];
            let waits = match cause {
                InputCause::Heard(ear) => model.ears[usize::from(ear)].name.subject,
                InputCause::Command(_) | InputCause::Shop => "a command",
            };
            let orphan = if *orphan {
                "; its call is still on its way"
            } else {
                ""
            };
            (
                *order,
                format!("an instance of {} dies with {waits} in hand{orphan}", who.name()),
            )
        }
        WorldAction::Expire { order } => (*order, "the deadline passes".to_owned()),
    };
    (usize::from(order), happens)
}

/// What comes of it.
fn consequence(
    model: &Choreography,
    before: &WorldState,
    action: &WorldAction,
    after: &WorldState,
    n: usize,
) -> String {
    let (old, new) = (&before.orders[n], &after.orders[n]);
    let mut said = Vec::new();
    for who in Who::ALL {
        let (old, new) = (&old.said[who as usize], &new.said[who as usize]);
        said.extend(
            new.iter()
                .skip(old.len())
                .map(|fact| model.fact(n, *fact).name.subject),
        );
    }
    if !said.is_empty() {
        return format!(" -> {}", said.join(" + "));
    }
    if new.calls.len() > old.calls.len() {
        return " -> asks outside".to_owned();
    }
    let Some((_, weighed)) = model.weigh_action(before, action) else {
        return String::new();
    };
    match &weighed.verdict {
        ModelledAnswer::Ignore(reason) => format!(" -> ignored: {reason}"),
        ModelledAnswer::Refuse => " -> refused".to_owned(),
        ModelledAnswer::Say { facts, .. } if facts.is_empty() => " -> noted".to_owned(),
        ModelledAnswer::Say { facts, .. } => {
            let names: Vec<_> = facts
                .iter()
                .map(|fact| model.fact(n, *fact).name.subject)
                .collect();
            format!(" -> would say {}", names.join(" + "))
        }
        ModelledAnswer::Ask(_) => " -> would ask again".to_owned(),
        ModelledAnswer::Broken(_) => String::new(),
    }
}

fn knowing(view: InstanceView) -> &'static str {
    match view {
        InstanceView::Fresh => "",
        InstanceView::Remembered(0) => " (guessing that nothing was said)",
        InstanceView::Remembered(_) => " (remembering an older state)",
        InstanceView::OldLedger => " (remembering an older ledger)",
        InstanceView::Torn => " (and dies while it commits)",
    }
}

fn fault_in_words(fault: Fault) -> String {
    match fault {
        Fault::SaidTwice(name) => format!("{name} is said twice"),
        Fault::AnsweredTwice(name) => format!("{name}: answered before, and answered again"),
        Fault::EventRefused(who) => format!("{who} refuses an event"),
        Fault::CannotBe(reason) => format!("it is: {reason}"),
        Fault::AnotherOrder(name) => format!("{name} is about another order"),
        Fault::Unkept => "it says that this holds already, and it does not".to_owned(),
        Fault::Unread => "a record is written that was not read".to_owned(),
        Fault::AsksAgain => "the outcome makes it ask again".to_owned(),
        Fault::NoProgress => "nothing has come nearer to the end".to_owned(),
    }
}
