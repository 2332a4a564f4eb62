// The page: one stream of what is new, and the few things that a person can do.

import { announce, ask, byId, command, h, keyed, longSpan, money, say, shortId, span, step, who } from "./page.js";
import { countMap, drawMap } from "./map.js";
import { closeStory, drawLetter, failStory, openStory, setListeners, setServices, tellStory, tick } from "./story.js";

const live = byId("live");
let stream = null;
let overview = null;
let offset = 0;
let firstHears = "payment";
let looking = { order: null, step: null };
let announcedStuck = 0;

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

function route(isFirst) {
  const found = /^#\/orders\/([A-Za-z0-9_-]{1,64})$/.exec(location.hash);
  const order = found ? found[1] : null;
  document.body.classList.toggle("reading", order !== null);
  byId("map").hidden = order !== null;
  if (order) {
    openStory(order);
    if (isFirst !== true) {
      byId("story-title").focus({ preventScroll: true });
      if (matchMedia("(max-width: 60rem)").matches) scrollTo({ top: 0 });
    }
    ask(`/api/orders/${encodeURIComponent(order)}`).then(tellStory, (problem) => failStory(problem.message));
  } else closeStory();
  lookAt({ ...looking, order });
  showRows();
}

addEventListener("hashchange", (event) => {
  // The skip link is no place of its own.
  if (location.hash === "#orders") {
    byId("orders").focus();
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
      if (location.hash !== "#/" && document.body.classList.contains("reading")) location.hash = "#/";
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

// A new order --------------------------------------------------------------------------------------------------------

const dialog = byId("new-order-dialog");
const form = byId("new-order-form");
const lines = byId("lines");
let key = "";

/** A key of this order: the same click sent twice is one order. `randomUUID` is there on secure origins only. */
function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function addLine(item = "apple", quantity = 2, price = "2.50") {
  const line = h("li", {},
    h("label", {}, "Item ", h("input", { name: "item_id", value: item, list: "items", required: true, maxlength: 64, pattern: "[A-Za-z0-9_\\-]+", autocapitalize: "none", spellcheck: "false" })),
    h("label", {}, "Quantity ", h("input", { name: "quantity", type: "number", value: quantity, min: 1, max: 1_000_000, required: true })),
    h("label", {}, "Price ", h("input", { name: "unit_price", type: "number", value: price, min: 0, max: 1_000_000, step: "0.01", required: true })),
    h("button", { type: "button", class: "quiet", "aria-label": "Remove this line", onclick: () => {
      line.remove();
      if (lines.childElementCount === 0) addLine();
      total();
      byId("add-line").focus();
    } }, "×"));
  lines.append(line);
  total();
  return line;
}

function read() {
  return [...lines.children].map((line) => {
    const value = (name) => line.querySelector(`[name=${name}]`).value;
    return { item_id: value("item_id").trim(), quantity: Number(value("quantity")), unit_price: Math.round(Number(value("unit_price")) * 100) };
  });
}

function total() {
  const sum = read().reduce((sum, line) => sum + line.quantity * line.unit_price, 0);
  say(byId("total"), (sum / 100).toFixed(2));
  return sum;
}

byId("new-order").addEventListener("click", () => {
  key = newKey();
  say(byId("new-order-problem"), "");
  if (lines.childElementCount === 0) addLine();
  dialog.showModal();
});
byId("new-order-close").addEventListener("click", () => dialog.close());
byId("add-line").addEventListener("click", () => addLine("pear", 1, "1.80").querySelector("input").focus());
form.addEventListener("input", () => {
  total();
  // Another order than the one that may have been sent.
  key = newKey();
});
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const data = new FormData(form);
  const order = {
    customer_id: data.get("customer_id").trim(), address: data.get("address"), lines: read(), total: total(), currency: "EUR",
    payment: data.get("payment"), approval: data.get("approval"),
  };
  byId("place").disabled = true;
  say(byId("new-order-problem"), "");
  try {
    const placed = await command("/api/orders", order, { "idempotency-key": key });
    dialog.close();
    announce("The order is placed");
    location.hash = `#/orders/${placed.order_id}`;
  } catch (problem) {
    say(byId("new-order-problem"), problem.message);
  } finally {
    byId("place").disabled = false;
  }
});

// --------------------------------------------------------------------------------------------------------------------

setInterval(() => {
  showRows();
  tick(now());
}, 1_000);
route(true);
if (!stream) connect();
