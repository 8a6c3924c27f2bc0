// The dashboard: asks the admin API for reports and the status, and shows them. Plain JavaScript, no build step.
//
// The token is kept in sessionStorage and sent in the Authorization header, never in a URL. Whatever comes from outside
// (paths, referrers, event names, error details) enters the document as text, never as markup.

"use strict";

const REFRESH_MS = 60_000;
const TOKEN = "foldlog.token";
const WRONG_TOKEN = "That token is not valid. Check that all of it was copied, or make another with: foldlog token create";
const ZONE = browserZone();

const RANGES = {
  today: { days: 1, interval: "hour" },
  week: { days: 7, interval: "hour" },
  month: { days: 30, interval: "day" },
};

// The tables of top values, and what is shown where an event has no value.
const TOPS = { path: "(none)", referrer: "(direct)", event: "(none)" };

const $ = (id) => document.getElementById(id);
const BLANK = $("dashboard").cloneNode(true);

let round = 0; // counts refreshes, so that an answer that was overtaken by a newer question is dropped
let refreshedAt = 0;
let plot = null;
let charted = null; // the report in the chart, to draw it again in other colours

// ---- The API

class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(path, { method = "GET", token = sessionStorage.getItem(TOKEN) } = {}) {
  let response;
  try {
    // Credentials are left out because the browser would otherwise answer a 401 with its own password window.
    response = await fetch(`api/${path}`, { method, credentials: "omit", headers: { Authorization: `Bearer ${token}` } });
  } catch {
    throw new Problem(0, "The server cannot be reached. The page tries again every minute.");
  }
  if (response.ok) return response.json();
  const problem = await response.json().catch(() => ({}));
  throw new Problem(response.status, problem.detail ?? `The server answered with status ${response.status}.`);
}

const askReport = (parameters) => ask(`report?${new URLSearchParams(parameters)}`);

// ---- Signing in and out

async function signIn(event) {
  event.preventDefault();
  const token = $("token").value.trim();
  try {
    if (!/^[\x21-\x7e]+$/.test(token)) throw new Problem(401, WRONG_TOKEN); // fetch would refuse it as a header
    await ask("status", { token });
  } catch (problem) {
    return say(problem.status === 401 ? WRONG_TOKEN : problem.message, "error");
  }
  sessionStorage.setItem(TOKEN, token);
  showSignedIn(true);
  $("dashboard").focus();
  return refresh();
}

function signOut(message = "Signed out.", kind = "") {
  sessionStorage.removeItem(TOKEN);
  round += 1;
  plot = charted = null;
  $("dashboard").replaceWith(BLANK.cloneNode(true)); // no number is left in the page
  showSignedIn(false);
  say(message, kind);
  $("token").focus();
}

function showSignedIn(signedIn) {
  $("token").value = "";
  $("sign-in").hidden = signedIn;
  $("sign-out").hidden = !signedIn;
  $("toolbar").hidden = !signedIn;
  $("dashboard").hidden = true; // until there are numbers to show
  say(signedIn ? "Loading…" : "");
}

// ---- Messages

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
  const range = chosenRange();
  try {
    const [status, chart, ...tops] = await Promise.all([
      ask("status"),
      askReport(range),
      ...Object.keys(TOPS).map((by) => askReport({ ...range, interval: "none", by, limit: 10 })),
    ]);
    if (mine !== round) return false;
    show(status, chart, tops);
    say("");
    return true;
  } catch (problem) {
    if (mine === round) complain(problem);
    return false;
  }
}

function refreshIfDue() {
  if (sessionStorage.getItem(TOKEN) && !document.hidden && Date.now() - refreshedAt > REFRESH_MS - 1000) refresh();
}

async function fold() {
  const button = $("fold");
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  say("Folding…");
  try {
    const { generation } = await ask("fold", { method: "POST" });
    if (await refresh()) say(`Folded. Generation ${generation} counts every event accepted before.`);
  } catch (problem) {
    if (sessionStorage.getItem(TOKEN)) complain(problem);
  } finally {
    button.removeAttribute("aria-disabled");
  }
}

function chosenRange() {
  const { days, interval } = RANGES[document.querySelector("#range input:checked").value];
  const today = new Date();
  const first = new Date(today.getFullYear(), today.getMonth(), today.getDate() - days + 1);
  return { from: isoDate(first), to: isoDate(today), tz: ZONE, interval };
}

// ---- Showing

function show(status, chart, tops) {
  $("dashboard").hidden = false;
  showTotals(chart, tops, status);
  showEmpty(chart, status);
  if (!$("report").hidden) {
    showChart(chart);
    Object.entries(TOPS).forEach(([by, absent], i) => fillTable($(`top-${by}`), tops[i].rows, (row) => row.value ?? absent));
  }
  showWarnings(status);
  showStatus(status);
}

function showTotals(chart, tops, status) {
  $("visitors").textContent = count(chart.total.visitors);
  $("events").textContent = count(chart.total.events);
  const reasons = new Set([chart, ...tops].map((report) => report.reason).filter(Boolean));
  $("reason").textContent = [...reasons].map((reason) => `“–” where a number cannot be given: ${reason}.`).join(" ");
  const folded = chart.generation
    ? `Folded ${duration(status.lag_s)} ago: generation ${count(chart.generation)}, as of ${moment(chart.as_of)}.`
    : "Nothing has been folded yet.";
  $("freshness").textContent = `${folded} Times are in ${ZONE}. Known bots are left out.`;
}

function showEmpty(chart, status) {
  const { accepted, not_yet_folded: waiting } = status.balance;
  const isEmpty = chart.total.events === 0;
  $("empty").hidden = !isEmpty;
  $("report").hidden = isEmpty;
  $("first-event").hidden = accepted > 0;
  $("empty-title").textContent = accepted > 0 ? "No events in this time" : "No events yet";
  if (accepted === 0) $("empty-text").textContent = "Foldlog is ready. This is how to send the first event:";
  else if (waiting > 0) $("empty-text").textContent = `${count(waiting)} accepted, not yet folded. “Fold now” counts them at once.`;
  else $("empty-text").textContent = status.days ? `There is data from ${status.days.first} to ${status.days.last} (UTC).` : "";
}

function showWarnings({ balance, disk, segments, last_retention: retention }) {
  const missing = Object.values(segments.missing).flat().length;
  const found = [
    balance.difference !== 0 && `${unbalanced(balance)} Run: foldlog verify`,
    disk.free_bytes < disk.reserve_bytes && `The disk is nearly full (${bytes(disk.free_bytes)} free): new events are refused.`,
    segments.damaged > 0 && `Damaged segments: ${count(segments.damaged)}. What could not be read is in quarantine/.`,
    missing > 0 && `Segments missing from the log: ${count(missing)}. Run: foldlog verify`,
    retention.skipped && `Retention deleted nothing: ${retention.skipped}.`,
  ].filter(Boolean);
  const shown = [...$("warnings").children].map((item) => item.textContent);
  if (found.join("\n") === shown.join("\n")) return; // said already; a screen reader need not hear it every minute
  $("warnings").replaceChildren(...found.map((text) => element("li", text)));
}

function showStatus({ balance, disk, segments, lag_s: lag, generation, last_fold: last }) {
  fillList($("status-fold"), {
    Lag: lag === null ? "–" : duration(lag),
    Generation: count(generation),
    "Last pass": `${count(last.lines)} events in ${last.seconds} s`,
    "Segments waiting": count(segments.sealed_unfolded),
  });
  fillList($("status-balance"), {
    Accepted: count(balance.accepted),
    Counted: count(balance.counted),
    Duplicates: count(balance.duplicates),
    Quarantined: count(balance.quarantined),
    "Not yet folded": count(balance.not_yet_folded),
  });
  $("verdict").textContent = balance.difference === 0 ? "It adds up: no accepted event is missing." : unbalanced(balance);
  $("verdict").className = balance.difference === 0 ? "good" : "bad";
  fillList($("status-disk"), {
    Free: bytes(disk.free_bytes),
    Log: bytes(disk.log_bytes),
    Archive: bytes(disk.archive_bytes),
    Counters: bytes(disk.counters_bytes),
  });
}

function fillTable(table, rows, label) {
  const most = Math.max(1, ...rows.map((row) => row.events));
  table.tBodies[0].replaceChildren(...rows.map((row) => {
    const line = element("tr", element("th", element("bdi", label(row))), element("td", count(row.visitors)), element("td", count(row.events)));
    line.cells[0].scope = "row";
    line.classList.toggle("absent", row.value === null);
    line.style.setProperty("--share", `${(100 * row.events) / most}%`);
    return line;
  }));
}

function fillList(list, pairs) {
  list.replaceChildren(...Object.entries(pairs).map(([name, text]) => element("div", element("dt", name), element("dd", text))));
}

function element(tag, ...children) {
  const made = document.createElement(tag);
  made.append(...children); // strings become text nodes
  return made;
}

// ---- The chart

function showChart(report) {
  charted = report;
  const begun = report.rows.filter((row) => Date.parse(row.time) <= Date.parse(report.as_of)); // the rest is unknown, not 0
  const hourly = report.interval === "hour";
  const ends = [...report.rows.slice(1).map((row) => row.time), report.to];
  const label = (row) => (hourly ? hours(row.time, ends[report.rows.indexOf(row)]) : day(row.time));
  $("chart-title").textContent = `Visitors and events by ${report.interval}`;
  fillTable($("chart-table"), [...begun].reverse(), label);
  plot?.destroy();
  plot = new uPlot(chartOptions(report, begun, label), chartData(report, begun), $("chart"));
}

function chartData(report, begun) {
  const column = (name) => report.rows.map((_, i) => begun[i]?.[name] ?? null);
  return [report.rows.map((row) => seconds(row.time)), column("events"), column("visitors")];
}

function chartOptions(report, begun, label) {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const axis = { stroke: colour("muted"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  const bars = (name, fill) => ({
    label: name,
    fill: colour(fill),
    width: 0,
    paths: uPlot.paths.bars({ size: [0.8, Infinity], align: 1 }), // a bar begins where its hour begins
    points: { show: false },
    value: (_, number) => count(number),
  });
  return {
    width: $("chart").clientWidth,
    height: 260,
    scales: {
      x: { range: () => [seconds(report.from), seconds(report.to)] },
      y: { range: (_, low, high) => [0, Math.max(4, high * 1.05)] },
    },
    axes: [
      { ...axis, grid: { show: false }, space: 60, values: (_, ticks, __, ___, step) => ticks.map((tick) => tickLabel(tick, step)) },
      { ...axis, size: 48, incrs: wholeSteps(), values: (_, ticks) => ticks.map(compact) },
    ],
    series: [
      { label: report.interval === "hour" ? "Hour" : "Day", value: (_, __, ___, i) => (report.rows[i] ? label(report.rows[i]) : "point at a bar") },
      bars("Events", "events"),
      bars("Visitors", "visitors"),
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

const wholeSteps = () => Array.from({ length: 12 }, (_, power) => [1, 2, 5].map((n) => n * 10 ** power)).flat();

function tickLabel(tick, step) {
  const at = new Date(tick * 1000);
  const isMidnight = at.getHours() === 0 && at.getMinutes() === 0;
  return step >= 86_400 || isMidnight ? DATE.format(at) : TIME.format(at);
}

function fitChart() {
  if (plot && $("chart").clientWidth) plot.setSize({ width: $("chart").clientWidth, height: plot.height });
}

// ---- Numbers and times as text, in the language of the browser

const NUMBER = new Intl.NumberFormat();
const COMPACT = new Intl.NumberFormat(undefined, { notation: "compact" });
const DATE = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short" });
const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

const count = (number) => (number === null || number === undefined ? "–" : NUMBER.format(number));
const compact = (number) => COMPACT.format(number);
const seconds = (time) => Date.parse(time) / 1000;
const day = (time) => DAY.format(new Date(time));
const hours = (from, to) => `${day(from)}, ${TIME.format(new Date(from))}–${TIME.format(new Date(to))}`;
const moment = (time) => MOMENT.format(new Date(time));
const unbalanced = ({ difference }) => `It does not add up: ${count(Math.abs(difference))} ${difference > 0 ? "accepted events are missing" : "events too many"}.`;

function isoDate(date) {
  const padded = (number) => String(number).padStart(2, "0");
  return `${date.getFullYear()}-${padded(date.getMonth() + 1)}-${padded(date.getDate())}`;
}

function bytes(number) {
  const power = number < 1 ? 0 : Math.min(4, Math.floor(Math.log2(number) / 10));
  const shown = (number / 1024 ** power).toLocaleString(undefined, { maximumFractionDigits: power && number < 10 * 1024 ** power ? 1 : 0 });
  return `${shown} ${["B", "KiB", "MiB", "GiB", "TiB"][power]}`;
}

function duration(total) {
  if (total < 120) return `${Math.round(total)} s`;
  return total < 7200 ? `${Math.round(total / 60)} min` : `${Math.round(total / 3600)} h`;
}

function browserZone() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return zone && zone !== "Etc/Unknown" ? zone : "UTC";
}

// ---- Beginning

function start() {
  document.querySelectorAll(".origin").forEach((place) => { place.textContent = location.origin; });
  $("sign-in").addEventListener("submit", signIn);
  $("sign-out").addEventListener("click", () => signOut());
  $("fold").addEventListener("click", fold);
  $("range").addEventListener("change", refresh);
  document.addEventListener("visibilitychange", refreshIfDue);
  setInterval(refreshIfDue, REFRESH_MS);
  addEventListener("resize", fitChart);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charted && showChart(charted));
  const token = sessionStorage.getItem(TOKEN);
  showSignedIn(Boolean(token));
  if (token) refresh();
}

start();
