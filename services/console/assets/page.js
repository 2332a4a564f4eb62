// What every part of the page uses: elements without markup strings, words for steps and spans of time.

const SVG = "http://www.w3.org/2000/svg";

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** An HTML element. Children are elements or text; text is never read as markup. */
export const h = (tag, attributes = {}, ...children) => build(document.createElement(tag), attributes, children);

/** An SVG element. */
export const s = (tag, attributes = {}, ...children) => build(document.createElementNS(SVG, tag), attributes, children);

export const byId = (id) => document.getElementById(id);

/** Sets the text of an element if it differs, so that nothing is laid out, selected or announced anew. */
export function say(element, text) {
  if (element.textContent !== String(text)) element.textContent = text;
}

/** Makes the children of `list` those of `items`, one element per key; what stays is the same element, with its focus. */
export function keyed(list, items, keyOf, make, update) {
  const known = list.known ?? (list.known = new Map());
  const focused = document.activeElement;
  const wanted = items.map((item) => {
    const key = keyOf(item);
    let element = known.get(key);
    if (!element) known.set(key, (element = make(item)));
    update(element, item);
    return [key, element];
  });
  const keys = new Set(wanted.map(([key]) => key));
  for (const [key, element] of known) {
    if (!keys.has(key)) {
      known.delete(key);
      element.remove();
    }
  }
  wanted.forEach(([, element], place) => {
    if (list.children[place] !== element) list.insertBefore(element, list.children[place] ?? null);
  });
  if (focused && focused !== document.activeElement && list.contains(focused)) focused.focus({ preventScroll: true });
}

/** A span of time, short: `12 ms`, `1.4 s`, `3 min`. */
export function span(ms) {
  if (ms < 0) ms = 0;
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 9_950) return `${(ms / 1_000).toFixed(1)} s`;
  return longSpan(ms);
}

/** A span of time as it passes: whole seconds, so that it does not flicker. */
export function longSpan(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

const formats = new Map();

/** Minor units of a currency as people write them. */
export function money(amount, currency, digits) {
  let format = formats.get(currency);
  if (!format) {
    format = new Intl.NumberFormat("en", { style: "currency", currency, minimumFractionDigits: digits, maximumFractionDigits: digits });
    formats.set(currency, format);
  }
  return format.format(amount / 10 ** digits);
}

/** A name that may be broken where its words end. */
export const name = (text) => text.split(/(?<=[.-])/).flatMap((word, place) => (place ? [document.createElement("wbr"), word] : [word]));

/** The end of an id: what tells two of them apart, as they begin with the time. */
export const shortId = (id) => (id.length > 12 ? `…${id.slice(-8)}` : id);

const STEPS = {
  created: "placed",
  opened: "to be paid",
  charged: "paid",
  reserved: "reserved",
  ready: "paid and reserved",
  "awaiting-approval": "to be approved",
  confirmed: "confirmed",
  assigned: "courier assigned",
  cancelling: "being cancelled",
  settled: "money settled",
  undoing: "being undone",
  completed: "completed",
  "handed-over": "handed over",
  delivered: "delivered",
  cancelled: "cancelled",
};

/** A step in words. */
export const step = (name) => STEPS[name] ?? name;

/** What a service does not do, with its words. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** What a command or a search was answered; throws what the service has to say. */
export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Refusal(0, "the console does not answer");
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refusal(answer.status, body.detail ?? `the answer was ${answer.status}`);
  return body;
}

/** Sends a command. */
export const command = (path, body, headers = {}, method = "POST") =>
  ask(path, { method, headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) });

/** How many digits each currency has after the point, by its code; read once. */
let digits = null;

/** Reads the currencies, if they are not read yet. */
export async function readCurrencies() {
  digits ??= new Map((await ask("/api/currencies")).map((currency) => [currency.code, currency.digits]));
  return [...digits.keys()];
}

/** Minor units of a currency as people write them, once the currencies are read. */
export const price = (amount, currency) => money(amount, currency, digits.get(currency) ?? 0);

/** Minor units as they are typed: 250 is `2.50`. */
export function typed(amount, currency) {
  const places = digits.get(currency) ?? 0;
  const text = String(amount).padStart(places + 1, "0");
  return places === 0 ? text : `${text.slice(0, -places)}.${text.slice(-places)}`;
}

/** The minor units that were typed, exact; `null` if it is no amount of this currency. */
export function minorUnits(text, currency) {
  const places = digits.get(currency) ?? 0;
  const found = /^(\d+)(?:[.,](\d+))?$/.exec(text.trim());
  if (!found || (found[2] ?? "").length > places) return null;
  const amount = Number(found[1] + (found[2] ?? "").padEnd(places, "0"));
  return Number.isSafeInteger(amount) ? amount : null;
}

/** The photo of an item, or an empty frame of the same size. */
export const photo = (item, size) => (item.photo
  ? h("img", { class: "photo", src: `/api/photos/${item.photo.digest}`, alt: "", width: size, height: size, loading: "lazy" })
  : h("span", { class: "photo none", "aria-hidden": "true" }, item.name.slice(0, 1)));

/** Calls `act` for what happens by itself: one call at a time and at most one a second, however often it is asked for. */
export function atLeisure(act) {
  const PAUSE = 1_000;
  let isRunning = false;
  let isWanted = false;
  return async () => {
    isWanted = true;
    if (isRunning) return;
    isRunning = true;
    while (isWanted) {
      isWanted = false;
      await act();
      await new Promise((done) => setTimeout(done, PAUSE));
    }
    isRunning = false;
  };
}

/** Tells those who do not see the page. */
export function announce(text) {
  byId("said").textContent = text;
}

export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Who is waited for: people have an article, services a name. */
export const who = (name) => (name === "customer" || name === "shop owner" ? `the ${name}` : name);
