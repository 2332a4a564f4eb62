//! What every handler of the console gets.

use crate::follow::Shared;
use crate::proxy::Services;

#[derive(Clone)]
pub(crate) struct App {
    pub shared: Shared,
    pub services: Services,
}
