import assert from "node:assert/strict";
import { test } from "node:test";

globalThis.document = { getElementById: () => ({}) };
globalThis.location = { pathname: "/admin/", search: "", hash: "", origin: "http://127.0.0.1" };
globalThis.sessionStorage = { getItem: () => null };
const { placed } = await import("../../web/dashboard/js/annotations.js");
const { dateIn } = await import("../../web/dashboard/js/state.js");

const at = (time) => Date.parse(time) / 1000;
const bars = (...edges) => edges.slice(1).map((to, i) => ({ from: at(edges[i]), to: at(to), label: "" }));
const places = (notes, shown, zone) =>
  [...placed(notes.map((each, id) => ({ id, at: each, text: "", site: null })), shown, (time_s) => dateIn(new Date(1000 * time_s), zone))]
    .map(([place, found]) => [place, found.map(({ id }) => id)]);

test("a moment is marked at the bar that it is in, a date at that of the zone", () => {
  const days = bars("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", "2026-03-30T22:00:00Z"); // two days of Berlin, one of 23 hours
  assert.deepEqual(places(["2026-03-29", "2026-03-29T21:59:59Z", "2026-03-30T00:00:00+02:00", "2026-03-30"], days, "Europe/Berlin"),
    [[0, [0, 1]], [1, [2, 3]]]);
});

test("what is outside the chart is not marked", () => {
  const days = bars("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z");
  assert.deepEqual(places(["2026-02-28", "2026-03-02", "2026-03-02T00:00:00Z", "2026-02-28T23:59:59Z"], days, "UTC"), []);
});

test("a date is in its month, and at the first hour of its day", () => {
  assert.deepEqual(places(["2026-03-31"], bars("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"), "UTC"), [[0, [0]]]);
  const hours = bars("2026-03-01T22:00:00Z", "2026-03-01T23:00:00Z", "2026-03-02T00:00:00Z", "2026-03-02T01:00:00Z", "2026-03-02T02:00:00Z");
  assert.deepEqual(places(["2026-03-02"], hours, "UTC"), [[2, [0]]]);
});
