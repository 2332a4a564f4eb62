//! The nats-server dies in the middle of orders and comes back, on the same port and data.

use futures::future::join;
use quadrille_deploy::client::NewOrder;
use quadrille_deploy::story::Ending;
use quadrille_tests::{Options, World};

fn order(number: usize) -> NewOrder {
    let order = NewOrder::new().line(1, "apple", 250).line(2, "plum", 45);
    if number % 8 == 5 {
        order.to("test-no-courier")
    } else {
        order
    }
}

async fn orders_outlive_the_server(options: Options) {
    let world = options.env("ACK_WAIT", "2s").start().await.unwrap();
    let dying = async {
        for messages in [150, 600] {
            world.holds("EVENTS", messages).await.unwrap();
            world.restart_nats().await.unwrap();
        }
    };
    let (ids, ()) = join(world.place_many(200, order), dying).await;
    world.all_ended(&ids.unwrap()).await.unwrap();
    let report = world.audit().await.unwrap();
    assert_eq!(
        (report.ended(Ending::Completed), report.ended(Ending::NoCourier)),
        (175, 25),
        "{report}"
    );
}

#[tokio::test]
async fn orders_outlive_two_deaths_of_the_server() {
    orders_outlive_the_server(World::with()).await;
}

#[tokio::test]
async fn orders_outlive_two_deaths_of_the_server_with_two_instances() {
    orders_outlive_the_server(World::with().instances(2)).await;
}
