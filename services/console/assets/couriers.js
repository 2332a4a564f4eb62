// The couriers: how much each can carry, and which orders each carries.

import { announce, ask, atLeisure, byId, command, h, keyed, say, shortId } from "./page.js";

const form = byId("new-courier");
let isShown = false;
/** Whether the couriers could not be read: then that is the problem that is shown. */
let isUnread = false;

export function openCouriers() {
  isShown = true;
  refresh();
}

export function closeCouriers() {
  isShown = false;
}

/** Shows what has changed, if the couriers are shown. */
export const couriersChanged = atLeisure(() => isShown && refresh());

async function refresh() {
  try {
    const { couriers } = await ask("/api/couriers");
    if (isUnread) say(byId("couriers-problem"), "");
    isUnread = false;
    keyed(byId("courier-list"), couriers, (courier) => courier.courier_id, makeCourier, updateCourier);
    say(byId("courier-note"), couriers.length > 0 ? "" : "No courier has reported a capacity yet.");
    await Promise.all([...byId("courier-list").children].filter((row) => row.querySelector("details").open).map(showOrders));
  } catch (problem) {
    isUnread = true;
    say(byId("couriers-problem"), problem.message);
  }
}

function makeCourier({ courier_id: id }) {
  const capacity = h("input", { name: "capacity", type: "number", min: 0, max: Number.MAX_SAFE_INTEGER, required: true, "aria-label": `Capacity of ${id}` });
  const row = h("li", { class: "courier", "data-courier": id },
    h("p", { class: "who" }, id),
    h("p", { class: "load" }, h("meter", { min: 0, "aria-hidden": "true" }), " ", h("span", { class: "load-text" })),
    h("form", { class: "capacity", onsubmit: (event) => {
      event.preventDefault();
      setCapacity(row, id, Number(capacity.value));
    } }, capacity, h("button", { type: "submit", "aria-label": `Set the capacity of ${id}` }, "Set")),
    h("details", { ontoggle: () => row.querySelector("details").open && showOrders(row) },
      h("summary", {}, "Carries"), h("p", { class: "note" }), h("ul", { class: "carried" })),
    h("p", { class: "problem", role: "alert" }));
  return row;
}

function updateCourier(row, { capacity, load }) {
  const meter = row.querySelector("meter");
  meter.max = Math.max(capacity, 1);
  meter.value = load;
  say(row.querySelector(".load-text"), `${load.toLocaleString("en")} of ${capacity.toLocaleString("en")}`);
  // What somebody is typing stays.
  const input = row.querySelector("input");
  if (row.capacity === undefined || (document.activeElement !== input && input.value === String(row.capacity))) input.value = capacity;
  row.capacity = capacity;
}

/** The orders that are on the way with a courier. */
async function showOrders(row) {
  const note = row.querySelector("details .note");
  try {
    const { orders, load } = await ask(`/api/couriers/${row.dataset.courier}`);
    keyed(row.querySelector(".carried"), orders, (id) => id, (id) =>
      h("li", { "data-order": id }, h("a", { href: `#/orders/${id}`, title: id }, h("code", {}, shortId(id)))), () => {});
    const others = load - orders.length;
    say(note, load === 0 ? "Nothing." : others > 0 ? `${others.toLocaleString("en")} more, which are not listed.` : "");
  } catch (problem) {
    say(note, problem.message);
  }
}

async function setCapacity(row, id, capacity) {
  const problem = row.querySelector(".problem");
  say(problem, "");
  try {
    const courier = await command(`/api/couriers/${encodeURIComponent(id)}`, { capacity }, {}, "PUT");
    row.querySelector("input").value = courier.capacity;
    updateCourier(row, courier);
    announce(`The capacity of ${id} is ${courier.capacity}`);
  } catch (refusal) {
    say(problem, refusal.message);
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const data = new FormData(form);
  const id = data.get("courier_id").trim();
  say(byId("couriers-problem"), "");
  try {
    await command(`/api/couriers/${encodeURIComponent(id)}`, { capacity: Number(data.get("capacity")) }, {}, "PUT");
    form.reset();
    announce(`${id} can carry orders`);
    refresh();
  } catch (problem) {
    say(byId("couriers-problem"), problem.message);
  }
});
