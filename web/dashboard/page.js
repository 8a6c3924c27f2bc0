// The dashboard: asks the admin API for reports and the status, and shows them. Plain JavaScript, no build step.
//
// The token is kept in sessionStorage and sent in the Authorization header, never in a URL. Whatever comes from outside
// (paths, referrers, event names, error details) enters the document as text, never as markup.

"use strict";

const REFRESH_MS = 60_000;
const TOKEN = "foldlog.token";
const WRONG_TOKEN = "That token is not valid. Check that all of it was copied, or make another with: foldlog token create";
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const ZONE = !zone || zone === "Etc/Unknown" ? "UTC" : zone;
const RANGES = {
  today: { days: 1, interval: "hour" },
  week: { days: 7, interval: "hour" },
  month: { days: 30, interval: "day" },
};
const WHOLE_STEPS = Array.from({ length: 10 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat();
// The tables of top values, and what is shown where an event has no value.
const TOPS = { path: "(none)", referrer: "(direct)", event: "(none)" };

const $ = (id) => document.getElementById(id);
const BLANK = $("dashboard").cloneNode(true);

let round = 0; // counts refreshes, so that an answer that was overtaken by a newer question is dropped
let refreshedAt = 0;
let shown = ""; // the questions whose answers are in the page
let plot = null;

// ---- The API

class Problem extends Error {
  constructor(status, detail) {
    super(detail.charAt(0).toUpperCase() + detail.slice(1));
    this.status = status;
  }
}

async function ask(path, { method = "GET", token = sessionStorage.getItem(TOKEN) } = {}) {
  let response;
  try {
    // Without `omit` the browser would answer a 401 by opening its own password window.
    response = await fetch(`api/${path}`, { method, credentials: "omit", headers: { Authorization: `Bearer ${token}` } });
  } catch {
    throw new Problem(0, "The server cannot be reached. The page tries again every minute.");
  }
  if (response.ok) return response.json();
  const problem = await response.json().catch(() => ({})); // a proxy's answer need not be JSON
  throw new Problem(response.status, problem.detail ?? `The server answered with status ${response.status}.`);
}

// ---- Signing in and out, and messages

async function signIn(event) {
  event.preventDefault();
  const token = $("token").value.trim();
  try {
    if (!/^[\x21-\x7e]+$/.test(token)) throw new Problem(401, WRONG_TOKEN); // no header can carry it
    await ask("status", { token });
  } catch (problem) {
    say(problem.status === 401 ? WRONG_TOKEN : problem.message, "error");
    return;
  }
  sessionStorage.setItem(TOKEN, token);
  showSignedIn(true);
  if (await refresh()) $("dashboard").focus({ preventScroll: true });
}

/** Sign in by the code in the address. False where there is none. */
async function signInByCode() {
  let token;
  try {
    token = await tokenOfCode();
  } catch (problem) {
    showSignedIn(sessionStorage.getItem(TOKEN) !== null);
    say(problem.message, "error");
    return true;
  }
  if (!token) return false;
  sessionStorage.setItem(TOKEN, token);
  showSignedIn(true);
  refresh();
  return true;
}

function signOut(message, kind) {
  sessionStorage.removeItem(TOKEN);
  round += 1;
  shown = "";
  plot = null;
  $("dashboard").replaceWith(BLANK.cloneNode(true)); // no number is left in the page
  showSignedIn(false);
  say(message, kind);
  $("token").focus();
}

function showSignedIn(signedIn) {
  $("token").value = "";
  $("sign-in").hidden = signedIn;
  $("sign-out").hidden = $("toolbar").hidden = !signedIn;
  say(signedIn ? "Loading…" : "");
}

function say(text, kind = "") {
  $("message").textContent = text;
  $("message").className = kind;
}

function complain(problem) {
  if (problem.status === 401) signOut(`You were signed out. ${WRONG_TOKEN}`, "error");
  else say(problem.message, "error");
}

// ---- Refreshing

/** Fetch everything and show it. True when it is shown, false when it failed or was overtaken. */
async function refresh() {
  const mine = (round += 1);
  refreshedAt = Date.now();
  $("dashboard").ariaBusy = "true";
  try {
    const asked = questions();
    // Events are quick to count, distinct visitors are not: what is new in the page shows its events first.
    for (const more of shown === JSON.stringify(asked) ? [{}] : [{ visitors: "none" }, {}]) {
      const reports = asked.map((question) => ask(`report?${new URLSearchParams({ ...question, ...more })}`));
      const found = await Promise.all([ask("status"), ...reports]);
      if (mine !== round) return false;
      say("");
      show(...found);
    }
    shown = JSON.stringify(asked);
    return true;
  } catch (problem) {
    if (mine === round) complain(problem);
    return false;
  } finally {
    if (mine === round) $("dashboard").ariaBusy = "false";
  }
}

/** The parameters of the reports: first the chart's, then those of the tables. Days are the browser's. */
function questions() {
  const { days, interval } = RANGES[document.querySelector("#range input:checked").value];
  const now = new Date();
  const date = (ago) => new Date(Date.UTC(now.getFullYear(), now.getMonth(), now.getDate() - ago)).toISOString().slice(0, 10);
  const range = { from: date(days - 1), to: date(0), tz: ZONE };
  return [{ ...range, interval }, ...Object.keys(TOPS).map((by) => ({ ...range, by, limit: 10 }))];
}

function refreshIfDue() {
  const isDue = Date.now() - refreshedAt > REFRESH_MS / 2;
  if (isDue && sessionStorage.getItem(TOKEN) && !document.hidden) refresh();
}

async function fold() {
  if ($("fold").ariaDisabled === "true") return;
  $("fold").ariaDisabled = "true"; // `disabled` would take the keyboard's focus away
  say("Folding…");
  try {
    const { generation } = await ask("fold", { method: "POST" });
    if (await refresh()) say(`Folded: generation ${generation} counts every event accepted before.`);
  } catch (problem) {
    if (sessionStorage.getItem(TOKEN)) complain(problem);
  } finally {
    $("fold").ariaDisabled = "false";
  }
}

// ---- Showing

function show(status, chart, ...tops) {
  $("dashboard").hidden = false;
  const until = countedUntil(status, chart);
  showTotals(chart, tops, until);
  showEmpty(chart, status);
  if (chart.total.events !== 0) showChart(chart, until);
  Object.entries(TOPS).forEach(([by, absent], i) => fillTable($(`top-${by}`), tops[i].rows, (row) => row.value ?? absent));
  showWarnings(status);
  showStatus(status);
}

// In seconds. A pass that found nothing makes no new generation, so `as_of` may be older.
function countedUntil(status, report) {
  const lastPass = status.lag_s === null ? 0 : Date.now() / 1000 - status.lag_s;
  return Math.max(seconds(report.as_of), lastPass);
}

function showTotals(chart, tops, until) {
  $("visitors").textContent = count(chart.total.visitors);
  $("events").textContent = count(chart.total.events);
  const reasons = new Set([chart, ...tops].map((report) => report.reason).filter(Boolean));
  $("reason").textContent = [...reasons].map((reason) => `“–” where there is no exact number: ${reason}.`).join(" ");
  const asOf = chart.generation ? `As of ${MOMENT.format(new Date(until * 1000))}.` : "Nothing has been folded yet.";
  $("as-of").textContent = `${asOf} Times are in ${ZONE}. Known bots are left out.`;
}

function showEmpty(chart, { balance, days }) {
  const isEmpty = chart.total.events === 0;
  const isNew = balance.accepted === 0;
  document.querySelectorAll(".origin").forEach((place) => { place.textContent = location.origin; });
  $("empty").hidden = !isEmpty;
  $("report").hidden = isEmpty;
  $("first-event").hidden = !isNew;
  $("empty-title").textContent = isNew ? "No events yet" : "No events in this time";
  $("empty-text").textContent = [
    isNew && "Foldlog is ready. This is how to send the first event.",
    days && `There is data from ${days.first} to ${days.last} (UTC).`,
    balance.not_yet_folded > 0 && `Waiting to be folded: ${count(balance.not_yet_folded)}. “Fold now” counts them at once.`,
  ].filter(Boolean).join(" ");
}

function showWarnings({ balance, disk, segments, last_retention: retention, warnings }) {
  const missing = Object.values(segments.missing).flat().length;
  const found = [
    balance.difference !== 0 && `${verdict(balance)} Run: foldlog verify`,
    disk.free_bytes < disk.reserve_bytes && `The disk is nearly full (${bytes(disk.free_bytes)} free): events are refused.`,
    segments.damaged > 0 && `Damaged segments: ${count(segments.damaged)}. What could not be read is in quarantine/.`,
    missing > 0 && `Segments missing from the log: ${count(missing)}. Run: foldlog verify`,
    retention.skipped && `Retention deleted nothing: ${retention.skipped}.`,
    ...warnings,
  ].filter(Boolean);
  const said = [...$("warnings").children].map((warning) => warning.textContent);
  if (String(found) === String(said)) return; // a screen reader need not hear it every minute
  $("warnings").replaceChildren(...found.map((text) => element("p", text)));
}

/** What index.html marks with data-count or data-bytes: the path of a number in the status. */
function showStatus(status) {
  const numberAt = (path) => path.split(".").reduce((part, name) => part[name], status);
  document.querySelectorAll("[data-count]").forEach((place) => { place.textContent = count(numberAt(place.dataset.count)); });
  document.querySelectorAll("[data-bytes]").forEach((place) => { place.textContent = bytes(numberAt(place.dataset.bytes)); });
  $("lag").textContent = status.lag_s === null ? "–" : `${count(Math.round(status.lag_s))} s`;
  $("capped-line").hidden = status.capped.length === 0;
  $("capped").textContent = status.capped.slice(0, 3).map((each) => `${each.day}: ${[...each.capped, ...each.uncounted].join(", ")}`).join("; ");
  $("verdict").textContent = verdict(status.balance);
  $("verdict").className = status.balance.difference === 0 ? "good" : "bad";
}

function verdict({ difference }) {
  if (difference === 0) return "It adds up: no accepted event is missing.";
  return `It does not add up: ${count(Math.abs(difference))} ${difference > 0 ? "accepted events are missing" : "too many"}.`;
}

function fillTable(table, rows, label) {
  const most = Math.max(1, ...rows.map((row) => row.events));
  table.tBodies[0].replaceChildren(...rows.map((row) => {
    const head = element("th", element("bdi", label(row)));
    head.scope = "row";
    head.className = row.value === null ? "absent" : "";
    head.style.setProperty("--share", `${(100 * row.events) / most}%`);
    return element("tr", head, element("td", count(row.visitors)), element("td", count(row.events)));
  }));
}

function element(tag, ...children) {
  const made = document.createElement(tag);
  made.append(...children); // strings become text nodes
  return made;
}

// ---- The chart

function showChart(report, until) {
  const ends = [...report.rows.slice(1).map((row) => row.time), report.to];
  const rows = report.rows.map((row, i) => ({ ...row, label: timeLabel(row.time, ends[i], report.interval) }));
  const begun = rows.filter((row) => seconds(row.time) <= until); // the rest is unknown, not 0
  const column = (name) => rows.map((_, i) => begun[i]?.[name] ?? null);
  $("chart-title").textContent = `Visitors and events by ${report.interval}`;
  fillTable($("chart-table"), begun.toReversed(), (row) => row.label);
  plot?.destroy();
  const data = [rows.map((row) => seconds(row.time)), column("events"), column("visitors")];
  plot = new uPlot(chartOptions(report, rows), data, $("chart"));
}

function chartOptions({ from, to, interval }, rows) {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const ticks = (_, at, __, ___, step_s) => at.map((tick) => tickLabel(tick, step_s));
  const axis = { stroke: colour("muted"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false } };
  const bars = uPlot.paths.bars({ size: [0.8, Infinity], align: 1 }); // a bar begins where its hour begins
  const series = { width: 0, paths: bars, points: { show: false }, value: (_, number) => count(number) };
  return {
    width: $("chart").clientWidth,
    height: 240,
    scales: {
      x: { range: () => [seconds(from), seconds(to)] },
      y: { range: (_, __, most) => [0, Math.max(4, most * 1.05)] },
    },
    axes: [
      { ...axis, size: 32, space: 64, grid: { show: false }, values: ticks },
      { ...axis, size: 48, incrs: WHOLE_STEPS, values: (_, at) => at.map((number) => COMPACT.format(number)) },
    ],
    series: [
      { label: interval === "hour" ? "Hour" : "Day", value: (_, __, ___, i) => rows[i]?.label ?? "point at a bar" },
      { ...series, label: "Events", fill: colour("events") },
      { ...series, label: "Visitors", fill: colour("visitors") },
    ],
    cursor: {
      y: false,
      drag: { x: false, y: false },
      points: { show: false },
      // The bar under the pointer is the last that begins at or before it, not the one whose beginning is nearest.
      dataIdx: (chart, _, nearest, x) => Math.max(0, chart.data[0][nearest] > x ? nearest - 1 : nearest),
    },
  };
}

// ---- Numbers and times as text, in the language of the browser

const NUMBER = new Intl.NumberFormat();
const COMPACT = new Intl.NumberFormat(undefined, { notation: "compact" });
const DATE = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short" });
const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

const count = (number) => (number === undefined ? "…" : number === null ? "–" : NUMBER.format(number));
const seconds = (time) => Date.parse(time) / 1000;

function timeLabel(from, to, interval) {
  const day = DAY.format(new Date(from));
  return interval === "hour" ? `${day}, ${TIME.format(new Date(from))}–${TIME.format(new Date(to))}` : day;
}

function tickLabel(tick, step_s) {
  const at = new Date(tick * 1000);
  return step_s >= 86_400 || (at.getHours() === 0 && at.getMinutes() === 0) ? DATE.format(at) : TIME.format(at);
}

function bytes(number) {
  const power = number < 1024 ? 0 : Math.min(4, Math.floor(Math.log2(number) / 10));
  const shown = (number / 1024 ** power).toLocaleString(undefined, { maximumSignificantDigits: 3 });
  return `${shown} ${["B", "KiB", "MiB", "GiB", "TiB"][power]}`;
}

// ---- Beginning

async function start() {
  $("sign-in").addEventListener("submit", signIn);
  $("sign-out").addEventListener("click", () => signOut("Signed out."));
  $("fold").addEventListener("click", fold);
  $("range").addEventListener("change", refresh);
  addEventListener("resize", () => plot?.setSize({ width: $("chart").clientWidth, height: plot.height }));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plot && refresh()); // in other colours
  document.addEventListener("visibilitychange", refreshIfDue);
  setInterval(refreshIfDue, REFRESH_MS);
  addEventListener("hashchange", signInByCode);
  if (await signInByCode()) return;
  const isSignedIn = sessionStorage.getItem(TOKEN) !== null;
  showSignedIn(isSignedIn);
  if (isSignedIn) refresh();
}

start();
