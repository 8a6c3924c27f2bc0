// What stands in place of numbers where there are none: how to send the first event, or when there were some.

import { byId, setText } from "../dom.js";
import { exact } from "../format.js";

/** @param {import("./panel.js").Round} round @param {number | null} events of the time that is shown */
export function showEmpty({ state, status: { balance, days } }, events) {
  for (const place of document.querySelectorAll(".origin")) setText(/** @type {HTMLElement} */ (place), location.origin);
  const isNew = balance?.accepted === 0;
  byId("empty").hidden = events !== 0;
  byId("report").hidden = events === 0;
  byId("first-event").hidden = !isNew;
  setText(byId("empty-title"), isNew ? "No events yet" : "No events in this time");
  setText(byId("empty-text"), [
    isNew && "Foldlog is ready. This is how to send the first event.",
    !isNew && state.filters.length > 0 && "No event matches all filters.",
    days && `There is data from ${days.first} to ${days.last} (UTC).`,
    balance?.not_yet_folded > 0 && `Waiting to be folded: ${exact(balance.not_yet_folded)}. “Fold now” counts them at once.`,
  ].filter(Boolean).join(" "));
}
