// One order's story: who said what because of what, how long after, and how it is stored.

import { announce, byId, command, h, keyed, longSpan, money, name, s, say, span, step, who } from "./page.js";

const panel = byId("story");
const dialog = byId("cancel-dialog");
let services = ["order", "payment", "inventory", "delivery"];
let listeners = [];
let shown = null;
let parts = null;
let cancelling = null;

export function setServices(names) {
  services = names;
}

export function setListeners(known) {
  listeners = known;
}

/** Shows the panel for an order, empty until its story comes. */
export function openStory(orderId) {
  shown = { id: orderId, story: null };
  parts = {
    title: h("h2", { id: "story-title", tabindex: "-1" }, h("span", { class: "unseen" }, "Order "), h("code", {}, orderId)),
    badge: h("p", { class: "badge", "data-badge": "" }),
    facts: h("dl", { class: "facts" }),
    actions: h("div", { class: "actions" }),
    problem: h("p", { class: "problem", role: "alert" }),
    lanes: h("div", { class: "lanes", "aria-hidden": "true" }),
    letters: h("ul", { class: "parked" }),
    events: h("ol", { class: "timeline" }),
    next: h("p", { class: "next" }),
  };
  panel.replaceChildren(
    h("p", {}, h("a", { class: "back", href: "#/" }, "← all orders")),
    h("div", { class: "card-head" }, parts.title, parts.badge),
    parts.facts, parts.actions, parts.problem, parts.letters, parts.lanes, parts.events, parts.next);
  say(parts.next, "reading");
  panel.hidden = false;
}

export function closeStory() {
  shown = null;
  panel.hidden = true;
  panel.replaceChildren();
}

export function failStory(problem) {
  if (shown && !shown.story) say(parts.next, problem);
}

/** Shows what is known now; `null` if nobody has said anything about it. */
export function tellStory(story) {
  if (!shown) return;
  if (!story) {
    say(parts.next, "Nobody has said anything about such an order.");
    return;
  }
  if (story.order_id !== shown.id) return;
  shown.story = story;
  facts(story);
  actions(story);
  say(parts.badge, step(story.step));
  parts.badge.dataset.badge = story.step;
  parts.lanes.replaceChildren(h("span", {}, "you"), ...services.map((name) => h("span", { "data-service": name }, name)));
  keyed(parts.letters, story.dead_letters, (letter) => letter.id, drawLetter, () => {});
  keyed(parts.events, story.events, (told) => `${told.service}/${told.id}`, drawEvent, () => {});
  tick();
}

/** Shows how long it has been waiting; called every second. */
export function tick(now = Date.now()) {
  const story = shown?.story;
  if (!story) return;
  const last = story.events.at(-1)?.at ?? now;
  const late = !story.over && story.due !== null && now > story.due;
  panel.classList.toggle("stuck", late);
  if (story.over) {
    say(parts.next, `${step(story.step)[0].toUpperCase()}${step(story.step).slice(1)} after ${span(story.took)}.`);
  } else if (story.waits_for === "customer") {
    const left = story.due - now;
    say(parts.next, left > 0
      ? `Waits for the customer to confirm the payment, for another ${longSpan(left)} at most.`
      : "The deadline has passed, and the broker has not said so.");
  } else {
    const name = who(story.waits_for);
    const listener = listeners.find((known) => known.service === story.waits_for);
    const backlog = late && listener?.behind > 0 ? ` Not handled by ${name} yet: ${listener.behind.toLocaleString("en")}.` : "";
    say(parts.next, late
      ? `Stuck: has waited ${longSpan(now - last)} for ${name}, which should answer within ${longSpan(story.patience)}.${backlog}`
      : `Waits for ${name}, for ${longSpan(now - last)} so far.`);
  }
}

function facts(story) {
  const order = story.order;
  if (!order || parts.facts.childElementCount > 0) return;
  const lines = order.lines.map((line) => `${line.quantity} × ${line.item_id}`).join(", ");
  const rows = [
    ["Customer", order.customer_id],
    ["Total", money(order.total, order.currency, story.digits)],
    ["Lines", lines],
    ["To", order.address],
    ["Payment", order.payment === "auto" ? "charged at once" : "when the customer confirms"],
    ["Approval", order.approval === "auto" ? "nobody has to" : "by the shop owner"],
  ];
  parts.facts.replaceChildren(...rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

const ACTIONS = {
  "confirm-payment": ["Confirm the payment", "primary", "The payment is confirmed"],
  "approve-order": ["Approve the order", "primary", "The order is approved"],
  "cancel-payment": ["Cancel the payment", "", "The payment is cancelled"],
  "cancel-order": ["Cancel the order", "danger", "The order is being cancelled"],
  "confirm-delivery": ["Confirm the delivery", "primary", "The order is delivered"],
  "fail-delivery": ["Report a failed delivery", "danger", "The delivery has failed"],
};

function actions(story) {
  keyed(parts.actions, story.actions, (action) => action, (action) => {
    const [text, look] = ACTIONS[action];
    return h("button", { type: "button", class: look, "data-action": action, onclick: () => begin(story.order_id, action) }, text);
  }, () => {});
}

/** What undoes something asks for a reason first. */
function begin(orderId, action) {
  if (action.startsWith("confirm") || action.startsWith("approve")) return act(orderId, action, {});
  cancelling = { orderId, action };
  byId("cancel-form").reset();
  say(byId("cancel-title"), `${ACTIONS[action][0]}?`);
  say(byId("cancel-do"), ACTIONS[action][0]);
  dialog.showModal();
}

byId("cancel-close").addEventListener("click", () => dialog.close());
byId("cancel-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const reason = new FormData(event.target).get("reason").trim();
  dialog.close();
  act(cancelling.orderId, cancelling.action, reason ? { reason } : {});
});

async function act(orderId, action, body) {
  const buttons = [...parts.actions.children];
  const here = parts;
  for (const button of buttons) button.disabled = true;
  say(here.problem, "");
  try {
    await command(`/api/orders/${encodeURIComponent(orderId)}/${action}`, body);
    announce(ACTIONS[action][2]);
    here.title.focus({ preventScroll: true });
  } catch (problem) {
    say(here.problem, problem.message);
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

function drawEvent(told) {
  const via = told.cause.startsWith("http/") ? `${told.cause.slice(5)} over HTTP` : told.cause;
  const delay = told.delay === null ? "" : `+${span(told.delay)}`;
  const why = told.cause_service ? ["because of ", h("code", {}, told.cause.slice(0, told.cause.lastIndexOf(".")))] : [via];
  return h("li", { "data-event": told.event, "data-service": told.service },
    drawLane(told),
    h("div", { class: "told" },
      h("p", { class: "what" }, h("b", {}, name(told.event)),
        delay && h("span", { class: told.delay >= 1_000 ? "delay long" : "delay" }, delay)),
      h("p", { class: "why" }, h("span", { class: "unseen" }, `said by ${told.service}, `), ...why),
      told.reason && h("p", { class: "reason" }, told.reason),
      told.entry && drawEntry(told)));
}

/** Where it came from and who said it. */
function drawLane(told) {
  const width = 100 / (services.length + 1);
  const place = (service) => (services.indexOf(service) + 1.5) * width;
  const to = place(told.service);
  const from = told.cause_service ? place(told.cause_service) : 0.5 * width;
  const lines = services.map((service) =>
    s("line", { x1: `${place(service)}%`, x2: `${place(service)}%`, y1: 0, y2: "100%", class: "lifeline" }));
  const far = Math.abs(to - from) > 1;
  return h("div", { class: "lane", "aria-hidden": "true" }, s("svg", {}, lines,
    far && s("line", { x1: `${from}%`, x2: `${to}%`, y1: 16, y2: 16, class: "wire" }),
    far && s("svg", { x: `${from}%`, y: 16, overflow: "visible" }, s("circle", { r: 2.5, class: "mouth" })),
    s("svg", { x: `${to}%`, y: 16, overflow: "visible" }, s("circle", { r: 6, class: "dot" }))));
}

function drawEntry(told) {
  const entry = told.entry;
  const headers = Object.entries(entry.headers).sort().map(([name, value]) => `${name}: ${value}`).join("\n");
  const body = typeof entry.body === "string" ? entry.body : JSON.stringify(entry.body, null, 2);
  return h("details", {},
    h("summary", {}, h("code", {}, entry.subject.slice(0, entry.subject.lastIndexOf("."))), ` at ${entry.sequence.toLocaleString("en")}`),
    h("p", { class: "at" }, new Date(told.at).toISOString()),
    h("pre", { tabindex: "0", "aria-label": "Headers and body of the entry" }, `${entry.subject}\n\n${headers}\n\n${body}`));
}

/** A dead letter, here and in the list of all. */
export function drawLetter(letter) {
  return h("li", { class: "letter", "data-letter": letter.id },
    h("p", {}, h("b", {}, `${letter.service} could not handle `), h("code", {}, letter.subject.split(".").slice(1, 3).join("."))),
    h("p", { class: "reason" }, letter.reason),
    h("p", { class: "why" }, `parked after ${letter.attempts} ${letter.attempts === 1 ? "attempt" : "attempts"}; `,
      h("code", {}, `deploy/just retry ${letter.id}`)));
}
