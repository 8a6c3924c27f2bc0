import assert from "node:assert/strict";
import { test } from "node:test";

// What stands in index.html is not there: the pure part asks for none of it.
globalThis.document = { getElementById: () => ({ elements: {} }) };
globalThis.location = { pathname: "/admin/", search: "", hash: "", origin: "http://127.0.0.1" };
globalThis.sessionStorage = { getItem: () => null };
const { ordered } = await import("../../web/dashboard/js/panels/paths.js");
const { fileName } = await import("../../web/dashboard/js/panels/files.js");

const step = (position, value, moves, more = {}) => ({ position, value, moves, visitors: 1, ...more });

test("second steps stand behind the first ones that they come by", () => {
  const steps = [
    step(-1, "/x", 9),
    step(1, "/a", 5), step(1, null, 4), step(1, "/b", 3), step(1, null, 2, { others: 7 }),
    step(2, "/c", 4, { via: "/a" }), step(2, null, 2, { via: "/b" }), step(2, "/a", 1, { via: "/b" }), step(2, "/d", 1, { via: "/far" }),
    step(2, null, 1, { via: null, others: 3 }),
  ];
  const read = ordered(steps, 1).map(({ position, via, value, others }) => [position, via, value, others].filter((each) => each !== undefined));
  assert.deepEqual(read, [
    [1, "/a"], [2, "/a", "/c"], [1, "/b"], [2, "/b", null], [2, "/b", "/a"],
    [1, null], [1, null, 7], [2, "/far", "/d"], [2, null, null, 3],
  ]);
  assert.deepEqual(ordered(steps, -1).map(({ value }) => value), ["/x"]);
});

test("a file's name says what is in it and of which time", () => {
  assert.equal(fileName("pages-path", { from: "2026-01-01", to: "2026-01-31", by: "path" }, "parquet"), "pages-path-2026-01-01-2026-01-31.parquet");
  assert.equal(fileName("returning", { to: "2026-01-31" }, "csv"), "returning-2026-01-31.csv");
});
