// @ts-check
// What every page has: ages that count, the live mark, parts that renew themselves, keys, theme.

import { count, now, span, stream } from "./live.js";

/** @param {string} id */
const byId = (id) => document.getElementById(id);
const zone = document.querySelector(".zone")?.textContent ?? "UTC";
const clockText = new Intl.DateTimeFormat("en-GB", { timeZone: zone, timeStyle: "medium" });

// --- Ages and the clock -------------------------------------------------------------------------

function count_up() {
  const at = now();
  for (const age of document.querySelectorAll("time.age")) {
    const text = span(at - Number(/** @type {HTMLElement} */ (age).dataset.at));
    if (age.textContent !== text) age.textContent = text;
  }
  const clock = byId("clock");
  if (clock) clock.textContent = clockText.format(at);
}
setInterval(count_up, 1000);

// --- Is it live? --------------------------------------------------------------------------------

const TEXT = { live: "Live", away: "No data", system: "system", dark: "dark", light: "light" };

stream.addEventListener("tick", () => mark("live", TEXT.live));
stream.addEventListener("stale", (event) => {
  mark("away", TEXT.away);
  const since = byId("stale-since");
  if (since) since.textContent = clockText.format(/** @type {CustomEvent} */ (event).detail.since);
  byId("stale")?.removeAttribute("hidden");
  document.body.classList.add("stale");
});
stream.addEventListener("fresh", () => {
  byId("stale")?.setAttribute("hidden", "");
  document.body.classList.remove("stale");
});

/** @param {string} state @param {string} text */
function mark(state, text) {
  const word = byId("pulse-text");
  byId("pulse")?.setAttribute("data-state", state);
  if (word && word.textContent !== text) word.textContent = text;
}

stream.addEventListener("exceptions", (event) => {
  const badge = byId("open-count");
  const open = /** @type {CustomEvent} */ (event).detail.open;
  if (!badge) return;
  badge.textContent = count(open);
  badge.hidden = open === 0;
});

// --- Parts that renew themselves ----------------------------------------------------------------

// The only HTML that is ever set comes from this server, rendered and escaped there; the policy's
// name is the only one that the page's Content-Security-Policy allows.
const trusted = globalThis.trustedTypes?.createPolicy("tapline", { createHTML: (html) => html });

const part = document.querySelector("[data-live]");
let dirty = false;
let renewedAt = performance.now();
let renewing = false;

for (const name of ["changed", "fleet", "taps", "exceptions", "resync", "fresh"]) {
  stream.addEventListener(name, () => (dirty = true));
}
if (part) setInterval(renew, 1000);

async function renew() {
  // Windows of time move on even when nothing happens.
  const due = performance.now() - renewedAt > (document.body.dataset.watch === "everything" ? 900 : 4500);
  const old = performance.now() - renewedAt > 5000;
  if (renewing || document.hidden || !(dirty ? due : old) || isBusy()) return;
  renewing = true;
  try {
    const address = new URL(location.href);
    address.searchParams.set("part", "live");
    dirty = false;
    const answer = await fetch(address, { cache: "no-store" });
    if (answer.redirected) return location.assign("/login");
    if (answer.ok) put(await answer.text());
    renewedAt = performance.now();
  } catch {
    dirty = true;
  } finally {
    renewing = false;
  }
}

/** Somebody is selecting or pressing something in there: do not pull it away. */
function isBusy() {
  const selection = getSelection();
  const selecting = selection && !selection.isCollapsed && part?.contains(selection.anchorNode);
  return Boolean(selecting || part?.querySelector(":active"));
}

/** @param {string} html */
function put(html) {
  if (!part) return;
  const held = part.contains(document.activeElement)
    ? /** @type {HTMLElement} */ (document.activeElement).dataset.key
    : undefined;
  const unfolded = [...part.querySelectorAll("details[open][data-key]")]
    .map((node) => /** @type {HTMLElement} */ (node).dataset.key);
  const template = document.createElement("template");
  template.innerHTML = /** @type {string} */ (trusted ? trusted.createHTML(html) : html);
  part.replaceChildren(template.content);
  for (const node of part.querySelectorAll("details[data-key]")) {
    node.toggleAttribute("open", unfolded.includes(/** @type {HTMLElement} */ (node).dataset.key));
  }
  if (held) {
    const again = [...part.querySelectorAll("[data-key]")].find(
      (node) => /** @type {HTMLElement} */ (node).dataset.key === held,
    );
    /** @type {HTMLElement | undefined} */ (again)?.focus({ preventScroll: true });
  }
  count_up();
}

// --- Keys ---------------------------------------------------------------------------------------

const PLACES = { o: "/", f: "/fleet", t: "/taps", c: "/cards", m: "/money", x: "/exceptions" };
let going = 0;

addEventListener("keydown", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (target.closest("input, select, textarea")) {
    if (event.key === "Escape") target.blur();
    return;
  }
  if (going && performance.now() - going < 1500 && event.key in PLACES) {
    event.preventDefault();
    location.assign(PLACES[/** @type {keyof typeof PLACES} */ (event.key)]);
    return;
  }
  going = event.key === "g" ? performance.now() : 0;
  if (event.key === "/") {
    event.preventDefault();
    byId("search")?.focus();
    /** @type {HTMLInputElement | null} */ (byId("search"))?.select();
  } else if (event.key === "?") {
    /** @type {HTMLDialogElement | null} */ (byId("help"))?.showModal();
  } else if (event.key === "j" || event.key === "k") {
    step(event.key === "j" ? 1 : -1);
  }
});

/** Moves the focus to the link of the next or previous row of the page's lists. @param {number} by */
function step(by) {
  if (byId("grid")?.hidden === false) return;
  const links = [...document.querySelectorAll(".rows > tbody > tr, ol.rows > li, .journeys > li")]
    .map((row) => row.querySelector("a.go, summary, a.id, a"))
    .filter((link) => link !== null);
  if (links.length === 0) return;
  const at = links.indexOf(/** @type {Element} */ (document.activeElement));
  const next = at < 0 ? (by > 0 ? 0 : links.length - 1) : at + by;
  const link = /** @type {HTMLElement | undefined} */ (links[next]);
  link?.focus();
  link?.scrollIntoView({ block: "nearest" });
}

const help = byId("help-open");
if (help) {
  help.hidden = false;
  help.addEventListener("click", () => /** @type {HTMLDialogElement} */ (byId("help")).showModal());
}

// --- Theme --------------------------------------------------------------------------------------

const theme = byId("theme");
if (theme) {
  theme.hidden = false;
  const word = byId("theme-word");
  const show = () => {
    const chosen = document.documentElement.dataset.theme ?? "system";
    if (word) word.textContent = TEXT[/** @type {"system"} */ (chosen)];
    theme.title = `Theme: ${word?.textContent}`;
  };
  theme.addEventListener("click", () => {
    const root = document.documentElement;
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    // From the system's to the other one, on to the system's as a fixed choice, and back to it.
    const order = dark ? ["light", "dark"] : ["dark", "light"];
    const next = order[order.indexOf(root.dataset.theme ?? "") + 1];
    if (next) root.dataset.theme = next;
    else delete root.dataset.theme;
    try {
      if (next) localStorage.setItem("tapline-theme", next);
      else localStorage.removeItem("tapline-theme");
    } catch { /* no storage: until the page is left */ }
    show();
  });
  show();
}

// Filters take effect as they are set; without script there is a button.
const filters = /** @type {HTMLFormElement | null} */ (byId("filters"));
if (filters && document.body.dataset.watch !== "fleet") {
  filters.addEventListener("change", () => filters.requestSubmit());
  filters.addEventListener("submit", () => {
    for (const field of filters.elements) {
      const input = /** @type {HTMLInputElement} */ (field);
      if (input.name && !input.value) input.disabled = true;
    }
  });
}
