//! What strikes, how often, and under which load.

use std::time::Duration;

/// What strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Campaign {
    /// kill -9 of services, one instance or both at once, started again.
    KillServices,
    /// kill -9 of nats-server, started again.
    KillBroker,
    /// SIGSTOP of services and of nats-server for longer than `ACK_WAIT`, then SIGCONT.
    Freeze,
    /// 10 % of the deliveries come five times over, 10 % late and behind newer ones.
    Repeat,
    /// 20 % of the acknowledgements and 1 % of the answers to commits are lost.
    LoseAcks,
    /// Connections to nats-server are cut, stalled and slowed.
    Disconnect,
    /// One message in a hundred cannot be read.
    Poison,
    /// The disk of nats-server fills up, and space is made.
    FullDisk,
    /// Three nats-servers; whoever leads is killed or frozen.
    Cluster,
    /// Hostile clients: thousands of event streams on one order, pipelining without reading, unfinished heads, slow readers.
    Hostile,
}

impl Campaign {
    /// All of them, in the order in which they run.
    pub const ALL: [Self; 10] = [
        Self::KillServices,
        Self::KillBroker,
        Self::Freeze,
        Self::Repeat,
        Self::LoseAcks,
        Self::Disconnect,
        Self::Poison,
        Self::FullDisk,
        Self::Cluster,
        Self::Hostile,
    ];

    /// Its name, as `--only` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::KillServices => "kill-services",
            Self::KillBroker => "kill-broker",
            Self::Freeze => "freeze",
            Self::Repeat => "repeat",
            Self::LoseAcks => "lose-acks",
            Self::Disconnect => "disconnect",
            Self::Poison => "poison",
            Self::FullDisk => "full-disk",
            Self::Cluster => "cluster",
            Self::Hostile => "hostile",
        }
    }

    /// What one strike is called.
    pub fn strike(self) -> &'static str {
        match self {
            Self::KillServices | Self::KillBroker => "kills",
            Self::Freeze => "freezes",
            Self::Repeat => "deliveries",
            Self::LoseAcks => "losses",
            Self::Disconnect => "disturbances",
            Self::Poison => "poisons",
            Self::FullDisk => "fillings",
            Self::Cluster => "leaders lost",
            Self::Hostile => "hostile clients",
        }
    }

    /// How often the long run strikes.
    fn strikes(self) -> usize {
        match self {
            Self::KillServices => 300,
            Self::KillBroker => 100,
            Self::Freeze => 60,
            Self::Repeat => 3_000,
            Self::LoseAcks => 2_000,
            Self::Disconnect => 100,
            Self::Poison => 200,
            Self::FullDisk => 10,
            Self::Cluster => 30,
            Self::Hostile => 40_000,
        }
    }

    /// How often the short run strikes.
    fn few_strikes(self) -> usize {
        match self {
            Self::KillServices => 8,
            Self::KillBroker => 3,
            Self::Freeze => 2,
            Self::Repeat | Self::LoseAcks => 60,
            Self::Disconnect => 5,
            Self::Poison => 5,
            Self::FullDisk => 1,
            Self::Cluster => 2,
            Self::Hostile => 800,
        }
    }
}

/// The seed of the n-th of those who draw from one seed.
pub(crate) fn nth(seed: u64, number: u64) -> u64 {
    // An odd number of many bits, so that neighbours have little in common.
    seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number)
}

/// A campaign to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// What strikes.
    pub campaign: Campaign,
    /// From which everything random is drawn, for each strike and each visit of a customer anew. So a run with the same
    /// seed has the same n-th strike and, of each customer, the same n-th order; not the same moments, nor what hangs on
    /// them: how many visits there are, which connections are open when one is cut, which frames the proxy spoils.
    pub seed: u64,
    /// How often it strikes.
    pub strikes: usize,
    /// How many customers there are.
    pub customers: usize,
    /// How long each of them pauses at most between two orders.
    pub pause: Duration,
    /// `PAYMENT_DEADLINE`
    pub deadline: Duration,
}

impl Plan {
    /// The run by hand.
    pub fn long(campaign: Campaign, seed: u64) -> Self {
        Self {
            campaign,
            seed,
            strikes: campaign.strikes(),
            customers: 24,
            pause: Duration::from_millis(400),
            deadline: Duration::from_secs(5),
        }
    }

    /// A few strikes: seconds.
    pub fn short(campaign: Campaign, seed: u64) -> Self {
        Self {
            strikes: campaign.few_strikes(),
            customers: 8,
            pause: Duration::from_millis(200),
            deadline: Duration::from_secs(2),
            ..Self::long(campaign, seed)
        }
    }

    /// What this campaign draws from: each has its own, so that `--only` changes nothing.
    pub(crate) fn own_seed(&self) -> u64 {
        nth(self.seed, self.campaign as u64)
    }
}
