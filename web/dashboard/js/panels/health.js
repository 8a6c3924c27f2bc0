// The health strip: whether everything that was accepted is counted, and the machine behind it.

import { byId, element, setText } from "../dom.js";
import { bytes, exact, UNKNOWN } from "../format.js";

/** @param {any} status */
export function showHealth(status) {
  showWarnings(status);
  const numberAt = (/** @type {string} */ path) => path.split(".").reduce((part, name) => part[name], status);
  for (const place of document.querySelectorAll("[data-count]"))
    setText(/** @type {HTMLElement} */ (place), exact(numberAt(/** @type {HTMLElement} */ (place).dataset.count ?? "")));
  for (const place of document.querySelectorAll("[data-bytes]"))
    setText(/** @type {HTMLElement} */ (place), bytes(numberAt(/** @type {HTMLElement} */ (place).dataset.bytes ?? "")));
  const lag = status.lag_s === null ? UNKNOWN : `${exact(Math.round(status.lag_s))} s`;
  setText(byId("lag"), lag);
  byId("capped-line").hidden = status.capped.length === 0;
  setText(byId("capped"), status.capped.slice(0, 3).map((/** @type {any} */ each) =>
    `${each.day}: ${[...each.capped, ...each.uncounted].join(", ")}`).join("; "));
  setText(byId("verdict"), verdict(status.balance));
  byId("verdict").className = status.balance.difference === 0 ? "good" : "bad";
  setText(byId("strip"), `${exact(status.balance.counted)} events counted · ${exact(status.balance.not_yet_folded)} waiting · ${bytes(status.disk.free_bytes)} free`);
}

/** @param {any} status */
function showWarnings({ balance, disk, segments, last_retention: retention, warnings }) {
  const missing = Object.values(segments.missing).flat().length;
  const found = [
    balance.difference !== 0 && `${verdict(balance)} Run: foldlog verify`,
    disk.free_bytes < disk.reserve_bytes && `The disk is nearly full (${bytes(disk.free_bytes)} free): events are refused.`,
    segments.damaged > 0 && `Damaged segments: ${exact(segments.damaged)}. What could not be read is in quarantine/.`,
    missing > 0 && `Segments missing from the log: ${exact(missing)}. Run: foldlog verify`,
    retention.skipped && `Retention deleted nothing: ${retention.skipped}.`,
    ...warnings,
  ].filter(Boolean);
  const said = [...byId("warnings").children].map((warning) => warning.textContent);
  if (String(found) === String(said)) return; // a screen reader need not hear it every minute
  byId("warnings").replaceChildren(...found.map((text) => element("p", {}, text)));
}

/** @param {{ difference: number }} balance */
function verdict({ difference }) {
  if (difference === 0) return "It adds up: no accepted event is missing.";
  return `It does not add up: ${exact(Math.abs(difference))} ${difference > 0 ? "accepted events are missing" : "too many"}.`;
}
