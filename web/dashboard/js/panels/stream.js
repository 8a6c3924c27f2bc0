// Events as they arrive, for a developer who adds one: accepted, or why not. Open only while it is looked at.

import { Problem, openStream, token } from "../ask.js";
import { byId, element, isolated, setText } from "../dom.js";

const SHOWN = 50;
const AGAIN_MS = 5000;
const MARKS = { accepted: "✓", rejected: "✗", refused: "✗" };

const place = /** @type {HTMLDetailsElement} */ (byId("stream"));
const list = byId("stream-rows");

/** @type {AbortController | null} */
let open = null;

/** @param {() => import("../state.js").State} state */
export function startStream(state) {
  const follow = () => {
    if (place.open && token.get() && !document.hidden) watch(state());
    else close();
  };
  place.ontoggle = follow;
  document.addEventListener("visibilitychange", follow);
}

export function close() {
  open?.abort();
  open = null;
}

export function forgetStream() {
  close();
  place.open = false;
  list.replaceChildren();
}

/** Until it is closed; a stream that ends is opened again. @param {import("../state.js").State} state */
async function watch({ site, tz }) {
  close();
  const mine = (open = new AbortController());
  const { signal } = mine;
  while (!signal.aborted) {
    try {
      setText(byId("stream-state"), "Waiting for events…");
      await openStream(`live/stream${site ? `?${new URLSearchParams({ site })}` : ""}`, signal, (arrival) => show(arrival, tz));
    } catch (problem) {
      if (signal.aborted) return;
      if (!(problem instanceof Problem)) throw problem;
      setText(byId("stream-state"), problem.message);
      if (problem.status === 401 || problem.status === 403) return;
    }
    await new Promise((ready) => setTimeout(ready, AGAIN_MS));
  }
}

/** @param {any} arrival @param {string} tz */
function show(arrival, tz) {
  const time = new Intl.DateTimeFormat(undefined, { timeStyle: "medium", timeZone: tz }).format(new Date(arrival.at));
  const what = arrival.outcome === "accepted" ? arrival.name : `${arrival.code}${arrival.field ? ` (${arrival.field})` : ""}`;
  list.prepend(element("li", { class: arrival.outcome === "accepted" ? "good" : "bad" },
    element("span", { class: "muted" }, time), " ",
    element("span", { "aria-label": arrival.outcome }, MARKS[/** @type {"accepted"} */ (arrival.outcome)] ?? ""), " ",
    element("b", {}, isolated(what)), " ", isolated(`${arrival.site}${arrival.path ?? ""}`), " ",
    isolated(arrival.detail ?? ""), arrival.dry_run ? " (tried only)" : ""));
  while (list.children.length > SHOWN) list.lastElementChild?.remove();
  setText(byId("stream-state"), "");
}
