// @ts-check
// The one event stream of a page, the depot's time, and whether both can be trusted.
//
// Events: everything the server sends ("changed", "fleet", "taps", "exceptions", "resync"), and
// "stale" / "fresh" when the stream falls silent or comes back.

const body = document.body;
const QUIET_MS = Number(body.dataset.quiet);

export const stream = new EventTarget();

let source = /** @type {EventSource | null} */ (null);
let seq = body.dataset.seq ?? "0";
let heardAt = performance.now();
let stale = false;
// The depot's clock minus ours; a page that took long to load starts a little early.
let offset = Number(body.dataset.now) - performance.now();

/** The depot's time, milliseconds since 1970. */
export const now = () => performance.now() + offset;

/** A span in one unit; says the same as the server's `span`. @param {number} ms */
export function span(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 100) return `${s} s`;
  if (s < 6000) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} d`;
}

/** Whole numbers in groups of three; says the same as the server's `count`. @param {number} n */
export const count = (n) => String(n).replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");

/** @param {string} name @param {unknown} [detail] */
const tell = (name, detail) => stream.dispatchEvent(new CustomEvent(name, { detail }));

function heard() {
  heardAt = performance.now();
  if (stale) {
    stale = false;
    tell("fresh");
  }
}

function open() {
  if (source || document.hidden) return;
  const query = new URLSearchParams(location.search);
  query.delete("before");
  query.set("watch", body.dataset.watch ?? "frame");
  query.set("seq", seq);
  heardAt = performance.now();
  source = new EventSource(`/events?${query}`);
  for (const name of ["changed", "fleet", "taps", "exceptions", "resync"]) {
    source.addEventListener(name, (event) => {
      heard();
      if (event.lastEventId) seq = event.lastEventId;
      tell(name, JSON.parse(event.data));
    });
  }
  source.addEventListener("tick", (event) => {
    offset = JSON.parse(event.data).now - performance.now();
    heard();
    tell("tick");
  });
  source.addEventListener("over", () => location.assign("/login"));
  source.addEventListener("error", () => {
    // The browser retries by itself unless the server refused; then somebody must sign in again.
    if (source?.readyState !== EventSource.CLOSED) return;
    close();
    setTimeout(askWhy, 2000);
  });
}

async function askWhy() {
  try {
    const answer = await fetch("/events", { method: "HEAD", cache: "no-store" });
    if (answer.status === 401) return location.assign("/login");
  } catch { /* still away */ }
  open();
}

function close() {
  source?.close();
  source = null;
}

// A hidden page gives its connection to those that are seen, and catches up when it is shown.
document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
addEventListener("pagehide", close);
// Modules run before this event, so every listener is there before the first message.
document.addEventListener("DOMContentLoaded", open);

setInterval(() => {
  if (!document.hidden && !stale && performance.now() - heardAt > QUIET_MS) {
    stale = true;
    tell("stale", { since: now() - (performance.now() - heardAt) });
  }
}, 500);
