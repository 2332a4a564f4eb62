//! Faults: the real system under load, while one kind of thing strikes it again and again; then everything is checked.
//!
//! To read it: [`Campaign`] says what strikes, and [`run`] is a campaign from beginning to end; `arena` strikes,
//! `customers` are the load, `history` is what they were told, `stored` what there is in the end, and `check` whether
//! the two agree; [`proxy`] spoils what passes between services and nats-server.
//!
//! What is left out: power loss (SIGKILL loses no write that the kernel has), disks that lie, clocks that jump,
//! networks that split a cluster.

mod arena;
mod campaign;
mod check;
mod customers;
mod disk;
mod history;
mod hostile;
mod plan;
mod poison;
pub mod proxy;
mod rot;
mod stored;
mod table;

pub use campaign::{Outcome, Ran, run};
pub use check::check;
pub use history::{Asked, History, Outcome as Answered, Request, Strike, Tally};
pub use plan::{Campaign, Plan};
pub use rot::flip_bytes;
pub use stored::{EventRecord, OrderRecord, StoredOrders};
pub use table::{header, row, sentences};
