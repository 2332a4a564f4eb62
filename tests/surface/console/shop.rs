//! Items, prices and couriers on the page.

use quadrille_events::{AwaitingApproval, Body, Completed, DeliveryFailed, OrderId};
use quadrille_local::client::NewOrder;
use quadrille_local::shop::ShopItem;
use quadrille_tests::eventually;
use serde_json::json;

use super::browser::Browser;
use super::{browser, button, choose, courier, good, opened, page, shown};

/// A button that is named for those who do not see to which item or courier it belongs.
fn named(name: &str) -> String {
    format!("//button[@aria-label='{name}']")
}

/// A field of the form of an item.
fn field(name: &str) -> String {
    format!("//dialog[@id='item-dialog']//*[@name='{name}']")
}

const ITEM_PROBLEM: &str = "//*[@id='item-problem']";

async fn fill_item(browser: &Browser, fields: &[(&str, &str)]) {
    for (name, text) in fields {
        browser.fill(&field(name), text).await.unwrap();
    }
    browser.click(&button("Save")).await.unwrap();
}

#[tokio::test]
async fn an_item_is_listed_ordered_changed_and_withdrawn_on_the_page() {
    if !browser::is_there() {
        return;
    }
    let (world, _console, browser) = opened().await;
    browser.click(&page("Items")).await.unwrap();
    let apple = browser.shows(&good("apple"), "€2.50").await.unwrap();
    assert!(apple.contains("10,000 available, 0 reserved"), "{apple}");

    // Listed. A currency need not be chosen: it is that of the other items.
    browser.click(&button("New item")).await.unwrap();
    let fig = [
        ("item_id", "fig"),
        ("name", "Fig <b>dried</b>"),
        ("description", "From the south."),
        ("price", "1.205"),
        ("quantity", "5"),
        ("tags", "fruit dried"),
    ];
    fill_item(&browser, &fig).await;
    browser
        .shows(ITEM_PROBLEM, "1.205 is no amount of EUR")
        .await
        .unwrap();
    fill_item(&browser, &[("price", "1.20")]).await;
    let listed = browser.shows(&good("fig"), "Fig <b>dried</b>").await.unwrap();
    assert!(
        listed.contains("€1.20") && listed.contains("5 available, 0 reserved, 5 all told"),
        "{listed}"
    );
    browser.click(&button("New item")).await.unwrap();
    fill_item(&browser, &fig).await;
    fill_item(&browser, &[("price", "9.99")]).await;
    browser
        .shows(ITEM_PROBLEM, "there is an item `fig` already")
        .await
        .unwrap();
    browser.click("//*[@id='item-close']").await.unwrap();

    // Ordered, at a price that somebody changes while the order is composed.
    let heard = eventually(async || Ok(Some(world.api().price("fig").await?)));
    assert_eq!(heard.await.unwrap()["price"], 120);
    browser.click(&button("New order")).await.unwrap();
    for (name, text) in [("customer_id", "barbara"), ("address", "1 Main St")] {
        browser
            .fill(&format!("//dialog//input[@name='{name}']"), text)
            .await
            .unwrap();
    }
    choose(&browser, "fig").await;
    browser
        .fill("//ul[@id='lines']/li[@data-item='fig']//input", "3")
        .await
        .unwrap();
    browser.shows("//*[@id='total']", "€3.60").await.unwrap();
    browser
        .click("//label[contains(., 'by the shop owner')]")
        .await
        .unwrap();
    let dearer = json!({ "price": 150 });
    world.api().change_item("fig", &dearer).await.unwrap();
    browser.click(&button("Place the order")).await.unwrap();
    browser
        .shows(
            "//*[@id='new-order-problem']",
            "Fig <b>dried</b> costs €1.50 by now, not €1.20",
        )
        .await
        .unwrap();
    browser.shows("//*[@id='total']", "€4.50").await.unwrap();
    browser.click(&button("Place the order")).await.unwrap();
    browser
        .shows("//section[@id='story']//*[@class='facts']", "€4.50")
        .await
        .unwrap();
    let id = shown(&browser).await;
    world.said(AwaitingApproval::NAME, &id).await.unwrap();

    // Reserved: it is not withdrawn, and the page says why.
    browser.click(&page("Items")).await.unwrap();
    browser
        .shows(&good("fig"), "2 available, 3 reserved, 5 all told")
        .await
        .unwrap();
    browser.click(&named("Withdraw Fig <b>dried</b>")).await.unwrap();
    browser.click(&button("Withdraw it")).await.unwrap();
    browser
        .shows(
            "//*[@id='withdraw-problem']",
            "3 of `fig` are reserved for orders, so it cannot be withdrawn",
        )
        .await
        .unwrap();
    browser.click("//*[@id='withdraw-close']").await.unwrap();

    // Changed, unless somebody else has been faster.
    let edit = named("Edit Fig <b>dried</b>");
    browser.click(&edit).await.unwrap();
    fill_item(&browser, &[("price", "1.75")]).await;
    browser.shows(&good("fig"), "€1.75").await.unwrap();
    browser.click(&edit).await.unwrap();
    browser.text(&field("quantity")).await.unwrap();
    world
        .api()
        .change_item("fig", &json!({ "name": "Fig", "quantity": 9 }))
        .await
        .unwrap();
    fill_item(&browser, &[("price", "1.80")]).await;
    browser
        .shows(ITEM_PROBLEM, "`fig` is at version 4 by now")
        .await
        .unwrap();
    browser.click(&button("Show how it is now")).await.unwrap();
    browser.shows("//*[@id='item-title']", "Edit Fig").await.unwrap();
    browser.is_gone("//*[@id='item-again']").await.unwrap();
    fill_item(&browser, &[("price", "1.80")]).await;
    let changed = browser.shows(&good("fig"), "€1.80").await.unwrap();
    assert!(
        changed.contains("6 available, 3 reserved, 9 all told"),
        "{changed}"
    );

    // Withdrawn once nothing is reserved.
    world.api().cancel_order(&id).await.unwrap();
    browser
        .shows(&good("fig"), "9 available, 0 reserved")
        .await
        .unwrap();
    browser.click(&named("Withdraw Fig")).await.unwrap();
    browser.click(&button("Withdraw it")).await.unwrap();
    browser.shows(&good("fig"), "withdrawn").await.unwrap();
    browser.is_gone(&named("Edit Fig")).await.unwrap();

    // Only some.
    browser
        .click("//*[@id='item-filter']//option[@value='withdrawn']")
        .await
        .unwrap();
    browser.is_gone(&good("apple")).await.unwrap();
    browser.text(&good("fig")).await.unwrap();
    browser
        .click("//*[@id='item-filter']//option[@value='']")
        .await
        .unwrap();
    browser.text(&good("apple")).await.unwrap();
    browser.click(&named("Show only dried")).await.unwrap();
    browser.is_gone(&good("apple")).await.unwrap();
    browser.text(&good("fig")).await.unwrap();

    world.ended(&id).await.unwrap();
    let complaints = browser.complaints().await.unwrap();
    // The refusals above, which the browser notes.
    let is_refusal = |line: &String| ["409", "412", "422"].iter().any(|status| line.contains(status));
    assert!(complaints.iter().all(is_refusal), "{complaints:#?}");
    browser.quit().await.unwrap();
    world.audit().await.unwrap();
}

#[tokio::test]
async fn an_item_gets_a_photo_and_loses_it_on_the_page() {
    if !browser::is_there() {
        return;
    }
    let (world, console, browser) = opened().await;
    let folder = tempfile::tempdir().unwrap();
    let (picture, text) = (folder.path().join("apple.png"), folder.path().join("apple.txt"));
    std::fs::write(&picture, quadrille_local::picture::picture(0)).unwrap();
    std::fs::write(&text, "an apple").unwrap();
    browser.click(&page("Items")).await.unwrap();
    let image = format!("{}//img", good("apple"));
    assert!(browser.text(&good("apple")).await.unwrap().contains("€2.50"));
    assert!(!browser.sees(&image).await.unwrap(), "there is no photo yet");

    let edit = named("Edit Apple");
    browser.click(&edit).await.unwrap();
    fill_item(&browser, &[("photo", text.to_str().unwrap())]).await;
    browser
        .shows(ITEM_PROBLEM, "a photo must be JPEG, PNG or WebP")
        .await
        .unwrap();
    fill_item(&browser, &[("photo", picture.to_str().unwrap())]).await;
    browser.is_gone(ITEM_PROBLEM).await.unwrap();
    let width = "return document.querySelector('[data-item=apple] img')?.naturalWidth ?? 0";
    let is_painted = eventually(async || Ok((browser.script(width).await? == 240).then_some(())));
    is_painted.await.unwrap();
    let photo = world.api().item("apple").await.unwrap()["photo"].clone();
    let url = format!(
        "{}/api/photos/{}",
        console.url(),
        photo["digest"].as_str().unwrap()
    );
    let served = reqwest::get(&url).await.unwrap();
    for (name, value) in [
        ("content-type", "image/png"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "public, max-age=31536000, immutable"),
    ] {
        assert_eq!(served.headers()[name], value);
    }
    assert_eq!(
        served.bytes().await.unwrap(),
        std::fs::read(&picture).unwrap().as_slice()
    );

    // The item of an order is shown with it.
    browser.click(&button("New order")).await.unwrap();
    browser
        .text("//ul[@id='offers']/li[@data-item='apple']")
        .await
        .unwrap();
    assert!(
        browser
            .sees("//ul[@id='offers']/li[@data-item='apple']//img")
            .await
            .unwrap()
    );
    browser.click("//*[@id='new-order-close']").await.unwrap();

    browser.click(&edit).await.unwrap();
    browser
        .click("//label[contains(., 'without a photo')]")
        .await
        .unwrap();
    fill_item(&browser, &[]).await;
    browser.is_gone(&image).await.unwrap();
    assert!(world.api().item("apple").await.unwrap()["photo"].is_null());
    let complaints = browser.complaints().await.unwrap();
    assert!(
        complaints.iter().all(|line| line.contains("415")),
        "{complaints:#?}"
    );
    browser.quit().await.unwrap();
}

#[tokio::test]
async fn items_are_shown_page_by_page() {
    if !browser::is_there() {
        return;
    }
    let (world, _console, browser) = opened().await;
    for n in 0..25 {
        let item = ShopItem::new(&format!("spice-{n}"), 1);
        world.api().list_item(&item).await.unwrap();
    }
    browser.click(&page("Items")).await.unwrap();
    browser.text(&good("apple")).await.unwrap();
    browser.click(&button("Next page")).await.unwrap();
    browser.text(&good("spice-24")).await.unwrap();
    browser.is_gone(&good("apple")).await.unwrap();
    // What is sold on the page that is shown changes by itself.
    let last = world.place(NewOrder::new().line(1, "spice-24")).await.unwrap();
    browser.shows(&good("spice-24"), "0 available").await.unwrap();
    browser.click(&button("Previous page")).await.unwrap();
    browser.text(&good("apple")).await.unwrap();
    browser.is_gone(&good("spice-24")).await.unwrap();

    // All of them can be ordered.
    browser.click(&button("New order")).await.unwrap();
    browser.click(&button("More items")).await.unwrap();
    choose(&browser, "spice-23").await;
    browser.shows("//*[@id='total']", "€1.00").await.unwrap();
    world.ended(&last).await.unwrap();
    assert!(browser.complaints().await.unwrap().is_empty());
    browser.quit().await.unwrap();
}

#[tokio::test]
async fn couriers_show_what_they_carry_and_get_their_capacity_on_the_page() {
    if !browser::is_there() {
        return;
    }
    let (world, _console, browser) = opened().await;
    world.api().put_courier("grace", 0).await.unwrap();
    browser.click(&page("Couriers")).await.unwrap();
    browser.shows(&courier("grace"), "0 of 0").await.unwrap();
    browser.shows(&courier("linus"), "0 of 10,000").await.unwrap();

    // Orders are carried by whoever has room; the page shows it by itself.
    let id = world.place(NewOrder::new().line(1, "apple")).await.unwrap();
    world.said(Completed::NAME, &id).await.unwrap();
    browser.shows(&courier("linus"), "1 of 10,000").await.unwrap();
    let capacity = |who: &str| format!("{}//input", courier(who));
    browser.fill(&capacity("linus"), "0").await.unwrap();
    browser.click(&named("Set the capacity of linus")).await.unwrap();
    browser
        .shows(
            &format!("{}//*[@class='problem']", courier("linus")),
            "courier `linus` has 1 orders, so their capacity cannot be 0",
        )
        .await
        .unwrap();
    browser.fill(&capacity("linus"), "1").await.unwrap();
    browser.click(&named("Set the capacity of linus")).await.unwrap();
    browser.shows(&courier("linus"), "1 of 1").await.unwrap();
    browser
        .fill("//*[@id='new-courier']//input[@name='courier_id']", "ida")
        .await
        .unwrap();
    browser
        .fill("//*[@id='new-courier']//input[@name='capacity']", "2")
        .await
        .unwrap();
    browser.click(&button("Add the courier")).await.unwrap();
    browser.shows(&courier("ida"), "0 of 2").await.unwrap();

    let complaints = browser.complaints().await.unwrap();
    assert!(
        complaints.iter().all(|line| line.contains("409")),
        "{complaints:#?}"
    );
    browser.quit().await.unwrap();
    world.audit().await.unwrap();
}

#[tokio::test]
async fn a_delivery_is_confirmed_or_fails_on_the_page_of_its_order() {
    if !browser::is_there() {
        return;
    }
    let (world, _console, browser) = opened().await;
    world.api().put_courier("grace", 2).await.unwrap();
    world.api().put_courier("linus", 0).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let id = world.place(NewOrder::new().line(3, "apple")).await.unwrap();
        world.said(Completed::NAME, &id).await.unwrap();
        ids.push(id);
    }
    let (delivered, failed) = (&ids[0], &ids[1]);

    // What the courier carries leads to the orders.
    browser.click(&page("Couriers")).await.unwrap();
    browser.shows(&courier("grace"), "2 of 2").await.unwrap();
    browser
        .click(&format!("{}//summary", courier("grace")))
        .await
        .unwrap();
    let carried = |id: &OrderId| format!("{}//li[@data-order='{id}']//a", courier("grace"));
    browser.text(&carried(failed)).await.unwrap();
    browser.click(&carried(delivered)).await.unwrap();
    assert_eq!(shown(&browser).await, *delivered);
    let badge = "//section[@id='story']//*[@data-badge]";
    browser.click(&button("Confirm the delivery")).await.unwrap();
    browser.shows(badge, "delivered").await.unwrap();
    browser.is_gone(&button("Confirm the delivery")).await.unwrap();

    // The other one comes back, with its reason.
    browser.click(&page("Couriers")).await.unwrap();
    browser.shows(&courier("grace"), "1 of 2").await.unwrap();
    browser.is_gone(&carried(delivered)).await.unwrap();
    browser.click(&carried(failed)).await.unwrap();
    browser
        .click("//section[@id='story']//button[@data-action='fail-delivery']")
        .await
        .unwrap();
    browser
        .fill("//dialog//input[@name='reason']", "nobody at home")
        .await
        .unwrap();
    browser
        .click("//dialog//button[@type='submit' and normalize-space()='Report a failed delivery']")
        .await
        .unwrap();
    browser.shows(badge, "cancelled").await.unwrap();
    browser
        .shows(
            &format!("//ol/li[@data-event='{}']", DeliveryFailed::NAME.subject),
            "nobody at home",
        )
        .await
        .unwrap();

    // The courier is free, and only what was delivered has left the stock.
    browser.click(&page("Couriers")).await.unwrap();
    browser.shows(&courier("grace"), "0 of 2").await.unwrap();
    browser
        .shows(&format!("{}//details", courier("grace")), "Nothing.")
        .await
        .unwrap();
    browser.click(&page("Items")).await.unwrap();
    browser
        .shows(&good("apple"), "9,997 available, 0 reserved, 9,997 all told")
        .await
        .unwrap();
    assert!(browser.complaints().await.unwrap().is_empty());
    browser.quit().await.unwrap();
    world.audit().await.unwrap();
}
