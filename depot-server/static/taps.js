// @ts-check
// The live tail of taps: newest on top, pausable; what is not shown is counted, never forgotten.

import { count, stream } from "./live.js";

const SHOWN_MAX = 200;
const HELD_MAX = 500;
const TEXT = { pause: "Pause", goOn: "Go on", waiting: "waiting", more: "more in the books" };

const table = /** @type {HTMLElement} */ (document.getElementById("taps"));
const tbody = /** @type {HTMLElement} */ (table.querySelector("tbody"));
const button = /** @type {HTMLButtonElement} */ (document.getElementById("pause"));
const isPast = "past" in table.dataset;

let paused = false;
/** @type {any[]} */
let held = [];
let notHeld = 0;
let newest = Math.max(0, ...[...tbody.children].map((row) => Number(/** @type {HTMLElement} */ (row).dataset.no)));

/** @param {string} name @param {string} className @param {...(Node | string | null)} children */
function element(name, className, ...children) {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** @param {{label: string, icon: string, tone: string}} sign */
function state(sign) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "i");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${sign.icon}`);
  svg.append(use);
  const node = element("span", `st ${sign.tone}`);
  node.append(svg, element("span", "", sign.label));
  return node;
}

/** @param {string} href @param {string} text */
function link(href, text) {
  const a = element("a", "id", text);
  a.setAttribute("href", href);
  return a;
}

/** @param {string | null} text */
function cash(text) {
  if (text === null) return element("span", "nil", "–");
  const [number, currency] = text.split("\u00a0");
  return element("data", "cash", `${number} `, element("abbr", "ccy", currency));
}

/** The same row as the server's template `taplines.html`. @param {any} tap */
function row(tap) {
  const time = element("time", "", tap.time.text);
  time.setAttribute("datetime", tap.time.iso);
  time.title = tap.time.iso;
  const late = tap.late ? element("span", "late", ` +${tap.late}`) : null;
  const reason = tap.reason ? element("span", `why ${tap.reason.tone}`, tap.reason.label) : null;
  const took = element("td", "num wide", `${tap.duration_ms} `, element("span", "unit", "ms"));
  const tr = element(
    "tr",
    "new",
    element("td", "time", time, late),
    element("td", "", element("span", "outcome", state(tap.outcome), reason && " ", reason)),
    element("td", "", link(`/fleet/${tap.validator}`, tap.validator)),
    element("td", "grow", tap.place),
    element("td", "mid", tap.route),
    element("td", "mid", state(tap.role)),
    element("td", "", tap.card ? link(`/cards/${tap.card.handle}`, tap.card.masked) : element("span", "nil", "–")),
    element("td", "num", cash(tap.charged)),
    element("td", "num wide", cash(tap.balance)),
    took,
    element("td", "num wide soft", tap.entry),
  );
  tr.dataset.no = tap.no;
  return tr;
}

/** @param {any[]} taps oldest first */
function show(taps) {
  const fresh = taps.filter((tap) => tap.no > newest).slice(-SHOWN_MAX);
  if (fresh.length === 0) return;
  newest = fresh[fresh.length - 1].no;
  const rows = document.createDocumentFragment();
  for (const tap of fresh) rows.prepend(row(tap));
  tbody.prepend(rows);
  while (tbody.children.length > SHOWN_MAX) tbody.lastElementChild?.remove();
  document.getElementById("none")?.remove();
}

function tellWaiting() {
  const waiting = /** @type {HTMLElement} */ (document.getElementById("waiting"));
  const more = notHeld > 0 ? `, ${count(notHeld)} ${TEXT.more}` : "";
  waiting.textContent = paused && held.length > 0 ? `${count(held.length)} ${TEXT.waiting}${more}` : "";
}

function toggle() {
  paused = !paused;
  button.setAttribute("aria-pressed", String(paused));
  /** @type {HTMLElement} */ (document.getElementById("pause-word")).textContent = paused ? TEXT.goOn : TEXT.pause;
  button.querySelector("use")?.setAttribute("href", paused ? "#i-play" : "#i-pause");
  if (!paused) {
    show(held);
    held = [];
    notHeld = 0;
  }
  tellWaiting();
}

async function catchUp() {
  const answer = await fetch(`/api/v1/taps${table.dataset.query}`, { cache: "no-store" });
  if (answer.ok) take((await answer.json()).rows.reverse(), 0);
}

/** @param {any[]} rows oldest first @param {number} more */
function take(rows, more) {
  if (!paused) return show(rows);
  const last = held.length > 0 ? held[held.length - 1].no : newest;
  held.push(...rows.filter((tap) => tap.no > last));
  notHeld += more + Math.max(0, held.length - HELD_MAX);
  held = held.slice(-HELD_MAX);
  tellWaiting();
}

if (!isPast) {
  button.hidden = false;
  button.addEventListener("click", toggle);
  addEventListener("keydown", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.key === "p" && !event.ctrlKey && !event.metaKey && !target.closest("input, select")) toggle();
  });
  stream.addEventListener("taps", (event) => {
    const { rows, not_named } = /** @type {CustomEvent} */ (event).detail;
    take(rows, not_named);
  });
  stream.addEventListener("resync", () => void catchUp().catch(() => {}));
}
