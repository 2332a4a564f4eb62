// The page: one stream of what is new, and the few things that a person can do.

import { announce, ask, byId, h, keyed, longSpan, money, say, shortId, span, step, who } from "./page.js";
import "./cart.js";
import { closeCouriers, couriersChanged, openCouriers } from "./couriers.js";
import { closeItems, itemsChanged, openItems } from "./items.js";
import { countMap, drawMap } from "./map.js";
import { closeStory, drawLetter, failStory, openStory, setListeners, setServices, tellStory, tick } from "./story.js";

const live = byId("live");
let stream = null;
let overview = null;
let offset = 0;
let firstHears = "payment";
let looking = { order: null, step: null };
let announcedStuck = 0;
/** Which counts are those of a service's events, and what they added up to when its part of the shop was last read. */
let places = {};
let heard = {};

/** The server's clock. */
const now = () => Date.now() + offset;

// The stream ---------------------------------------------------------------------------------------------------------

function connect() {
  stream?.close();
  const query = new URLSearchParams();
  if (looking.order) query.set("order", looking.order);
  if (looking.step) query.set("step", looking.step);
  stream = new EventSource(`/api/live?${query}`);
  const on = (name, handle) => stream.addEventListener(name, (event) => handle(JSON.parse(event.data)));
  on("overview", show);
  on("map", (map) => {
    const created = map.events.find((arrow) => arrow.event === "order.created");
    firstHears = created?.to[0] ?? "payment";
    setServices(map.services);
    places = Object.groupBy(map.events.map((arrow) => [arrow.from, arrow.place]), ([service]) => service);
    drawMap(map);
    if (overview) countMap(overview);
  });
  on("dead-letters", showLetters);
  on("story", tellStory);
  on("no-story", failStory);
  stream.onerror = () => {
    status("lost", "connection lost, trying again");
    // The browser tries again by itself unless it was refused.
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => !document.hidden && connect(), 3_000);
  };
}

function status(state, text) {
  live.dataset.state = state;
  say(live, text);
}

// A hidden page costs the system nothing.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) stream?.close();
  else connect();
});

// All orders ---------------------------------------------------------------------------------------------------------

function show(seen) {
  overview = seen;
  offset = seen.now - Date.now();
  status(seen.trouble ? "trouble" : "live", seen.trouble ?? "live");
  for (const vital of document.querySelectorAll("[data-vital]")) {
    const value = seen[vital.dataset.vital];
    say(vital, vital.dataset.vital === "per_second" && value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString("en"));
  }
  for (const alarm of document.querySelectorAll("[data-alarm]")) alarm.classList.toggle("alarm", seen[alarm.dataset.alarm] > 0);
  if (seen.stuck > announcedStuck) announce(`${seen.stuck} ${seen.stuck === 1 ? "order is" : "orders are"} stuck`);
  announcedStuck = seen.stuck;
  document.title = seen.stuck > 0 ? `(${seen.stuck} stuck) Quadrille` : "Quadrille";
  setListeners(seen.listeners);
  showSteps(seen);
  showRows();
  countMap(seen);
  if (isNews("inventory", seen)) itemsChanged();
  if (isNews("delivery", seen)) couriersChanged();
}

/** Whether a service has said anything since the last time. */
function isNews(service, seen) {
  const said = (places[service] ?? []).reduce((sum, [, place]) => sum + (seen.said[place] ?? 0), 0);
  const isNew = heard[service] !== said;
  heard[service] = said;
  return isNew;
}

function showSteps(seen) {
  const there = seen.steps.filter((at) => at.orders > 0 || at.step === looking.step);
  const all = { step: null, orders: seen.in_flight, stuck: 0 };
  keyed(byId("steps"), [all, ...there], (at) => at.step ?? "all", (at) =>
    h("button", { type: "button", class: "chip", "data-step": at.step ?? "all", onclick: () => lookAt({ ...looking, step: at.step }) },
      h("span", {}, at.step ? step(at.step) : "all"), h("b", {})),
  (button, at) => {
    button.setAttribute("aria-pressed", String(looking.step === at.step));
    button.classList.toggle("alarm", at.stuck > 0);
    say(button.lastChild, at.orders.toLocaleString("en"));
  });
}

function showRows() {
  if (!overview) return;
  keyed(byId("order-list"), overview.orders, (row) => row.order_id, makeRow, updateRow);
  keyed(byId("ended-list"), overview.ended, (row) => row.order_id, makeRow, updateRow);
  byId("ended-note").hidden = overview.ended.length > 0;
  const at = looking.step ? overview.steps.find((known) => known.step === looking.step)?.orders ?? 0 : overview.in_flight;
  const more = at - overview.orders.length;
  const notes = [];
  if (at === 0) notes.push(looking.step ? `No order is ${step(looking.step)}.` : "No order is in flight.");
  if (more > 0) notes.push(`${more.toLocaleString("en")} more.`);
  if (overview.uncounted > 0) notes.push(`There are too many to keep all: ${overview.uncounted.toLocaleString("en")} events are about orders that are missing here.`);
  say(byId("order-note"), notes.join(" "));
}

function makeRow(row) {
  return h("li", { "data-order": row.order_id },
    h("a", { href: `#/orders/${row.order_id}` },
      h("span", { class: "who" }, row.customer_id ?? "–"), h("code", { class: "id", title: row.order_id }, shortId(row.order_id)),
      h("span", { class: "sum" }, row.currency ? money(row.total, row.currency, row.digits) : ""), h("span", { class: "age" }),
      h("span", { class: "state" }, h("span", { class: "badge" }), h("span", { class: "waits" }))));
}

function updateRow(element, row) {
  const over = row.due === null;
  const stuck = !over && now() > row.due;
  element.classList.toggle("stuck", stuck);
  const find = (name) => element.querySelector(`.${name}`);
  const badge = find("badge");
  badge.dataset.badge = row.step;
  say(badge, step(row.step));
  say(find("age"), over ? `${longSpan(now() - row.last)} ago` : longSpan(now() - row.first));
  say(find("waits"), over ? ended(row) : stuck ? `stuck: waits for ${waitsFor(row)}` : `waits for ${waitsFor(row)}`);
  const link = element.firstChild;
  if (looking.order === row.order_id) link.setAttribute("aria-current", "true");
  else link.removeAttribute("aria-current");
}

const ended = (row) => (row.reason && row.step === "cancelled" ? row.reason : `in ${span(row.last - row.first)}`);
const waitsFor = (row) => (row.step === "created" ? firstHears : who(row.waits_for));

function showLetters(letters) {
  byId("letters").hidden = letters.length === 0;
  keyed(byId("letter-list"), letters, (letter) => letter.id, (letter) => {
    const item = drawLetter(letter);
    const id = letter.id.slice(letter.id.lastIndexOf(".") + 1);
    if (id !== "-") item.append(h("p", {}, h("a", { href: `#/orders/${encodeURIComponent(id)}` }, "its order")));
    return item;
  }, () => {});
}

// Where one is -------------------------------------------------------------------------------------------------------

function lookAt(next) {
  const same = next.order === looking.order && next.step === looking.step;
  looking = next;
  if (overview) showSteps(overview);
  if (!same) connect();
}

/** The pages besides the orders, and what shows them. */
const PLACES = {
  items: [openItems, closeItems],
  couriers: [openCouriers, closeCouriers],
};

function route(isFirst) {
  const found = /^#\/orders\/([A-Za-z0-9_-]{1,64})$/.exec(location.hash);
  const order = found ? found[1] : null;
  const place = Object.keys(PLACES).find((name) => location.hash === `#/${name}`) ?? "orders";
  document.body.classList.toggle("reading", order !== null);
  document.body.classList.toggle("elsewhere", place !== "orders");
  byId("orders").hidden = place !== "orders";
  byId("map").hidden = order !== null || place !== "orders";
  for (const [name, [open, close]] of Object.entries(PLACES)) {
    byId(name).hidden = name !== place;
    if (name === place) open();
    else close();
  }
  for (const link of document.querySelectorAll("[data-place]")) {
    if (link.dataset.place === place) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  byId("skip").href = `#${place}`;
  say(byId("skip"), `Skip to the ${place}`);
  if (order) {
    openStory(order);
    if (isFirst !== true) {
      byId("story-title").focus({ preventScroll: true });
      if (matchMedia("(max-width: 60rem)").matches) scrollTo({ top: 0 });
    }
    ask(`/api/orders/${encodeURIComponent(order)}`).then(tellStory, (problem) => failStory(problem.message));
  } else closeStory();
  if (place !== "orders" && isFirst !== true) byId(place).focus({ preventScroll: true });
  lookAt({ ...looking, order });
  showRows();
}

addEventListener("hashchange", (event) => {
  // The skip link is no place of its own.
  const skipped = ["orders", ...Object.keys(PLACES)].find((name) => location.hash === `#${name}`);
  if (skipped) {
    byId(skipped).focus();
    history.replaceState(null, "", new URL(event.oldURL).hash || "#/");
  } else route();
});

// Search -------------------------------------------------------------------------------------------------------------

byId("search").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = byId("query").value.trim();
  if (!text) return;
  const title = byId("found-title");
  try {
    const { orders, more } = await ask(`/api/orders?q=${encodeURIComponent(text)}`);
    const count = more ? `the latest ${orders.length} orders` : orders.length === 1 ? "1 order" : orders.length ? `${orders.length} orders` : "no order";
    showFound(`${count} of “${text}”`, orders);
    if (orders.length === 1 && orders[0].order_id === text) location.hash = `#/orders/${text}`;
    else {
      if (document.body.matches(".reading, .elsewhere")) location.hash = "#/";
      title.focus();
    }
  } catch (problem) {
    showFound(problem.message, []);
    title.focus();
  }
});

function showFound(text, orders) {
  byId("found").hidden = false;
  say(byId("found-title"), text[0].toUpperCase() + text.slice(1));
  keyed(byId("found-list"), orders, (row) => row.order_id, makeRow, updateRow);
}

byId("found-close").addEventListener("click", () => {
  byId("found").hidden = true;
  byId("query").value = "";
  byId("query").focus();
});

// --------------------------------------------------------------------------------------------------------------------

setInterval(() => {
  showRows();
  tick(now());
}, 1_000);
// A capacity is no event: what others have set is shown a little later.
setInterval(couriersChanged, 10_000);
route(true);
if (!stream) connect();
