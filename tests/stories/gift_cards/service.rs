//! A participant about another kind of aggregate than orders: gift cards. Whoever completes an order gets its total, a tenth of
//! it, on a card; a card is redeemed, and closed.
//!
//! ```text
//! none ──order.completed──> card.balance (rewritten for each order, and for each redemption)
//! card.balance ──close──> card.closed ──heard by the service itself──> card.paid-out
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use axum::extract::State as Shared;
use quadrille_decision::{AskError, Context, Decision, Reads, Refusal, Service, Wire};
use quadrille_events::{
    AggregateId, Completed, Contract, DeliveryEvent, InventoryEvent, Money, OrderEvent, OrderId, Owner,
    PaymentEvent, TypedId, aggregate_id, said,
};
use quadrille_runtime::Door;
use quadrille_runtime::http::{Id, Json, Origin, Problem};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

aggregate_id! {
    /// Which card: the id of the customer who owns it.
    CardId of "card"
}

said! {
    /// What the card service says.
    CardEvent by "cards" {
        /// So much is on the card now, because of these orders.
        Balance(CardBalance) = "balance" => "card.balance" about card_id: CardId as latest for outside,
        /// Nothing is put on the card any more.
        Closed(CardClosed) = "closed" => "card.closed" about card_id: CardId with reason,
        /// What was left on the card is paid out.
        PaidOut(CardPaidOut) = "paid-out" => "card.paid-out" about card_id: CardId for outside,
    }
}

/// `card.balance`: the whole state of the card.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CardBalance {
    pub card_id: CardId,
    pub balance: Money,
    /// The orders that have been credited: what makes a repeated `order.completed` ignored.
    pub orders: BTreeSet<String>,
    /// The redemptions, by the key that their caller chose.
    pub redeemed: BTreeMap<String, Money>,
}

/// `card.closed`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CardClosed {
    pub card_id: CardId,
    pub balance: Money,
    pub reason: String,
}

/// `card.paid-out`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CardPaidOut {
    pub card_id: CardId,
    pub amount: Money,
}

/// The shop's contract, and the cards'.
pub const CONTRACT: Contract = Contract::new(&[
    Owner::of::<OrderEvent>(),
    Owner::of::<PaymentEvent>(),
    Owner::of::<InventoryEvent>(),
    Owner::of::<DeliveryEvent>(),
    Owner::of::<CardEvent>(),
]);

/// The card service.
#[derive(Clone, Copy, Debug, Default)]
pub struct CardService;

/// How far a card has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum CardState {
    #[default]
    None,
    Open(CardBalance),
    Closed(CardClosed),
    PaidOut,
}

/// What the card service has to answer.
#[derive(Clone, Debug)]
pub enum CardInput {
    Credit {
        card_id: CardId,
        order_id: OrderId,
        amount: Money,
    },
    Redeem {
        card_id: CardId,
        key: String,
        amount: Money,
    },
    Close {
        card_id: CardId,
    },
    PayOut {
        card_id: CardId,
        amount: Money,
    },
}

impl Service for CardService {
    type Said = CardEvent;
    type State = CardState;
    type Input = CardInput;
    type Record = ();
    type Ask = Infallible;

    fn wires(&self) -> Vec<Wire<CardInput>> {
        vec![
            Wire::on::<Completed>(|heard| CardInput::Credit {
                card_id: CardId::new(heard.order.customer_id.as_str())
                    .unwrap_or_else(|error| unreachable!("every id is of one form: {error}")),
                order_id: heard.order.order_id.clone(),
                amount: heard.order.total / 10,
            }),
            Wire::on::<CardClosed>(|heard| CardInput::PayOut {
                card_id: heard.card_id,
                amount: heard.balance,
            }),
        ]
    }

    fn about(input: &CardInput) -> Option<AggregateId> {
        match input {
            CardInput::Credit { card_id, .. }
            | CardInput::Redeem { card_id, .. }
            | CardInput::Close { card_id }
            | CardInput::PayOut { card_id, .. } => Some(card_id.aggregate()),
        }
    }

    fn opens(input: &CardInput) -> bool {
        match input {
            CardInput::Credit { .. } => true,
            CardInput::Redeem { .. } | CardInput::Close { .. } | CardInput::PayOut { .. } => false,
        }
    }

    fn reads(_: &CardInput) -> Reads {
        Reads::Nothing
    }

    fn fold(state: &mut CardState, said: &CardEvent) {
        *state = match said {
            CardEvent::Balance(balance) => CardState::Open(balance.clone()),
            CardEvent::Closed(closed) => CardState::Closed(closed.clone()),
            CardEvent::PaidOut(_) => CardState::PaidOut,
        };
    }

    fn decide(state: &CardState, input: &CardInput, _: &Context<'_, ()>) -> Decision<Self> {
        match (state, input) {
            (
                CardState::None,
                CardInput::Credit {
                    card_id,
                    order_id,
                    amount,
                },
            ) => Decision::say([CardBalance {
                card_id: card_id.clone(),
                balance: *amount,
                orders: BTreeSet::from([order_id.to_string()]),
                redeemed: BTreeMap::new(),
            }
            .into()]),
            (CardState::Open(card), CardInput::Credit { order_id, amount, .. }) => {
                let mut card = card.clone();
                if !card.orders.insert(order_id.to_string()) {
                    return Decision::Ignore("already credited");
                }
                card.balance += amount;
                Decision::say([card.into()])
            }
            (CardState::Closed(_) | CardState::PaidOut, CardInput::Credit { .. }) => {
                Decision::Ignore("the card is closed")
            }

            (CardState::None, CardInput::Redeem { card_id, .. } | CardInput::Close { card_id }) => {
                Decision::Refuse(Refusal::NotFound(format!("there is no card `{card_id}`")))
            }
            (CardState::Open(card), CardInput::Redeem { key, amount, .. }) => redeem(card, key, *amount),
            (CardState::Closed(_) | CardState::PaidOut, CardInput::Redeem { .. }) => {
                Decision::Refuse(Refusal::Conflict("the card is closed".to_owned()))
            }

            (CardState::Open(card), CardInput::Close { card_id }) => Decision::say([CardClosed {
                card_id: card_id.clone(),
                balance: card.balance,
                reason: "the customer closed it".to_owned(),
            }
            .into()]),
            (CardState::Closed(_) | CardState::PaidOut, CardInput::Close { .. }) => {
                Decision::Ignore("already closed")
            }

            (CardState::None | CardState::Open(_), CardInput::PayOut { .. }) => {
                Decision::Ignore("cannot be: the card is not closed")
            }
            (CardState::Closed(_), CardInput::PayOut { card_id, amount }) => Decision::say([CardPaidOut {
                card_id: card_id.clone(),
                amount: *amount,
            }
            .into()]),
            (CardState::PaidOut, CardInput::PayOut { .. }) => Decision::Ignore("already paid out"),
        }
    }

    async fn ask(&self, ask: Infallible) -> Result<CardInput, AskError> {
        match ask {}
    }
}

fn redeem(card: &CardBalance, key: &str, amount: Money) -> Decision<CardService> {
    let mut card = card.clone();
    match card.redeemed.get(key) {
        Some(before) if *before == amount => return Decision::Ignore("already redeemed"),
        Some(_) => {
            let problem = "this key came with another amount before";
            return Decision::Refuse(Refusal::Mismatch(problem.to_owned()));
        }
        None if card.balance < amount => {
            let problem = format!("{} are on the card", card.balance);
            return Decision::Refuse(Refusal::Conflict(problem));
        }
        None => {}
    }
    card.balance -= amount;
    card.redeemed.insert(key.to_owned(), amount);
    Decision::say([card.into()])
}

/// What a redemption asks for.
#[derive(Debug, Deserialize)]
struct Redemption {
    key: String,
    amount: Money,
}

/// Its HTTP: `POST /cards/{card_id}/redeem` and `/close`.
pub fn routes(door: Door<CardService>) -> OpenApiRouter {
    OpenApiRouter::new()
        .route("/cards/{card_id}/redeem", axum::routing::post(redeem_card))
        .route("/cards/{card_id}/close", axum::routing::post(close_card))
        .with_state(door)
}

async fn redeem_card(
    Shared(door): Shared<Door<CardService>>,
    Id(card_id): Id<CardId>,
    origin: Origin,
    Json(Redemption { key, amount }): Json<Redemption>,
) -> Result<(), Problem> {
    let input = CardInput::Redeem { card_id, key, amount };
    door.command(input, "redeem", origin).await.map(drop)
}

async fn close_card(
    Shared(door): Shared<Door<CardService>>,
    Id(card_id): Id<CardId>,
    origin: Origin,
) -> Result<(), Problem> {
    door.command(CardInput::Close { card_id }, "close", origin)
        .await
        .map(drop)
}
