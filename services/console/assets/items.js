// The items of the shop: what there is at which price, and how much of it is reserved; listed, changed and withdrawn.

import { announce, ask, atLeisure, byId, command, h, keyed, minorUnits, photo, price, readCurrencies, say, typed } from "./page.js";

/** How many items a page shows. */
const PAGE = 20;

const STATUS = { available: "available", reserved: "all reserved", sold: "sold out", withdrawn: "withdrawn" };

const filter = byId("item-filter");
const dialog = byId("item-dialog");
const form = byId("item-form");
const withdrawal = byId("withdraw-dialog");
let isShown = false;
/** The cursors of the pages from the first to the one that is shown, and that of the next one, if there is one. */
let cursors = [0];
let next = null;
/** The item that is edited, as it was read; `null` for a new one. */
let edited = null;
let withdrawn = null;

export function openItems() {
  isShown = true;
  refresh();
}

export function closeItems() {
  isShown = false;
}

/** Shows what somebody else has changed, if the items are shown. */
export const itemsChanged = atLeisure(() => isShown && refresh());

// The list -----------------------------------------------------------------------------------------------------------

/** How often the list was asked for: only the last answer is shown. */
let asked = 0;

async function refresh() {
  const turn = ++asked;
  const query = new URLSearchParams({ limit: PAGE, cursor: cursors.at(-1) });
  for (const [name, value] of new FormData(filter)) if (value.trim()) query.set(name, value.trim());
  try {
    await readCurrencies();
    const page = await ask(`/api/items?${query}`);
    if (turn !== asked) return;
    say(byId("items-problem"), "");
    show(page);
  } catch (problem) {
    if (turn === asked) say(byId("items-problem"), problem.message);
  }
}

function show(page) {
  next = page.next ?? null;
  keyed(byId("item-list"), page.items, (item) => item.item_id, makeItem, updateItem);
  byId("items-back").disabled = cursors.length === 1;
  byId("items-on").disabled = next === null;
  byId("items-back").parentElement.hidden = cursors.length === 1 && next === null;
  const isFiltered = [...new FormData(filter).values()].some((value) => value.trim());
  const none = isFiltered ? "No such item" : "The shop has no items yet";
  say(byId("item-note"), page.items.length > 0 ? "" : next === null ? `${none}.` : `${none} among these; the next page may have some.`);
}

function makeItem(item) {
  return h("li", { class: "good", "data-item": item.item_id },
    h("div", { class: "picture" }),
    h("div", { class: "about" },
      h("p", { class: "what" }, h("b", { class: "good-name" }), h("span", { class: "good-price" })),
      h("p", {}, h("code", { class: "id" }, item.item_id), " ", h("span", { class: "badge" })),
      h("p", { class: "good-text" }),
      h("p", { class: "stock" }, h("b", { "data-stock": "available" }), " available, ", h("b", { "data-stock": "reserved" }),
        " reserved, ", h("b", { "data-stock": "quantity" }), " all told"),
      h("p", { class: "tags" }),
      h("div", { class: "actions" })));
}

function updateItem(element, item) {
  const find = (name) => element.querySelector(name);
  const digest = item.photo?.digest ?? "";
  if (element.dataset.photo !== digest) find(".picture").replaceChildren(photo(item, 96));
  element.dataset.photo = digest;
  element.dataset.status = item.status;
  say(find(".good-name"), item.name);
  say(find(".good-price"), price(item.price, item.currency));
  say(find(".good-text"), item.description);
  const badge = find(".badge");
  badge.dataset.badge = item.status;
  say(badge, STATUS[item.status] ?? item.status);
  for (const count of element.querySelectorAll("[data-stock]")) say(count, item[count.dataset.stock].toLocaleString("en"));
  keyed(find(".tags"), item.tags, (tag) => tag, (tag) =>
    h("button", { type: "button", class: "chip", "aria-label": `Show only ${tag}`, onclick: () => showTag(tag) }, tag), () => {});
  const buttons = item.status === "withdrawn" ? [] : [["Edit", "", edit], ["Withdraw", "danger", withdraw]];
  keyed(find(".actions"), buttons, ([text]) => text, ([text, look, act]) =>
    h("button", { type: "button", class: look, onclick: () => act(element.item) }, text), (button, [text]) =>
    button.setAttribute("aria-label", `${text} ${item.name}`));
  element.item = item;
}

function showTag(tag) {
  filter.elements.tag.value = tag;
  fromTheStart();
}

function fromTheStart() {
  cursors = [0];
  refresh();
}

filter.addEventListener("submit", (event) => {
  event.preventDefault();
  fromTheStart();
});
filter.elements.status.addEventListener("change", fromTheStart);
byId("items-on").addEventListener("click", () => {
  if (next === null) return;
  cursors.push(next);
  next = null;
  refresh();
});
byId("items-back").addEventListener("click", () => {
  if (cursors.length > 1) cursors.pop();
  refresh();
});

// A new item, or another version of one --------------------------------------------------------------------------------

async function fill(item) {
  edited = item;
  say(byId("item-problem"), "");
  byId("item-again").hidden = true;
  say(byId("item-title"), item ? `Edit ${item.name}` : "New item");
  byId("item-id-field").hidden = item !== null;
  form.elements.item_id.disabled = item !== null;
  form.reset();
  byId("item-photo").replaceChildren(...(item?.photo ? [photo(item, 96)] : []));
  byId("item-bare").hidden = !item?.photo;
  const codes = await readCurrencies();
  const select = form.elements.currency;
  if (select.options.length === 0) select.append(h("option", { value: "" }, "–"), ...codes.map((code) => h("option", {}, code)));
  if (!item) {
    // A shop has one currency as a rule: that of the items that are shown.
    select.value = byId("item-list").firstElementChild?.item.currency ?? "";
    return;
  }
  for (const name of ["name", "description", "currency", "quantity"]) form.elements[name].value = item[name];
  form.elements.price.value = typed(item.price, item.currency);
  form.elements.tags.value = item.tags.join(" ");
}

async function open(item) {
  try {
    await fill(item);
    if (!dialog.open) dialog.showModal();
  } catch (problem) {
    say(byId("items-problem"), problem.message);
  }
}

/** As it is at this moment: the list may be a second old. */
async function edit({ item_id }) {
  try {
    await open(await ask(`/api/items/${item_id}`));
  } catch (problem) {
    say(byId("items-problem"), problem.message);
  }
}

/** What the form says, as the API takes it. */
function read() {
  const value = (name) => form.elements[name].value;
  const currency = value("currency");
  const amount = minorUnits(value("price"), currency);
  if (amount === null) throw new Error(`${value("price")} is no amount of ${currency}`);
  return {
    name: value("name").trim(), description: value("description").replace(/[\r\n\t]+/g, " ").trim(), price: amount, currency,
    quantity: Number(value("quantity")), tags: value("tags").split(/[\s,]+/).filter((tag) => tag),
  };
}

/** The fields that differ: what somebody else has changed meanwhile, and this form has not, stays. */
const changed = (item, fields) =>
  Object.fromEntries(Object.entries(fields).filter(([name, value]) => JSON.stringify(item[name]) !== JSON.stringify(value)));

byId("new-item").addEventListener("click", () => open(null));
byId("item-close").addEventListener("click", () => dialog.close());
byId("item-again").addEventListener("click", () => edit(edited));
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  byId("item-save").disabled = true;
  say(byId("item-problem"), "");
  try {
    const isNew = edited === null;
    const fields = read();
    const item = await saveFields(fields);
    // What follows may fail; then this is the item that is edited.
    edited = item;
    await savePhoto(item);
    dialog.close();
    announce(isNew ? `${item.name} is listed` : `${item.name} is changed`);
    refresh();
  } catch (problem) {
    say(byId("item-problem"), problem.message);
    byId("item-again").hidden = !(edited && problem.status === 412);
  } finally {
    byId("item-save").disabled = false;
  }
});

/** The version that the form was filled with. */
const ifMatch = (item) => ({ "if-match": `"${item.version}"` });

async function saveFields(fields) {
  if (!edited) return command(`/api/items/${form.elements.item_id.value}`, fields, { "if-none-match": "*" }, "PUT");
  const change = changed(edited, fields);
  if (Object.keys(change).length === 0) return edited;
  return command(`/api/items/${edited.item_id}`, change, ifMatch(edited), "PATCH");
}

async function savePhoto(item) {
  const path = `/api/items/${item.item_id}/photo`;
  const [file] = form.elements.photo.files;
  if (file) await ask(path, { method: "PUT", headers: ifMatch(item), body: file });
  else if (item.photo && form.elements.bare.checked) await ask(path, { method: "DELETE", headers: ifMatch(item) });
}

// An item that is not offered any more ---------------------------------------------------------------------------------

function withdraw(item) {
  withdrawn = item;
  say(byId("withdraw-title"), `Withdraw ${item.name}?`);
  say(byId("withdraw-problem"), "");
  withdrawal.showModal();
}

byId("withdraw-close").addEventListener("click", () => withdrawal.close());
byId("withdraw-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  byId("withdraw-do").disabled = true;
  say(byId("withdraw-problem"), "");
  try {
    await ask(`/api/items/${withdrawn.item_id}`, { method: "DELETE", headers: ifMatch(withdrawn) });
    withdrawal.close();
    announce(`${withdrawn.name} is withdrawn`);
    refresh();
  } catch (problem) {
    say(byId("withdraw-problem"), problem.message);
  } finally {
    byId("withdraw-do").disabled = false;
  }
});
