import assert from "node:assert/strict";
import { test } from "node:test";
import { bytes, change, duration, exact, intervalLabel, percent, short, valueName } from "../../web/dashboard/js/format.js";

test("a number that is not known is never a number", () => {
  for (const format of [exact, short, percent, duration]) {
    assert.equal(format(null), "–");
    assert.equal(format(undefined), "…");
    assert.match(format(0), /^0/);
  }
});

test("short numbers have few digits, exact ones all", () => {
  assert.equal(short(9999), "9,999");
  assert.equal(short(12_345), "12.3K");
  assert.equal(exact(1_234_567), "1,234,567");
  assert.equal(short(-12_345), "-12.3K");
});

test("durations", () => {
  for (const [seconds, text] of [[59.6, "1m 00s"], [59.4, "59s"], [125, "2m 05s"], [3600, "1h 00m"], [90_061, "25h 01m"]])
    assert.equal(duration(seconds), text);
});

test("a change is a share of what was before, where that can be said", () => {
  assert.equal(change(150, 100), 0.5);
  assert.equal(change(0, 100), -1);
  assert.equal(change(0, 0), 0);
  for (const [now, before] of [[1, 0], [null, 1], [1, null], [undefined, 1]]) assert.equal(change(now, before), null);
});

test("bytes", () => {
  assert.equal(bytes(0), "0 B");
  assert.equal(bytes(1536), "1.5 KiB");
  assert.equal(bytes(2 ** 50), "1,020 TiB".replace("1,020", (1024).toLocaleString(undefined, { maximumSignificantDigits: 3 })));
});

test("an hour is named in the zone that was asked for", () => {
  const label = intervalLabel("2026-03-29T00:30:00+05:30", "2026-03-29T01:30:00+05:30", "hour", "Asia/Kolkata");
  assert.match(label, /Mar.*12:30.*–.*01:30|Mar.*00:30–01:30/);
});

test("a value that names nothing is shown as it is", () => {
  assert.equal(valueName("country", "DE"), "Germany");
  for (const odd of ["XX9", "<b>", "", "not a language!"]) {
    assert.equal(valueName("country", odd), odd);
    assert.equal(valueName("language", odd), odd);
  }
});
