//! The payment provider's own books, compared with the orders.

use std::collections::BTreeMap;

use quadrille_events::{Completed, Money, OrderCancelled, OrderId};

use crate::report::Found;
use crate::snapshot::Snapshot;

/// The payment provider's own books, by order.
pub type Books = BTreeMap<OrderId, Account>;

/// What the provider did for one order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The amount of each charge.
    pub charges: Vec<Money>,
    /// The amount of each refund.
    pub refunds: Vec<Money>,
}

pub(crate) const BOOKS: &str = "5: the provider charged once, and holds nothing of a cancelled order";

pub(crate) fn the_books_agree(snapshot: &Snapshot, books: &Books) -> Found {
    let nothing = Account::default();
    let mut found = Found::new();
    for file in snapshot.checked() {
        let order_id = &file.order.order_id;
        let account = books.get(order_id).unwrap_or(&nothing);
        let (taken, back): (Money, Money) = (account.charges.iter().sum(), account.refunds.iter().sum());
        let mut say = |what: String| found.push(format!("order {order_id} {what}"));
        if account.charges.len() > 1 {
            say(format!(
                "was charged {} times at the provider",
                account.charges.len()
            ));
        }
        if account.refunds.len() > 1 {
            say(format!(
                "was refunded {} times at the provider",
                account.refunds.len()
            ));
        }
        if file.facts.said::<Completed>() && (taken, back) != (file.order.total, 0) {
            let total = file.order.total;
            say(format!(
                "is completed for {total}, and the provider took {taken} and gave back {back}"
            ));
        }
        if file.facts.said::<OrderCancelled>() && taken != back {
            say(format!(
                "is cancelled, and the provider took {taken} and gave back {back}"
            ));
        }
    }
    let unknown = books
        .keys()
        .filter(|order_id| !snapshot.orders.contains_key(*order_id));
    found.extend(
        unknown.map(|order_id| format!("order {order_id} is in the provider's books, and was never placed")),
    );
    found
}
