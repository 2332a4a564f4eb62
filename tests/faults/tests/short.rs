//! A few strikes of every kind, as `just verify` runs them; `just faults` goes on for longer.

#![allow(clippy::unwrap_used)]

use quadrille_faults::{Campaign, Plan, Ran, header, row, run, sentences};
use quadrille_local::repo_root;
use quadrille_tests::leave_out;

/// Another one every time would find more, and fail where nobody can repeat it.
const SEED: u64 = 4;

async fn a_few_strikes(campaign: Campaign) {
    quadrille_tests::build().unwrap();
    let folder = repo_root().join("target/faults");
    let ran = run(Plan::short(campaign, SEED), &folder, |_| {}).await.unwrap();
    println!("{}\n{}", header(), row(campaign, &ran));
    match ran {
        Ran::Through(outcome) => {
            assert!(
                outcome.violations.is_empty(),
                "{}",
                sentences(&outcome).join("\n")
            );
            assert!(outcome.strikes > 0 && outcome.accepted > 0, "{outcome:#?}");
            assert_eq!(outcome.orders, outcome.ended, "{outcome:#?}");
        }
        // What cannot be mounted cannot be tested.
        Ran::LeftOut(reason) => leave_out(&format!("{}: {reason}", campaign.name()), "QUADRILLE_NO_MOUNT"),
    }
}

macro_rules! campaigns {
    ($($name:ident: $campaign:ident),+ $(,)?) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            a_few_strikes(Campaign::$campaign).await;
        }
    )+ };
}

// The longest first: cargo begins them in the order of their names, two at a time.
campaigns! {
    a_disk_that_fills_up: FullDisk,
    a_cluster_that_loses_its_leaders: Cluster,
    clients_that_are_hostile: Hostile,
    connections_that_are_cut_stalled_and_slowed: Disconnect,
    deliveries_that_come_twice_and_late: Repeat,
    kills_of_services: KillServices,
    kills_of_the_broker: KillBroker,
    lost_acknowledgements: LoseAcks,
    poison_between_the_orders: Poison,
    the_frozen: Freeze,
}
