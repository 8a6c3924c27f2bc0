import assert from "node:assert/strict";
import { test } from "node:test";
import {
  beginning, condition, dateIn, datesOf, intervalOf, intervalsOf, question, readCondition, readState, writeState,
} from "../../web/dashboard/js/state.js";

const NOW = new Date("2026-03-29T22:30:00Z");
const shown = (changed) => ({ ...beginning(), tz: "UTC", ...changed });

test("a state comes back from its URL", () => {
  for (const changed of [
    {},
    { period: "today", site: "shop.example", bots: "only", compare: "none", measure: "visits" },
    { period: "custom", from: "2026-01-01", to: "2026-02-28", interval: "week" },
    { filters: ["path==/a\\;b&c=d", "country!=", "props.plan==pro"], tabs: { pages: "entry", campaigns: "utm_medium" } },
    { tz: "Asia/Kolkata" },
    { steps: ["path==/a;;b", "event==signup"], window: "30d" },
    { at: "/a?b=c&d", of: "path" }, { at: "signup", of: "event" },
  ]) {
    const state = shown(changed);
    assert.deepEqual(readState(writeState(state)), { ...state, from: state.period === "custom" ? state.from : "", to: state.to });
  }
});

test("what is so by default is not in the URL", () => {
  assert.equal(writeState(beginning()), "");
});

test("what a URL says wrong is left out", () => {
  const usual = beginning();
  for (const search of ["?period=toString", "?period=custom&from=2026-02-30&to=2026-03-01", "?period=custom&from=2026-03-02&to=2026-03-01",
    "?tz=Mars/Base", "?bots=all", "?interval=second", "?compare=never", "?measure=<b>", "?window=0d", "?window=7 days", "?step=", "?filter=", "?tab.=x", "?of=visit"])
    assert.deepEqual(readState(search), usual, search);
});

test("the date is that of the zone", () => {
  assert.equal(dateIn(NOW, "UTC"), "2026-03-29");
  assert.equal(dateIn(NOW, "Europe/Berlin"), "2026-03-30");
  assert.equal(dateIn(NOW, "America/Los_Angeles"), "2026-03-29");
});

for (const [period, from, to] of [
  ["today", "2026-03-29", "2026-03-29"],
  ["yesterday", "2026-03-28", "2026-03-28"],
  ["7d", "2026-03-23", "2026-03-29"],
  ["28d", "2026-03-02", "2026-03-29"],
  ["90d", "2025-12-30", "2026-03-29"],
  ["12mo", "2025-04-01", "2026-03-29"],
])
  test(`the dates of ${period}`, () => assert.deepEqual(datesOf(shown({ period }), NOW), { from, to }));

test("each length of time has bars that can be told apart, and the best first", () => {
  for (const [from, to, best] of [
    ["2026-01-01", "2026-01-01", "hour"], ["2026-01-01", "2026-01-07", "day"], ["2026-01-01", "2026-03-31", "day"],
    ["2025-01-01", "2025-12-31", "month"], ["2016-01-01", "2025-12-31", "year"],
  ]) {
    const found = intervalsOf({ from, to });
    assert.equal(found[0], best, from + to);
    assert.equal(new Set(found).size, found.length);
  }
  assert.ok(!intervalsOf({ from: "2016-01-01", to: "2025-12-31" }).includes("hour"));
});

test("an interval that does not fit the time is not asked for", () => {
  assert.equal(intervalOf(shown({ period: "today", interval: "month" }), NOW), "hour");
  assert.equal(intervalOf(shown({ period: "90d", interval: "week" }), NOW), "week");
});

test("a question says what differs from the default", () => {
  assert.deepEqual(question(shown({ period: "today" }), NOW), { from: "2026-03-29", to: "2026-03-29", tz: "UTC" });
  const asked = question(shown({ period: "today", site: "a", bots: "only", filters: ["path==/", "os=="] }), NOW);
  assert.deepEqual([asked.site, asked.bots, asked.filter], ["a", "only", "path==/;os=="]);
});

test("a condition says any value, and is read as it was", () => {
  for (const value of ["/a", "", "a;b", "a|b", "back\\slash", "==", "\u202Egnp", "<img src=x>", "\n"]) {
    const { dimension, operator, value: read } = readCondition(condition("path", value));
    assert.deepEqual([dimension, operator, read], ["path", "==", value]);
  }
  assert.equal(condition("path", null), "path==");
});
