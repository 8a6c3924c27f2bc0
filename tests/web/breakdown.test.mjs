import assert from "node:assert/strict";
import { test } from "node:test";

globalThis.document = { getElementById: () => ({}) };
globalThis.location = { pathname: "/admin/", search: "", hash: "", origin: "http://127.0.0.1" };
globalThis.sessionStorage = { getItem: () => "token", removeItem: () => {} };
const { asking } = await import("../../web/dashboard/js/panels/breakdown.js");
const { askAndShow } = await import("../../web/dashboard/js/ask.js");
const { beginning } = await import("../../web/dashboard/js/state.js");

const state = (changed) => ({ ...beginning(), ...changed });
const ASKED = { from: "2026-01-01", to: "2026-01-31", filter: "country==DE" };

test("with a filter all panels ask one question, and each takes its part", () => {
  const filtered = state({ filters: ["country==DE"], tabs: { sources: "channel" } });
  const asked = ["path", "channel", "utm_campaign", "country", "device", "event"].map((dimension) => asking(ASKED, filtered, dimension));
  assert.equal(new Set(asked.map(({ path }) => path)).size, 1);
  assert.equal(new URLSearchParams(asked[0].path.split("?")[1]).get("by"), "path,channel,utm_campaign,country,device,event");
  assert.deepEqual(asked[1].of({ breakdowns: [{ by: "path" }, { by: "channel", rows: [1] }] }), { by: "channel", rows: [1] });
});

test("without a filter, and of visits, each asks alone", () => {
  assert.match(asking(ASKED, state({}), "path").path, /^report\?.*by=path$/);
  const filtered = state({ filters: ["country==DE"], tabs: { pages: "entry" } });
  assert.match(asking(ASKED, filtered, "entry").path, /^report\?.*by=entry$/);
  assert.ok(!asking(ASKED, filtered, "country").path.includes("entry"));
});

test("what several ask in one round is asked once, and anew in the next", async () => {
  let requests = 0;
  globalThis.fetch = async () => {
    requests += 1;
    return new Response(`{"requests": ${requests}}`);
  };
  const shown = [];
  const round = async () => {
    const { signal } = new AbortController();
    await Promise.all([1, 2, 3].map(() => askAndShow("report?a", signal, (answer, isStale) => shown.push([answer.requests, isStale]))));
  };
  await round();
  assert.deepEqual(shown.splice(0), [[1, false], [1, false], [1, false]]);
  await round();
  assert.deepEqual([shown.filter(([, isStale]) => isStale).length, shown.filter(([number]) => number === 2).length, requests], [3, 3, 2]);
});
