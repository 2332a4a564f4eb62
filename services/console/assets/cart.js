// A new order: items of the shop, how many of each, at the prices that the order service knows.

import { announce, ask, byId, command, h, keyed, photo, price, readCurrencies, say } from "./page.js";

/** How many items are offered at once. */
const PAGE = 20;

const dialog = byId("new-order-dialog");
const form = byId("new-order-form");
let key = "";
let offers = [];
let next = null;
/** The chosen items, each `{ item, quantity, price, currency, problem }`; without a price until the order service has said it. */
let lines = [];

/** A key of this order: the same click sent twice is one order. `randomUUID` is there on secure origins only. */
function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// What there is ------------------------------------------------------------------------------------------------------

async function offer(cursor) {
  byId("more-offers").hidden = true;
  try {
    await readCurrencies();
    const page = await ask(`/api/items?${new URLSearchParams({ status: "available", limit: PAGE, cursor })}`);
    offers = cursor === 0 ? page.items : [...offers, ...page.items];
    next = page.next ?? null;
    say(byId("offer-note"), offers.length > 0 ? "" : next === null ? "The shop has nothing to offer at this moment." : "None among the first.");
  } catch (problem) {
    say(byId("offer-note"), problem.message);
  }
  byId("more-offers").hidden = next === null;
  keyed(byId("offers"), offers, (item) => item.item_id, makeOffer, updateOffer);
}

function makeOffer({ item_id: id }) {
  const row = h("li", { "data-item": id },
    h("span", { class: "picture" }), h("span", { class: "offer-name" }), h("span", { class: "offer-price" }),
    h("button", { type: "button", onclick: () => add(row.item) }, "Add"));
  return row;
}

function updateOffer(row, item) {
  const digest = item.photo?.digest ?? "";
  if (row.dataset.photo !== digest) row.querySelector(".picture").replaceChildren(photo(item, 40));
  row.dataset.photo = digest;
  say(row.querySelector(".offer-name"), item.name);
  say(row.querySelector(".offer-price"), price(item.price, item.currency));
  row.querySelector("button").setAttribute("aria-label", `Add ${item.name}`);
  row.item = item;
}

// What is chosen -----------------------------------------------------------------------------------------------------

function add(item) {
  const known = lines.find((line) => line.item.item_id === item.item_id);
  if (known) known.quantity += 1;
  else {
    const line = { item, quantity: 1 };
    lines.push(line);
    readPrice(line).then(showLines);
  }
  showLines();
}

/** Reads the price at which the item can be ordered; returns whether it is another than before. */
async function readPrice(line) {
  const before = line.price;
  try {
    const known = await ask(`/api/prices/${line.item.item_id}`);
    Object.assign(line, { price: known.price, currency: known.currency, problem: known.withdrawn ? "is withdrawn" : null });
  } catch (problem) {
    line.problem = problem.status === 404 ? "has no price yet; try again in a moment" : problem.message;
  }
  return before !== undefined && before !== line.price;
}

function showLines() {
  // Another order than the one that may have been sent.
  key = newKey();
  keyed(byId("lines"), lines, (line) => line.item.item_id, makeLine, updateLine);
  byId("line-note").hidden = lines.length > 0;
  const currencies = new Set(lines.filter((line) => line.currency).map((line) => line.currency));
  const [currency] = currencies;
  say(byId("total"), currencies.size === 0 ? "–" : currencies.size > 1 ? "in several currencies, which one order cannot have" : price(total(), currency));
}

function makeLine(line) {
  const quantity = h("input", { type: "number", min: 1, max: 4_294_967_295, required: true, "aria-label": `Quantity of ${line.item.name}`, oninput: () => {
    line.quantity = Number(quantity.value);
    showLines();
  } });
  return h("li", { "data-item": line.item.item_id },
    h("span", { class: "line-name" }, line.item.name), quantity, h("span", { class: "line-price" }),
    h("button", { type: "button", class: "quiet", "aria-label": `Remove ${line.item.name}`, onclick: () => {
      lines = lines.filter((other) => other !== line);
      showLines();
      byId("place").focus();
    } }, "×"),
    h("span", { class: "line-sum" }), h("span", { class: "problem" }));
}

function updateLine(row, line) {
  const quantity = row.querySelector("input");
  if (document.activeElement !== quantity) quantity.value = line.quantity;
  const known = line.currency !== undefined;
  say(row.querySelector(".line-price"), known ? `× ${price(line.price, line.currency)}` : "…");
  say(row.querySelector(".line-sum"), known ? price(line.quantity * line.price, line.currency) : "");
  say(row.querySelector(".problem"), line.problem ? `${line.item.name} ${line.problem}` : "");
}

const total = () => lines.reduce((sum, line) => sum + line.quantity * (line.price ?? 0), 0);

// The order ----------------------------------------------------------------------------------------------------------

byId("new-order").addEventListener("click", () => {
  say(byId("new-order-problem"), "");
  showLines();
  dialog.showModal();
  offer(0);
  Promise.all(lines.map(readPrice)).then(showLines);
});
byId("new-order-close").addEventListener("click", () => dialog.close());
byId("more-offers").addEventListener("click", () => next !== null && offer(next));
form.addEventListener("input", () => (key = newKey()));
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  byId("place").disabled = true;
  say(byId("new-order-problem"), "");
  try {
    const placed = await place();
    lines = [];
    dialog.close();
    announce("The order is placed");
    location.hash = `#/orders/${placed.order_id}`;
  } catch (problem) {
    say(byId("new-order-problem"), (await otherPrices()) ?? problem.message);
  } finally {
    byId("place").disabled = false;
  }
});

/** Sends the order at the prices that are shown: at others it is refused, and nobody pays what nobody has seen. */
function place() {
  if (lines.length === 0) throw new Error("Choose an item first");
  const unpriced = lines.find((line) => line.currency === undefined);
  if (unpriced) throw new Error(`${unpriced.item.name} has no price yet`);
  const data = new FormData(form);
  const order = {
    customer_id: data.get("customer_id").trim(), address: data.get("address"),
    lines: lines.map((line) => ({ item_id: line.item.item_id, quantity: line.quantity, unit_price: line.price })),
    total: total(), currency: lines[0].currency, payment: data.get("payment"), approval: data.get("approval"),
  };
  return command("/api/orders", order, { "idempotency-key": key });
}

/** Reads the prices again, and says in words which are not those that were shown; `null` if all are. */
async function otherPrices() {
  const shown = lines.map((line) => line.price !== undefined && price(line.price, line.currency));
  const differ = await Promise.all(lines.map(readPrice));
  const words = lines.flatMap((line, n) => (differ[n] ? [`${line.item.name} costs ${price(line.price, line.currency)} by now, not ${shown[n]}`] : []));
  if (words.length === 0) return null;
  showLines();
  return `${words.join("; ")}. Look at the total, and place the order again if it suits you.`;
}
