// @ts-check
// The live fleet: ten thousand rows in memory, at most eighty in the page.
//
// The rows come once by columns and are kept up by events. Filter, order and address say exactly
// what the server's paged table says; without script that table is what stays.

import { count, now, span, stream } from "./live.js";

const POOL_MAX = 80;
const SPARE = 6;
const ROW_PX = 36;
const ROW_NARROW_PX = 96;
const RESORT_MS = 1000;
const FIELDS = ["q", "link", "drain", "service", "role", "route", "flaw", "order"];
const TEXT = {
  none: "No validator matches.",
  heads: [
    ["id", "Validator", "id"], ["place", "Place", "place"], ["route", "Route", ""],
    ["role", "Role", ""], ["link", "Link", ""], ["drain", "Drain", "unsent"],
    ["service", "Service", ""], ["last", "Last tap", "last-tap"], ["p95", "p95", "p95"],
    ["tariff", "Tariff", ""], ["clock", "Clock", ""], ["software", "Software", ""],
  ],
};

/** @typedef {Record<string, any>} Row */

const form = /** @type {HTMLFormElement} */ (document.getElementById("filters"));
const grid = /** @type {HTMLElement} */ (document.getElementById("grid"));
const shown = /** @type {HTMLElement} */ (document.getElementById("shown"));
const narrow = matchMedia("(max-width: 760px)");

/** @type {Map<string, Row>} */
const rows = new Map();
/** @type {Row[]} */
let view = [];
/** @type {string[]} */
let order = [];
/** @type {any} */
let signs = {};
let clockOffMs = 0;
let newestTariff = 0;
let active = "";
let sortedAt = 0;
let changed = false;
/** @type {any[][] | null} */
let early = [];

// --- Data ---------------------------------------------------------------------------------------

async function load() {
  const answer = await fetch("/api/v1/fleet/snapshot", { cache: "no-store" });
  if (!answer.ok) throw new Error(`snapshot: ${answer.status}`);
  const snapshot = await answer.json();
  ({ order, signs } = snapshot);
  clockOffMs = snapshot.clock_off_ms;
  const columns = order.map((name) => snapshot.columns[name]);
  rows.clear();
  for (let i = 0; i < snapshot.rows; i += 1) {
    take(columns.map((column) => unpack(column, i, snapshot.now_s)));
  }
  for (const row of early ?? []) take(row);
  early = null;
}

/** @param {any} column @param {number} i @param {number} nowS */
function unpack(column, i, nowS) {
  if (column.ages) return column.ages[i] === null ? null : nowS - column.ages[i];
  if (column.texts) return column.index[i] === null ? null : column.texts[column.index[i]];
  return column.values[i];
}

/** @param {any[]} values in the order of the columns; times are seconds since 1970 */
function take(values) {
  const row = /** @type {Row} */ (Object.fromEntries(order.map((name, i) => [name, values[i]])));
  row.text = `${row.id} ${row.place} ${row.route} ${row.software} ${row.reason}`.toLowerCase();
  row.rank = Math.min(signs.link[row.link].rank, signs.drain[row.drain].rank, signs.service[row.service].rank);
  if (row.tariff > newestTariff) newestTariff = row.tariff;
  rows.set(row.id, row);
}

/** @type {Record<string, (a: Row, b: Row) => number>} */
const ORDERS = {
  worst: (a, b) => a.rank - b.rank,
  id: () => 0,
  place: (a, b) => (a.place < b.place ? -1 : Number(a.place > b.place)),
  unsent: (a, b) => b.unsent - a.unsent,
  "last-tap": (a, b) => (a.last_tap ?? 0) - (b.last_tap ?? 0),
  p95: (a, b) => (b.p95 ?? -1) - (a.p95 ?? -1),
};

function settings() {
  const data = new FormData(form);
  return Object.fromEntries(FIELDS.map((name) => [name, String(data.get(name) ?? "").trim()]));
}

/** Filters and orders anew; the row that has the focus keeps it. */
function arrange() {
  const want = settings();
  const words = want.q.toLowerCase().split(/\s+/).filter(Boolean);
  view = [];
  for (const row of rows.values()) {
    if (want.link && row.link !== want.link) continue;
    if (want.drain && row.drain !== want.drain) continue;
    if (want.service && row.service !== want.service) continue;
    if (want.role && row.role !== want.role) continue;
    if (want.route && String(row.route_ix) !== want.route) continue;
    if (want.flaw === "old-tariff" && !(row.tariff !== null && row.tariff < newestTariff)) continue;
    if (want.flaw === "lists" && !row.behind) continue;
    if (want.flaw === "clock" && !(Math.abs(row.clock ?? 0) > clockOffMs)) continue;
    if (words.length > 0 && !words.every((word) => row.text.includes(word))) continue;
    view.push(row);
  }
  const by = ORDERS[want.order] ?? ORDERS.worst;
  view.sort((a, b) => by(a, b) || (a.id < b.id ? -1 : 1));
  sortedAt = performance.now();
  changed = false;
  shown.textContent = count(view.length);
  const clear = document.getElementById("clear");
  if (clear) clear.hidden = !FIELDS.some((name) => name !== "order" && want[name]);
  spacer.style.height = `${view.length * rowPx()}px`;
  grid.setAttribute("aria-rowcount", String(view.length + 1));
  empty.hidden = view.length > 0;
  for (const head of heads.children) {
    const sorts = /** @type {HTMLElement} */ (head).dataset.order;
    if (sorts) head.setAttribute("aria-sort", sorts === (want.order || "worst") ? "ascending" : "none");
  }
  draw();
}

/** The address says what is shown. */
function address() {
  const want = settings();
  const query = new URLSearchParams();
  for (const name of FIELDS) {
    if (want[name] && !(name === "order" && want[name] === "worst")) query.set(name, want[name]);
  }
  const text = query.toString().replaceAll("+", "%20");
  history.replaceState(null, "", text ? `/fleet?${text}` : "/fleet");
}

// --- Drawing ------------------------------------------------------------------------------------

const rowPx = () => (narrow.matches ? ROW_NARROW_PX : ROW_PX);
const heads = document.createElement("div");
const spacer = document.createElement("div");
const empty = document.createElement("p");
/** @type {HTMLElement[]} */
const pool = [];
let drawing = 0;

function build() {
  heads.className = "vhead vrow";
  heads.setAttribute("role", "row");
  heads.setAttribute("aria-rowindex", "1");
  for (const [name, label, sorts] of TEXT.heads) {
    const head = document.createElement("div");
    head.className = `c c-${name}`;
    head.setAttribute("role", "columnheader");
    if (sorts) {
      head.dataset.order = sorts;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = label;
      button.addEventListener("click", () => {
        /** @type {HTMLSelectElement} */ (form.elements.namedItem("order")).value = sorts;
        filterChanged();
      });
      head.append(button);
    } else {
      head.textContent = label;
    }
    heads.append(head);
  }
  spacer.className = "vspace";
  spacer.setAttribute("role", "rowgroup");
  empty.className = "empty";
  empty.textContent = TEXT.none;
  empty.hidden = true;
  grid.setAttribute("aria-colcount", String(TEXT.heads.length));
  grid.append(heads, spacer, empty);
}

function node() {
  const div = document.createElement("div");
  div.className = "vrow";
  div.setAttribute("role", "row");
  div.tabIndex = -1;
  for (const [name] of TEXT.heads) {
    const cell = document.createElement("div");
    cell.className = `c c-${name}`;
    cell.setAttribute("role", "gridcell");
    if (name === "id") {
      const link = document.createElement("a");
      link.className = "id";
      link.tabIndex = -1;
      cell.append(link);
    } else if (["link", "drain", "service", "role"].includes(name)) {
      const sign = document.createElement("span");
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      svg.setAttribute("class", "i");
      svg.setAttribute("aria-hidden", "true");
      svg.append(document.createElementNS("http://www.w3.org/2000/svg", "use"));
      sign.append(svg, document.createElement("span"));
      const more = document.createElement("span");
      more.className = "more-text";
      cell.append(sign, more);
    }
    div.append(cell);
  }
  spacer.append(div);
  return div;
}

/** Writes only what differs: most cells of most rows stay as they are. */
function set(/** @type {Node} */ target, /** @type {string} */ text) {
  if (target.textContent !== text) target.textContent = text;
}

/** @param {Element} cell @param {any} sign @param {string} more */
function setSign(cell, sign, more) {
  const [mark, extra] = cell.children;
  const className = sign ? `st ${sign.tone}` : "st";
  if (mark.className !== className) mark.className = className;
  const use = /** @type {Element} */ (mark.firstElementChild?.firstElementChild);
  const href = sign ? `#i-${sign.icon}` : "";
  if (use.getAttribute("href") !== href) use.setAttribute("href", href);
  set(/** @type {Element} */ (mark.lastElementChild), sign?.label ?? "");
  set(extra, more);
  if (extra.getAttribute("title") !== more) extra.setAttribute("title", more);
}

/** @param {number | null} ms */
function offset(ms) {
  if (ms === null) return "–";
  const sign = ms < 0 ? "\u2212" : "+";
  const abs = Math.abs(ms);
  return abs < 1000 ? `${sign}${abs} ms` : `${sign}${Math.floor(abs / 1000)} s`;
}

/** @param {HTMLElement} div @param {Row} row @param {number} index @param {number} at */
function fill(div, row, index, at) {
  div.style.transform = `translateY(${index * rowPx()}px)`;
  div.hidden = false;
  div.dataset.id = row.id;
  div.setAttribute("aria-rowindex", String(index + 2));
  div.classList.toggle("at", row.id === active);
  div.tabIndex = row.id === active || (!active && index === 0) ? 0 : -1;
  const cells = div.children;
  const link = /** @type {HTMLAnchorElement} */ (cells[0].firstElementChild);
  set(link, row.id);
  link.href = `/fleet/${row.id}`;
  set(cells[1], row.place);
  set(cells[2], row.route);
  setSign(cells[3], signs.role[row.role], "");
  const calm = signs.link[row.link].tone === "calm";
  setSign(cells[4], signs.link[row.link], calm ? "" : span(at - row.link_since * 1000));
  const waits = row.unsent > 0 ? count(row.unsent) : "";
  const oldest = row.oldest !== null && row.unsent > 0 ? ` \u00b7 ${span(at - row.oldest * 1000)}` : "";
  setSign(cells[5], signs.drain[row.drain], waits + oldest);
  setSign(cells[6], signs.service[row.service], row.reason);
  set(cells[7], row.last_tap === null ? "–" : span(at - row.last_tap * 1000));
  set(cells[8], row.p95 === null ? "–" : `${row.p95} ms`);
  set(cells[9], row.tariff === null ? "–" : String(row.tariff));
  cells[9].classList.toggle("flaw", row.tariff !== null && row.tariff < newestTariff);
  set(cells[10], offset(row.clock));
  cells[10].classList.toggle("flaw", Math.abs(row.clock ?? 0) > clockOffMs);
  set(cells[11], row.software);
}

function draw() {
  if (!drawing) drawing = requestAnimationFrame(drawNow);
}

function drawNow() {
  drawing = 0;
  const px = rowPx();
  const visible = Math.ceil(grid.clientHeight / px) + SPARE;
  const size = Math.min(POOL_MAX, visible);
  while (pool.length < size) pool.push(node());
  const first = Math.max(0, Math.min(Math.floor(grid.scrollTop / px) - SPARE / 2, view.length - size));
  const at = now();
  // A row keeps its node while it is on screen, so that focus and selection stay with it.
  for (let i = first; i < first + pool.length; i += 1) {
    const div = pool[i % pool.length];
    if (i < view.length) fill(div, view[i], i, at);
    else div.hidden = true;
  }
}

// --- What people do -----------------------------------------------------------------------------

let typing = 0;

function filterChanged() {
  address();
  active = "";
  grid.scrollTop = 0;
  arrange();
}

/** @param {number} index */
function moveTo(index) {
  const to = Math.max(0, Math.min(view.length - 1, index));
  if (!view[to]) return;
  active = view[to].id;
  const px = rowPx();
  const top = to * px;
  const head = heads.offsetHeight;
  if (top < grid.scrollTop) grid.scrollTop = top;
  else if (top + px + head > grid.scrollTop + grid.clientHeight) {
    grid.scrollTop = top + px + head - grid.clientHeight;
  }
  drawNow();
  pool.find((div) => div.dataset.id === active && !div.hidden)?.focus({ preventScroll: true });
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, select, dialog")) return;
  const inGrid = grid.contains(target);
  const page = Math.max(1, Math.floor(grid.clientHeight / rowPx()) - 2);
  const at = view.findIndex((row) => row.id === active);
  const moves = { j: at + 1, k: at - 1 };
  const gridMoves = {
    ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page,
    Home: 0, End: view.length - 1,
  };
  const to = moves[/** @type {"j"} */ (event.key)] ?? (inGrid ? gridMoves[/** @type {"Home"} */ (event.key)] : undefined);
  if (to !== undefined) {
    event.preventDefault();
    moveTo(to);
  } else if (event.key === "Enter" && inGrid && active && !target.closest("button, a")) {
    location.assign(`/fleet/${active}`);
  }
}

function listen() {
  form.addEventListener("submit", (event) => {
    // That button leads to another page, with the filter as it is.
    if (event.submitter?.id === "service") return;
    event.preventDefault();
    filterChanged();
  });
  form.addEventListener("input", () => {
    cancelAnimationFrame(typing);
    typing = requestAnimationFrame(filterChanged);
  });
  grid.addEventListener("scroll", draw, { passive: true });
  grid.addEventListener("click", (event) => {
    const div = /** @type {HTMLElement} */ (event.target).closest("[data-id]");
    const id = /** @type {HTMLElement | null} */ (div)?.dataset.id;
    if (!id || /** @type {HTMLElement} */ (event.target).closest("a, button")) return;
    if (getSelection()?.isCollapsed) location.assign(`/fleet/${id}`);
  });
  addEventListener("keydown", onKey);
  addEventListener("resize", arrange);
  narrow.addEventListener("change", arrange);
  stream.addEventListener("resync", () => void load().then(arrange).catch(() => {}));
  setInterval(() => {
    if (changed && performance.now() - sortedAt > RESORT_MS) arrange();
    else draw();
  }, 1000);
}

stream.addEventListener("fleet", (event) => {
  const list = /** @type {CustomEvent} */ (event).detail.rows;
  if (early) {
    early.push(...list);
    return;
  }
  for (const row of list) take(row);
  changed = true;
});

build();
load().then(() => {
  /** @type {HTMLElement} */ (document.getElementById("paged")).hidden = true;
  grid.hidden = false;
  listen();
  arrange();
}).catch(() => {
  // The paged table stays, and is true as of its age; the next visit tries again.
});
