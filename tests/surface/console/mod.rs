//! The console in a real browser: what a person sees and clicks, on a real system.
//!
//! `QUADRILLE_SCREENSHOTS=1 cargo test -p quadrille-tests --test surface console` writes `services/console/screenshots` anew.

#![allow(clippy::unwrap_used)]

mod browser;
mod foreign;
mod shop;

use browser::{Browser, DESK, Look, NIGHT, PHONE};
use quadrille_events::{
    Assigned, AwaitingApproval, Body, Charged, Completed, CreateDelivery, Created, Opened, OrderCancelled,
    OrderId, Reserved,
};
use quadrille_local::client::{NewOrder, until};
use quadrille_local::{Instance, Process, Service, repo_root};
use quadrille_tests::{PATIENCE, World, quadrille};
use serde_json::{Value, json};

/// A world, its console, and the page in a browser.
async fn opened() -> (World, Instance, Browser) {
    let world = World::start().await.unwrap();
    let console = world.console().await.unwrap();
    let browser = Browser::start(DESK).await.unwrap();
    browser.open(console.url()).await.unwrap();
    browser.shows("//*[@id='live']", "live").await.unwrap();
    (world, console, browser)
}

fn order() -> NewOrder {
    NewOrder::new().line(2, "apple")
}

/// Chooses one of an item for the order that is composed.
async fn choose(browser: &Browser, item_id: &str) {
    let offer = format!("//ul[@id='offers']/li[@data-item='{item_id}']//button");
    browser.click(&offer).await.unwrap();
    // The price is there once the order service has said it.
    let price = format!("//ul[@id='lines']/li[@data-item='{item_id}']//*[@class='line-price']");
    browser.shows(&price, "×").await.unwrap();
}

/// The button that says this.
fn button(words: &str) -> String {
    format!("//button[normalize-space()='{words}']")
}

/// The order's line in a list: `order-list`, `ended-list`, `found-list`.
fn line(list: &str, id: &OrderId) -> String {
    format!("//ul[@id='{list}']/li[@data-order='{id}']")
}

fn vital(name: &str) -> String {
    format!("//*[@data-vital='{name}']")
}

/// How often the map says that an event was said.
fn count(event: &str) -> String {
    format!("//*[@id='map-picture']//*[@data-event='{event}']//*[@class='count']")
}

/// The order whose story is shown.
async fn shown(browser: &Browser) -> OrderId {
    browser
        .text("//*[@id='story-title']/code")
        .await
        .unwrap()
        .parse()
        .unwrap()
}

/// The link to one of the pages.
fn page(words: &str) -> String {
    format!("//nav//a[normalize-space()='{words}']")
}

/// Waits until the story shows these events, in this order. The buckets are not read at one moment, so that what it shows
/// first may lack some.
async fn tells(browser: &Browser, expected: &[&str]) {
    let script = "return [...document.querySelectorAll('.timeline > li')].map((li) => li.dataset.event)";
    let mut told = Value::Null;
    let tells = until(PATIENCE, async || {
        told = browser.script(script).await?;
        anyhow::Ok((told == json!(expected)).then_some(()))
    });
    assert!(tells.await.unwrap().is_some(), "it tells {told}");
}

#[tokio::test]
async fn an_order_is_placed_followed_and_cancelled_on_the_page() {
    if !browser::is_there() {
        return;
    }
    let (world, _console, browser) = opened().await;
    for service in Service::ALL {
        let state = format!(
            "//*[@id='map-picture']//*[@class='box' and @data-service='{}']",
            service.name()
        );
        browser.shows(&state, "listening").await.unwrap();
    }
    assert!(
        browser
            .shows("//*[@id='order-note']", "No order is in flight")
            .await
            .is_ok()
    );

    // Placed: its story opens by itself.
    browser.click(&button("New order")).await.unwrap();
    browser
        .fill("//dialog//input[@name='customer_id']", "barbara")
        .await
        .unwrap();
    browser
        .fill("//dialog//input[@name='address']", "1 Main St")
        .await
        .unwrap();
    browser.shows("//*[@id='total']", "–").await.unwrap();
    choose(&browser, "apple").await;
    choose(&browser, "apple").await;
    browser
        .click("//label[contains(., 'when the customer confirms')]")
        .await
        .unwrap();
    browser.shows("//*[@id='total']", "€5.00").await.unwrap();
    browser.click(&button("Place the order")).await.unwrap();
    browser
        .shows(
            "//section[@id='story']//*[contains(@class, 'next')]",
            "Waits for the customer to confirm",
        )
        .await
        .unwrap();
    let id = shown(&browser).await;
    tells(&browser, &[Created::NAME.subject, Opened::NAME.subject]).await;
    browser.shows(&line("order-list", &id), "barbara").await.unwrap();
    let waits = browser
        .shows(&line("order-list", &id), "waits for the customer")
        .await
        .unwrap();
    assert!(waits.contains("to be paid") && waits.contains("€5.00"), "{waits}");

    // Confirmed: the story goes on without a reload, each event with its cause, its delay, its entry.
    browser.click(&button("Confirm the payment")).await.unwrap();
    browser
        .shows("//section[@id='story']//*[@data-badge]", "completed")
        .await
        .unwrap();
    let expected = [
        Created::NAME.subject,
        Opened::NAME.subject,
        Charged::NAME.subject,
        Reserved::NAME.subject,
        CreateDelivery::NAME.subject,
        Assigned::NAME.subject,
        Completed::NAME.subject,
    ];
    tells(&browser, &expected).await;
    let reserved = "//ol/li[@data-event='inventory.reserved']";
    let says = browser
        .shows(reserved, "because of payment/charged")
        .await
        .unwrap();
    // `+3.4 ms` after its cause, on a slow machine `+1.2 s`.
    let delay = says.split_once('+').map(|(_, delay)| delay);
    let unit = delay.map(|delay| delay.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.'));
    assert!(
        unit.is_some_and(|unit| unit.starts_with(" ms") || unit.starts_with(" s")),
        "{says}"
    );
    browser.click(&format!("{reserved}//summary")).await.unwrap();
    let entry = browser
        .shows(&format!("{reserved}//pre"), "$KV.inventory.reserved.")
        .await
        .unwrap();
    assert!(
        entry.contains("ce-causationid: payment/charged.") && entry.contains("\"item_id\": \"apple\""),
        "{entry}"
    );
    browser
        .shows(&line("ended-list", &id), "completed")
        .await
        .unwrap();
    browser.is_gone(&line("order-list", &id)).await.unwrap();
    assert!(
        !browser.sees(&button("Cancel the order")).await.unwrap(),
        "it is over"
    );
    assert_eq!(world.ended(&id).await.unwrap().state, "completed");

    // Another, cancelled with a reason.
    browser.click(&button("New order")).await.unwrap();
    browser.click(&button("Place the order")).await.unwrap();
    browser
        .shows("//*[@id='new-order-problem']", "Choose an item first")
        .await
        .unwrap();
    choose(&browser, "pear").await;
    browser.click(&button("Place the order")).await.unwrap();
    browser
        .shows(
            "//section[@id='story']//*[contains(@class, 'next')]",
            "Waits for the customer to confirm",
        )
        .await
        .unwrap();
    let id = shown(&browser).await;
    browser
        .click("//section[@id='story']//button[@data-action='cancel-order']")
        .await
        .unwrap();
    browser
        .fill("//dialog//input[@name='reason']", "bought <b>twice</b>")
        .await
        .unwrap();
    browser
        .click("//dialog//button[@type='submit' and normalize-space()='Cancel the order']")
        .await
        .unwrap();
    browser
        .shows("//section[@id='story']//*[@data-badge]", "cancelled")
        .await
        .unwrap();
    browser
        .shows("//ol/li[@data-event='cancel-payment']", "bought <b>twice</b>")
        .await
        .unwrap();
    browser
        .shows(&line("ended-list", &id), "bought <b>twice</b>")
        .await
        .unwrap();
    let cancelled = world.ended(&id).await.unwrap();
    assert_eq!(
        (cancelled.state.as_str(), cancelled.reason.as_deref()),
        ("cancelled", Some("bought <b>twice</b>"))
    );

    // What cannot be is answered with the service's own words.
    browser.click(&button("New order")).await.unwrap();
    browser
        .fill("//dialog//input[@name='address']", " ")
        .await
        .unwrap();
    choose(&browser, "plum").await;
    browser.click(&button("Place the order")).await.unwrap();
    browser
        .shows("//*[@id='new-order-problem']", "address: must not be empty")
        .await
        .unwrap();
    browser.press("\u{e00c}").await.unwrap();

    // Back at the map, all of it is counted.
    browser
        .click("//a[normalize-space()='← all orders']")
        .await
        .unwrap();
    browser.shows(&count(Created::NAME.subject), "2").await.unwrap();
    browser.shows(&count(Completed::NAME.subject), "1").await.unwrap();
    browser
        .shows(&count(OrderCancelled::NAME.subject), "1")
        .await
        .unwrap();
    browser.shows(&vital("completed"), "1").await.unwrap();
    browser.shows(&vital("in_flight"), "0").await.unwrap();

    let complaints = browser.complaints().await.unwrap();
    // The refused order above was answered 422, which the browser notes.
    assert!(
        complaints.iter().all(|line| line.contains("422")),
        "{complaints:#?}"
    );
    browser.quit().await.unwrap();
    world.audit().await.unwrap();
}

#[tokio::test]
async fn an_order_that_is_stuck_stands_out_until_it_goes_on() {
    if !browser::is_there() {
        return;
    }
    let (world, _console, browser) = opened().await;
    let waiting = world.place(order().by("linus").paid_by_hand()).await.unwrap();
    world.terminate(Service::Delivery, 0).await.unwrap();
    let stuck = world.place(order().by("maurice")).await.unwrap();
    world.said(CreateDelivery::NAME, &stuck).await.unwrap();
    browser
        .shows(&line("order-list", &stuck), "waits for delivery")
        .await
        .unwrap();

    // In its step's time, and without anything being said.
    browser
        .shows(
            &format!("{}[contains(@class, 'stuck')]", line("order-list", &stuck)),
            "stuck: waits for delivery",
        )
        .await
        .unwrap();
    browser.shows(&vital("stuck"), "1").await.unwrap();
    browser
        .text("//*[@data-alarm='stuck' and contains(@class, 'alarm')]")
        .await
        .unwrap();
    assert!(
        browser
            .script("return document.title")
            .await
            .unwrap()
            .as_str()
            .unwrap()
            .contains("1 stuck")
    );
    let first = browser.text("//ul[@id='order-list']/li[1]").await.unwrap();
    assert!(
        first.contains("maurice"),
        "it is above the older one that may wait: {first}"
    );
    let delivery = "//*[@id='map-picture']//*[contains(@class, 'box') and @data-service='delivery']";
    browser.shows(delivery, "away, 1 stuck").await.unwrap();
    browser.click(&line("order-list", &stuck)).await.unwrap();
    let next = "//section[@id='story']//*[contains(@class, 'next')]";
    let says = browser
        .shows(next, "Not handled by delivery yet: 1.")
        .await
        .unwrap();
    assert!(
        says.contains("for delivery, which should answer within 5 s"),
        "{says}"
    );

    // Only those at one step.
    browser
        .click("//*[@id='steps']//button[contains(., 'to be paid')]")
        .await
        .unwrap();
    browser.is_gone(&line("order-list", &stuck)).await.unwrap();
    browser.text(&line("order-list", &waiting)).await.unwrap();
    browser
        .click("//*[@id='steps']//button[contains(., 'all')]")
        .await
        .unwrap();
    browser.text(&line("order-list", &stuck)).await.unwrap();

    // The terminal and the metrics say the same.
    let mut cli = Process::builder("quadrille", quadrille().unwrap())
        .env("NATS_URL", &world.nats_url)
        .arg("stuck")
        .start()
        .unwrap();
    assert!(cli.wait().await.unwrap().success());
    let said = cli.log().join("\n");
    assert!(
        said.contains(stuck.as_str())
            && said.contains("delivery")
            && said.ends_with("2 orders in flight, 1 stuck"),
        "{said}"
    );
    assert!(!said.contains(waiting.as_str()), "it may wait: {said}");

    world.restart(Service::Delivery, 0).await.unwrap();
    browser.shows(next, "Completed after").await.unwrap();
    browser
        .is_gone("//*[@data-alarm='stuck' and contains(@class, 'alarm')]")
        .await
        .unwrap();
    browser
        .shows(&line("ended-list", &stuck), "completed")
        .await
        .unwrap();
    assert!(browser.complaints().await.unwrap().is_empty());
    browser.quit().await.unwrap();
}

#[tokio::test]
async fn orders_are_found_and_what_no_service_could_handle_is_shown() {
    if !browser::is_there() {
        return;
    }
    let (world, console, browser) = opened().await;
    let mut ids = Vec::new();
    for customer in ["grace", "grace", "tony"] {
        ids.push(
            world
                .place(
                    order()
                        .by(customer)
                        .to("<img src=x onerror=document.title='broken'>"),
                )
                .await
                .unwrap(),
        );
    }
    world.all_ended(&ids).await.unwrap();
    let find = async |text: &str| {
        browser.fill("//input[@id='query']", text).await.unwrap();
        browser.press("\u{e007}").await.unwrap();
    };
    find("grace").await;
    browser
        .shows("//*[@id='found-title']", "2 orders of “grace”")
        .await
        .unwrap();
    browser.text(&line("found-list", &ids[0])).await.unwrap();
    browser.click(&line("found-list", &ids[1])).await.unwrap();
    browser
        .shows("//section[@id='story']//*[@data-badge]", "completed")
        .await
        .unwrap();
    assert_eq!(shown(&browser).await, ids[1]);
    browser
        .shows("//section[@id='story']//dl", "<img src=x onerror=")
        .await
        .unwrap();
    find(ids[2].as_str()).await;
    browser
        .shows("//*[@id='story-title']", ids[2].as_str())
        .await
        .unwrap();
    browser.shows("//section[@id='story']//dl", "tony").await.unwrap();
    find("nobody").await;
    browser
        .shows("//*[@id='found-title']", "No order of “nobody”")
        .await
        .unwrap();

    let nothing = std::iter::empty::<(String, String)>();
    world
        .operator
        .publish("$KV.order.created.broken-one", nothing, b"<script>not json")
        .await
        .unwrap();
    browser.shows(&vital("dead_letters"), "1").await.unwrap();
    browser
        .shows("//*[@id='letters']", "payment could not handle order.created")
        .await
        .unwrap();
    browser
        .click("//*[@id='letters']//a[normalize-space()='its order']")
        .await
        .unwrap();
    browser
        .shows("//section[@id='story']", "deploy/just retry KV_order.")
        .await
        .unwrap();
    browser
        .open(&format!("{}/#/orders/never-was", console.url()))
        .await
        .unwrap();
    browser
        .shows("//section[@id='story']", "obody has said anything about")
        .await
        .unwrap();

    assert!(
        !browser
            .script("return document.title")
            .await
            .unwrap()
            .as_str()
            .unwrap()
            .contains("broken")
    );
    let complaints = browser.complaints().await.unwrap();
    assert!(
        complaints.iter().all(|line| line.contains("404")),
        "{complaints:#?}"
    );
    browser.quit().await.unwrap();
}

#[tokio::test]
async fn a_restarted_console_shows_what_it_showed() {
    if !browser::is_there() {
        return;
    }
    let (world, mut console, browser) = opened().await;
    let done = world.place(order()).await.unwrap();
    let waiting = world.place(order().paid_by_hand()).await.unwrap();
    world.ended(&done).await.unwrap();
    browser
        .shows(&line("order-list", &waiting), "to be paid")
        .await
        .unwrap();
    browser
        .shows(&line("ended-list", &done), "completed")
        .await
        .unwrap();

    let status = console.terminate().await.unwrap();
    assert!(status.success(), "{status}");
    browser.shows("//*[@id='live']", "connection lost").await.unwrap();
    console.restart(PATIENCE).await.unwrap();
    browser.shows("//*[@id='live']", "live").await.unwrap();
    browser.open(console.url()).await.unwrap();
    browser
        .shows(&line("order-list", &waiting), "to be paid")
        .await
        .unwrap();
    browser
        .shows(&line("ended-list", &done), "completed")
        .await
        .unwrap();
    browser.shows(&count(Created::NAME.subject), "2").await.unwrap();
    browser.shows(&vital("completed"), "1").await.unwrap();

    // The broker too may go and come. What EVENTS then sources anew is not counted twice.
    world.restart_nats().await.unwrap();
    let id = world.place_surely(&order().by("again"), "again").await.unwrap();
    browser.shows(&line("ended-list", &id), "again").await.unwrap();
    browser.shows("//*[@id='live']", "live").await.unwrap();
    browser.text(&line("order-list", &waiting)).await.unwrap();
    browser.shows(&count(Created::NAME.subject), "3").await.unwrap();
    browser.shows(&vital("completed"), "2").await.unwrap();
    browser.shows(&vital("in_flight"), "1").await.unwrap();
    browser.quit().await.unwrap();
}

#[tokio::test]
async fn the_page_fits_a_phone_and_a_keyboard() {
    if !browser::is_there() {
        return;
    }
    let (world, console, browser) = opened().await;
    let id = world.place(order().paid_by_hand()).await.unwrap();
    let fits = async |what: &str| {
        let width = browser
            .script("return document.documentElement.scrollWidth - innerWidth")
            .await
            .unwrap();
        assert!(
            width.as_i64().unwrap() <= 0,
            "{what} is wider than the phone by {width}"
        );
    };
    for look in [PHONE, Look { width: 320, ..PHONE }] {
        browser.look(look).await.unwrap();
        browser.open(console.url()).await.unwrap();
        browser.text(&line("order-list", &id)).await.unwrap();
        fits("the overview").await;
        browser.click(&line("order-list", &id)).await.unwrap();
        browser
            .shows("//section[@id='story']", Opened::NAME.subject)
            .await
            .unwrap();
        assert!(
            !browser.sees("//section[@id='orders']").await.unwrap(),
            "the story has the phone to itself"
        );
        fits("the story").await;
        browser
            .click("//a[normalize-space()='← all orders']")
            .await
            .unwrap();
        browser.click(&page("Items")).await.unwrap();
        browser.text(&good("apple")).await.unwrap();
        fits("the page of items").await;
        browser.click("//button[@aria-label='Edit Apple']").await.unwrap();
        browser.text("//*[@id='item-title']").await.unwrap();
        fits("the form of an item").await;
        browser.press("\u{e00c}").await.unwrap();
        browser.click(&page("Couriers")).await.unwrap();
        browser.text(&courier("grace")).await.unwrap();
        fits("the page of couriers").await;
        browser.click(&button("New order")).await.unwrap();
        choose(&browser, "plum").await;
        fits("a new order").await;
        browser.press("\u{e00c}").await.unwrap();
    }

    // By keyboard alone: skip to the orders, tab to the order, open it, confirm it.
    browser.look(DESK).await.unwrap();
    browser.open("about:blank").await.unwrap();
    browser.open(console.url()).await.unwrap();
    browser.text(&line("order-list", &id)).await.unwrap();
    let focused = async || {
        let script = "const e = document.activeElement; return e.closest('[data-order]')?.dataset.order ?? e.textContent.trim()";
        browser
            .script(script)
            .await
            .unwrap()
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    const TAB: &str = "\u{e004}";
    const ENTER: &str = "\u{e007}";
    browser.press(TAB).await.unwrap();
    assert_eq!(focused().await, "Skip to the orders");
    browser.press(ENTER).await.unwrap();
    for _ in 0..6 {
        browser.press(TAB).await.unwrap();
        if focused().await == id.as_str() {
            break;
        }
    }
    assert_eq!(focused().await, id.as_str());
    let outline = "return getComputedStyle(document.activeElement).outlineStyle";
    assert_eq!(
        browser.script(outline).await.unwrap(),
        "solid",
        "one sees where one is"
    );
    browser.press(ENTER).await.unwrap();
    let confirm = button("Confirm the payment");
    browser.text(&confirm).await.unwrap();
    for _ in 0..4 {
        browser.press(TAB).await.unwrap();
        if focused().await == "Confirm the payment" {
            break;
        }
    }
    assert_eq!(focused().await, "Confirm the payment");
    browser.press(ENTER).await.unwrap();
    browser
        .shows("//section[@id='story']//*[@data-badge]", "completed")
        .await
        .unwrap();

    // Everything that takes input or clicks has a name.
    let nameless = "return [...document.querySelectorAll('a, button, input, select, textarea, summary')].filter((e) => \
        !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length)).length";
    assert_eq!(browser.script(nameless).await.unwrap(), 0);
    browser.quit().await.unwrap();
}

/// The pictures of the README.
#[tokio::test]
async fn the_pictures() {
    if std::env::var_os("QUADRILLE_SCREENSHOTS").is_none_or(|value| value != "1") || !browser::is_there() {
        return;
    }
    let (world, console, browser) = opened().await;
    for item in quadrille_local::shop::items(500) {
        let id = item.item_id.as_str();
        let quantity = if id == "bread" { 5 } else { item.quantity };
        world.api().put_item(id, quantity).await.unwrap();
        world.api().put_photo(id, item.photo()).await.unwrap();
    }
    let mut ids = Vec::new();
    for customer in ["ada", "grace", "linus", "barbara", "donald"]
        .into_iter()
        .cycle()
        .take(40)
    {
        ids.push(world.place(order().by(customer).line(1, "pear")).await.unwrap());
    }
    ids.push(world.place(order().by("edsger").line(9, "bread")).await.unwrap());
    ids.push(world.place(order().by("test-declined")).await.unwrap());
    let cancelled = world
        .place(order().by("grace").approved_by_hand().line(3, "plum"))
        .await
        .unwrap();
    world.said(AwaitingApproval::NAME, &cancelled).await.unwrap();
    world.api().cancel_order(&cancelled).await.unwrap();
    ids.push(cancelled);
    world.all_ended(&ids).await.unwrap();
    for customer in ["linus", "frances"] {
        world.place(order().by(customer).paid_by_hand()).await.unwrap();
    }
    world
        .place(order().by("edsger").approved_by_hand().line(2, "plum"))
        .await
        .unwrap();
    world.settle().await.unwrap();
    world.terminate(Service::Delivery, 0).await.unwrap();
    let mut stuck = Vec::new();
    for customer in ["maurice", "tony"] {
        stuck.push(world.place(order().by(customer)).await.unwrap());
    }
    browser.shows(&vital("stuck"), "2").await.unwrap();
    let delivery = "//*[@id='map-picture']//*[contains(@class, 'box') and @data-service='delivery']";
    browser.shows(delivery, "away, 2 stuck").await.unwrap();

    let folder = repo_root().join("services/console/screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    let picture = async |name: &str| {
        // What travels has arrived, what fades has faded.
        let still = "return document.getAnimations().filter((a) => a.effect.getComputedTiming().iterations === 1).length";
        let still = until(PATIENCE, async || {
            anyhow::Ok((browser.script(still).await? == 0).then_some(()))
        });
        still.await.unwrap().unwrap();
        browser.screenshot(&folder.join(name)).await.unwrap();
    };
    picture("map.png").await;
    browser.look(NIGHT).await.unwrap();
    picture("dark.png").await;
    browser
        .look(Look {
            height: 1_150,
            ..DESK
        })
        .await
        .unwrap();
    browser
        .open(&format!("{}/#/orders/{}", console.url(), ids.last().unwrap()))
        .await
        .unwrap();
    browser
        .shows(
            "//section[@id='story']//*[contains(@class, 'next')]",
            "Cancelled after",
        )
        .await
        .unwrap();
    browser
        .shows(&line("order-list", &stuck[0]), "stuck")
        .await
        .unwrap();
    browser.click("//body").await.unwrap();
    picture("order.png").await;
    browser.look(DESK).await.unwrap();
    browser.click(&page("Items")).await.unwrap();
    browser.text(&good("teapot")).await.unwrap();
    let painted = "return [...document.querySelectorAll('#item-list img')].every((image) => image.naturalWidth > 0 || \
        image.getBoundingClientRect().top > innerHeight)";
    let painted = until(PATIENCE, async || {
        anyhow::Ok((browser.script(painted).await? == true).then_some(()))
    });
    painted.await.unwrap().unwrap();
    browser.click("//body").await.unwrap();
    picture("items.png").await;
    browser.look(PHONE).await.unwrap();
    browser.open(&format!("{}/#/", console.url())).await.unwrap();
    browser
        .shows(&line("order-list", &stuck[0]), "stuck")
        .await
        .unwrap();
    picture("phone.png").await;
    browser.quit().await.unwrap();
}

/// An item on the page of items.
fn good(item_id: &str) -> String {
    format!("//ul[@id='item-list']/li[@data-item='{item_id}']")
}

/// A courier on the page of couriers.
fn courier(courier_id: &str) -> String {
    format!("//ul[@id='courier-list']/li[@data-courier='{courier_id}']")
}
