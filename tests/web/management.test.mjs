import assert from "node:assert/strict";
import { test } from "node:test";

const { bySeverity, commandsIn, holdQuestion, holdsText, kindText, sizeText, verdictText } = await import("../../web/dashboard/js/manage/words.js");

const hold = { days: 12, kept_days: 14, bytes: 44954, first: "2026-11-06", last: "2026-11-17" };
const finding = (check, level) => ({ check, level, found: `${check} was looked at`, do: level === "ok" ? "" : "mend it" });

test("the dialog says how much of what goes, which days, and what stays", () => {
  const { title, texts } = holdQuestion("archive", hold);
  const text = texts.join(" ");
  assert.equal(title, "Delete 12 days of the archive for good?");
  for (const part of ["12 of 14 days that are kept", "2026-11-06 to 2026-11-17 (UTC)", "43.9 KiB", "the events themselves", "Counters stay", "cannot be taken back"])
    assert.ok(text.includes(part), part);
  assert.equal(holdQuestion("log", { ...hold, days: 1, last: hold.first }).title, "Delete 1 day of the log for good?");
  assert.equal(sizeText({ ...hold, days: 1, last: hold.first }), "1 of 14 days that are kept, 2026-11-06 (UTC), 43.9 KiB");
});

test("each kind says what stays, and a kind of a later version says nothing wrong", () => {
  for (const kind of ["log", "archive", "counters"]) assert.ok(kindText(kind).what && kindText(kind).stays);
  assert.deepEqual(kindText("future"), { what: "", stays: "" });
});

test("the head counts what still waits for an answer", () => {
  assert.equal(holdsText({}, []), "none");
  assert.equal(holdsText({ log: hold }, []), "1 deletion waits for an answer");
  assert.equal(holdsText({ log: hold, archive: hold }, []), "2 deletions wait for an answer");
  assert.equal(holdsText({ log: hold, archive: hold }, ["log"]), "1 deletion waits for an answer");
  assert.equal(holdsText({ log: hold }, ["log"]), "confirmed; the next pass deletes");
});

test("findings stand by severity, the worst first, in their order, and none is lost", () => {
  const findings = [finding("a", "ok"), finding("b", "warning"), finding("c", "wrong"), finding("d", "warning"), finding("e", "unknown")];
  assert.deepEqual(bySeverity(findings).map(({ level, title, findings: of }) => [level, title, of.map(({ check }) => check)]),
    [["wrong", "Wrong: 1", ["c"]], ["warning", "Warnings: 2", ["b", "d"]], ["unknown", "Cannot be told from here: 1", ["e"]], ["ok", "Well: 1", ["a"]]]);
  assert.deepEqual(bySeverity([]), []);
  assert.equal(verdictText(findings), "1 wrong, 2 warnings");
  assert.equal(verdictText([finding("b", "warning")]), "0 wrong, 1 warning");
  assert.equal(verdictText([finding("a", "ok"), finding("e", "unknown")]), "Nothing wrong");
});

test("commands between backticks are told from words, and nothing is lost", () => {
  assert.deepEqual(commandsIn("`foldlog serve`, or start its unit"), [{ text: "foldlog serve", isCode: true }, { text: ", or start its unit", isCode: false }]);
  assert.deepEqual(commandsIn("plain <b>words</b>"), [{ text: "plain <b>words</b>", isCode: false }]);
  assert.deepEqual(commandsIn("one ` alone"), [{ text: "one ` alone", isCode: false }]);
  assert.deepEqual(commandsIn(""), []);
});
