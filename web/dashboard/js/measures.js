// The numbers of the page: what each is called, how it is written, and whether more of it is better. Pure.

import { duration, exact, percent, short } from "./format.js";

/** @typedef {{ name: string, of?: string, event?: string, label: string, format: (number: import("./format.js").Known) => string,
 *   full: (number: import("./format.js").Known) => string, isBetter: "more" | "less", meaning: string }} Measure
 * `format` is short, `full` has every digit. `of`: the measure of the API where it has another name there, of the events
 * named `event` only. */

/** @type {Measure[]} */
export const MEASURES = [
  { name: "visitors", label: "Visitors", format: short, full: exact, isBetter: "more", meaning: "Distinct visitors, each once" },
  { name: "visits", label: "Visits", format: short, full: exact, isBetter: "more", meaning: "A visit ends after 30 minutes without an event" },
  { name: "views", of: "events", event: "pageview", label: "Views", format: short, full: exact, isBetter: "more", meaning: "Page views" },
  { name: "views_per_visit", label: "Views a visit", format: exact, full: exact, isBetter: "more", meaning: "Page views of a visit" },
  { name: "bounce_rate", label: "Bounce rate", format: percent, full: percent, isBetter: "less", meaning: "Visits with one view and nothing else" },
  { name: "visit_duration", label: "Duration", format: duration, full: duration, isBetter: "more", meaning: "From the first to the last event of a visit" },
  { name: "events", label: "Events", format: short, full: exact, isBetter: "more", meaning: "All events, page views among them" },
  { name: "value_sum", label: "Value", format: short, full: exact, isBetter: "more", meaning: "The values of all events together" },
];

/** @param {string} name */
export const measureOf = (name) => MEASURES.find((each) => each.name === name) ?? MEASURES[0];

/** The panels that break the numbers down: what each tab is called, and what stands where an event has no value.
 * @typedef {{ dimension: string, label: string, absent: string }} Tab
 * @type {{ name: string, title: string, tabs: Tab[] }[]} */
export const BREAKDOWNS = [
  {
    name: "pages", title: "Pages", tabs: [
      { dimension: "path", label: "Pages", absent: "(none)" },
      { dimension: "entry", label: "Entry", absent: "(none)" },
      { dimension: "exit", label: "Exit", absent: "(none)" },
      { dimension: "hostname", label: "Hosts", absent: "(none)" },
    ],
  },
  {
    name: "sources", title: "Sources", tabs: [
      { dimension: "source", label: "Sources", absent: "Direct or unknown" },
      { dimension: "channel", label: "Channels", absent: "Direct or unknown" },
      { dimension: "referrer", label: "Referrers", absent: "Direct or unknown" },
    ],
  },
  {
    name: "campaigns", title: "Campaigns", tabs: [
      { dimension: "utm_campaign", label: "Campaigns", absent: "(none)" },
      { dimension: "utm_medium", label: "Media", absent: "(none)" },
      { dimension: "utm_term", label: "Terms", absent: "(none)" },
      { dimension: "utm_content", label: "Contents", absent: "(none)" },
    ],
  },
  {
    name: "places", title: "Places", tabs: [
      { dimension: "country", label: "Countries", absent: "Unknown" },
      { dimension: "region", label: "Regions", absent: "Unknown" },
      { dimension: "city", label: "Cities", absent: "Unknown" },
      { dimension: "language", label: "Languages", absent: "Unknown" },
    ],
  },
  {
    name: "devices", title: "Devices", tabs: [
      { dimension: "device", label: "Devices", absent: "Unknown" },
      { dimension: "browser", label: "Browsers", absent: "Unknown" },
      { dimension: "os", label: "Systems", absent: "Unknown" },
    ],
  },
  {
    name: "events", title: "Events", tabs: [
      { dimension: "event", label: "Events", absent: "(none)" },
    ],
  },
];

/** What a dimension is called in a filter. @param {string} dimension */
export function dimensionLabel(dimension) {
  for (const { tabs } of BREAKDOWNS) for (const tab of tabs) if (tab.dimension === dimension) return singular(tab.label);
  return dimension.startsWith("props.") ? dimension.slice(6) : dimension.replace("utm_", "").replaceAll("_", " ");
}

/** @param {string} label */
const singular = (label) =>
  /** @type {Record<string, string>} */ ({ Countries: "Country", Cities: "City", Media: "Medium" })[label] ?? label.replace(/s$/, "");
