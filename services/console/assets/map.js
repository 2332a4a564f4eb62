// The map: a column for each service, a row for each event. All places across are percents, so that it fits any width
// with text of one size.

import { byId, calm, s, say } from "./page.js";

const BOX = 46;
const FIRST = 96;
const ROW = 33;
const GAP = 40;

const picture = byId("map-picture");
let rows = [];
let boxes = new Map();
let centre = () => 50;

/** Draws the map anew. */
export function drawMap(map) {
  const width = 100 / map.services.length;
  const column = new Map(map.services.map((service, place) => [service, (place + 0.5) * width]));
  centre = (service) => column.get(service) ?? 50;
  rows = [];
  boxes = new Map();
  const parts = [];
  let y = FIRST;
  const setback = map.events.findIndex((arrow) => arrow.setback);
  const drawn = map.events.map((arrow, place) => {
    if (place === setback) {
      y += GAP;
      parts.push(s("text", { x: 0, y: y - 30, class: "map-part" }, "When something goes wrong"));
    }
    const row = drawRow(arrow, y);
    y += ROW;
    return row;
  });
  parts.unshift(s("text", { x: 0, y: FIRST - 30, class: "map-part" }, "The way to completion"));
  const height = y - ROW + 14;
  const lines = map.services.map((service) =>
    s("line", { x1: `${centre(service)}%`, x2: `${centre(service)}%`, y1: BOX, y2: height, class: "lifeline" }));
  const heads = map.services.map((service) => drawBox(service, width));
  picture.replaceChildren(s("g", { "aria-hidden": "true" }, lines, parts), ...heads, ...drawn);
  picture.setAttribute("height", height);
}

function drawBox(service, width) {
  const x = centre(service);
  const state = s("text", { x: `${x}%`, y: 36, class: "box-state" });
  const box = s("g", { class: "box", "data-service": service, role: "listitem" },
    s("rect", { x: `${x - width * 0.46}%`, y: 1, width: `${width * 0.92}%`, height: BOX - 2, rx: 9 }),
    s("text", { x: `${x}%`, y: 20, class: "box-name" }, service), state);
  boxes.set(service, { box, state });
  return box;
}

function drawRow(arrow, y) {
  const from = centre(arrow.from);
  const count = s("tspan", { class: "count", dx: 5 });
  const others = arrow.to.filter((service) => service !== arrow.from);
  const itself = arrow.to.includes(arrow.from);
  const parts = [];
  const label = { y: y - 6, class: "event-name" };
  if (others.length > 0) {
    const ends = others.map(centre);
    const last = ends.reduce((far, end) => (Math.abs(end - from) > Math.abs(far - from) ? end : far), from);
    parts.push(s("line", { x1: `${from}%`, x2: `${last}%`, y1: y, y2: y, class: "wire" }));
    for (const end of ends) parts.push(head(end, y, end > from));
    label.x = `${(from + last) / 2}%`;
    label["text-anchor"] = "middle";
  } else if (itself) {
    parts.push(s("svg", { x: `${from}%`, y: y - 17, overflow: "visible" },
      s("path", { d: "M0 0 h16 a7 7 0 0 1 0 14 h-9", class: "wire" }), s("path", { d: "M2 14 l8 -4.5 v9 z", class: "head" })));
    edge(label, from, 30);
  } else {
    parts.push(s("svg", { x: `${from}%`, y: y - 10, overflow: "visible" }, s("circle", { r: 4.5, class: "fact" })));
    edge(label, from, 12);
  }
  if (others.length > 0) parts.push(s("svg", { x: `${from}%`, y, overflow: "visible" }, s("circle", { r: 3.5, class: "mouth" })));
  const pulse = others.length > 0 && s("circle", { r: 5, cy: y, class: "pulse" });
  const group = s("g", {
    class: `event${arrow.setback ? " setback" : ""}`, "data-service": arrow.from, "data-event": arrow.event, role: "listitem",
  }, s("title", {}, `${arrow.event}: ${arrow.means}`), parts, pulse, s("text", label, arrow.event, count));
  const heard = arrow.to.length > 0 ? `heard by ${arrow.to.join(" and ")}` : "a fact for the outside";
  rows.push({ arrow, group, count, pulse, heard, ends: others.map(centre), from, said: null });
  return group;
}

/** Text beside a column: to its right, or to its left in the right half. */
function edge(label, x, distance) {
  const left = x > 60;
  label.x = `${x}%`;
  label.dx = left ? -12 : distance;
  label["text-anchor"] = left ? "end" : "start";
}

function head(x, y, right) {
  return s("svg", { x: `${x}%`, y, overflow: "visible" },
    s("path", { d: right ? "M-1 0 l-9 -5 v10 z" : "M1 0 l9 -5 v10 z", class: "head" }));
}

/** Shows how often everything was said; what is new travels along its arrow. */
export function countMap(overview) {
  for (const row of rows) {
    const said = overview.said[row.arrow.place] ?? 0;
    if (row.said === said) continue;
    const isNew = row.said !== null && said > row.said;
    row.said = said;
    say(row.count, said.toLocaleString("en"));
    row.group.classList.toggle("never", said === 0);
    row.group.setAttribute("aria-label", `${row.arrow.event}, said by ${row.arrow.from} ${said} times, ${row.heard}`);
    if (isNew) travel(row);
  }
  for (const [service, { box, state }] of boxes) {
    const listener = overview.listeners.find((known) => known.service === service);
    // One look may fall between two pulls; two in a row mean that nobody is there.
    box.missed = listener && !listener.listening ? (box.missed ?? 0) + 1 : 0;
    const gone = !listener || box.missed > 2;
    const behind = listener?.behind ?? 0;
    const stuck = overview.stuck_at[service] ?? 0;
    box.classList.toggle("gone", gone);
    box.classList.toggle("late", stuck > 0);
    box.classList.toggle("behind", behind > 0);
    const words = [];
    if (gone) words.push(listener ? "away" : "not seen yet");
    if (stuck > 0) words.push(`${stuck.toLocaleString("en")} stuck`);
    else if (behind > 0) words.push(`${behind.toLocaleString("en")} waiting`);
    say(state, words.join(", ") || "listening");
    box.setAttribute("aria-label", `${service}: ${state.textContent}`);
  }
}

function travel(row) {
  if (!row.pulse || calm() || row.moving) return;
  const width = picture.clientWidth / 100;
  const last = row.ends.reduce((far, end) => (Math.abs(end - row.from) > Math.abs(far - row.from) ? end : far), row.from);
  row.moving = row.pulse.animate([
    { transform: `translateX(${row.from * width}px)`, opacity: 1 },
    { transform: `translateX(${last * width}px)`, opacity: 1, offset: 0.9 },
    { transform: `translateX(${last * width}px)`, opacity: 0 },
  ], { duration: 700, easing: "ease-in-out" });
  row.moving.finished.catch(() => {}).finally(() => (row.moving = null));
}
