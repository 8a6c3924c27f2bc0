import assert from "node:assert/strict";
import { test } from "node:test";

globalThis.document = { getElementById: () => ({}) };
globalThis.location = { pathname: "/admin/", search: "", hash: "", origin: "http://127.0.0.1" };
globalThis.sessionStorage = { getItem: () => "token", removeItem: () => {} };
const { batchPath, commonOf, reportOf } = await import("../../web/dashboard/js/batch.js");
const { askAndShow } = await import("../../web/dashboard/js/ask.js");

const FILTERED = "report?from=2026-01-01&filter=country%3D%3DDE";

test("what reports with a filter have in common is all but what each has of its own", () => {
  const common = commonOf(`${FILTERED}&site=a&by=path&interval=day&event=x&measures=visitors&limit=9&compare=previous&week=sunday`);
  assert.equal(common, "from=2026-01-01&filter=country%3D%3DDE&site=a");
  for (const alone of ["report?from=2026-01-01&by=path", `${FILTERED}&format=csv`, "goals/report?filter=a", "status"]) assert.equal(commonOf(alone), null);
});

test("a batch says what each asks; one report and a question that is too long are none", () => {
  const path = batchPath("filter=a", [`${FILTERED}&by=path&limit=9`, `${FILTERED}&measures=visitors`]) ?? "";
  const asked = new URLSearchParams(path.slice("batch?".length));
  assert.deepEqual([asked.get("filter"), JSON.parse(asked.get("reports") ?? "")], ["a", [{ by: "path", limit: "9" }, { measures: "visitors" }]]);
  assert.equal(batchPath("filter=a", [FILTERED]), null);
  assert.equal(batchPath(`filter=${"a".repeat(6000)}`, [FILTERED, FILTERED]), null);
});

test("each has its part of the answer, with what all have", () => {
  const answer = { kind: "batch", reports: [{ rows: [1] }, { problem: { status: 400 } }], tz: "UTC" };
  assert.deepEqual(reportOf(answer, 0), { rows: [1], tz: "UTC" });
  assert.equal(reportOf(answer, 1).problem.status, 400);
});

test("a round asks once, anew in the next, and a problem of one is not that of the others", async () => {
  const paths = [];
  globalThis.fetch = async (path) => {
    paths.push(path);
    const { reports } = Object.fromEntries(new URLSearchParams(path.split("?")[1]));
    if (!reports) return new Response("{}");
    return new Response(JSON.stringify({ kind: "batch", reports: JSON.parse(reports).map(({ by }) =>
      by === "entry" ? { problem: { status: 400, code: "query", detail: "not so" } } : { by, round: paths.length }) }));
  };
  const round = async () => {
    const { signal } = new AbortController();
    const shown = [];
    const asked = ["path", "country", "entry"].map((by) =>
      askAndShow(`${FILTERED}&by=${by}`, signal, (answer, isStale) => shown.push([answer.by, answer.round, isStale])));
    asked.push(askAndShow(`${FILTERED}&by=os&site=b`, signal, () => {}));
    const settled = await Promise.allSettled(asked);
    return { shown, problems: settled.map(({ reason }) => reason?.message ?? null) };
  };
  assert.deepEqual(await round(), { shown: [["path", 1, false], ["country", 1, false]], problems: [null, null, "Not so", null] });
  assert.deepEqual(paths.map((path) => path.includes("/batch?")), [true, false]);
  const { shown } = await round();
  assert.deepEqual(shown, [["path", 1, true], ["country", 1, true], ["path", 3, false], ["country", 3, false]]);
});

test("reports of events alone wait for none of visitors", async () => {
  const paths = [];
  globalThis.fetch = async (path) => {
    paths.push(path);
    return new Response(JSON.stringify({ kind: "batch", reports: JSON.parse(new URLSearchParams(path.split("?")[1]).get("reports")) }));
  };
  const { signal } = new AbortController();
  const asked = ["events", "visitors,events"].flatMap((measures) => ["city", "region"].map((by) => `${FILTERED}&by=${by}&measures=${measures}`));
  await Promise.all(asked.map((path) => askAndShow(path, signal, () => {})));
  assert.equal(paths.length, 2);
  assert.ok(!paths[0].includes("visitors") && paths[1].includes("visitors"));
});
