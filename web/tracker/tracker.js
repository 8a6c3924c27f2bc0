// Foldlog's script: docs/tracker.md says what it sends, and when. MIT License.
(() => {
  const script = document.currentScript;
  const early = window.foldlog || {};
  if (!script || early.ignore) return; // it runs already
  const set = script.dataset;
  const endpoint = new URL(set.endpoint || "/v1/events", script.src).href;
  const KEY = "foldlog", MOST = 50, HOUR = 36e5;
  const FILES = /\.(csv|dmg|docx?|exe|gz|mp[34]|pdf|pptx?|xlsx?|zip)$/i;
  const refused = navigator.globalPrivacyControl || navigator.doNotTrack == 1;
  const referrer = document.referrer.split(/[?#]/)[0] || undefined;
  const lasts = "keepalive" in Request.prototype;

  let consent = set.consent == "wait" ? null : set.consent == "granted" || undefined; // null waits, undefined: no word
  let queue = []; // what no answer came for
  let sending = []; // what of it is on its way
  let delay = 0, notBefore = 0, timer;
  let at; // path and query of the last view; none while the page is loaded in advance
  let engaged = 0, since; // milliseconds in sight with the focus, since when

  // Storage throws where it is forbidden.
  const recall = () => {
    try { return JSON.parse(localStorage[KEY]) || {}; } catch (e) { return {}; }
  };
  const note = (value) => {
    try { value ? (localStorage[KEY] = JSON.stringify(value)) : delete localStorage[KEY]; } catch (e) {}
  };
  const forget = () => {
    queue = [];
    recall().ignore || note();
  };
  // What is on the device and not done, then what is here.
  const joined = (done) =>
    []
      .concat(recall().events)
      .filter((e) => e && e.time > Date.now() - 2592e5 && !queue.concat(done).some((other) => other.id == e.id))
      .concat(queue)
      .slice(0, MOST);

  // Only with consent does anything outlast the page, and only so much of it.
  const keep = (done) => {
    if (!consent || !at || recall().ignore) return;
    const events = joined(done);
    while (JSON.stringify(events).length > 6e4) events.pop();
    note(events[0] && { after: notBefore, events });
  };

  const warn = (...said) => console.warn("foldlog:", ...said);
  const size = (event) => new Blob([JSON.stringify(event)]).size;

  const add = (name, more) => {
    if (refused || recall().ignore || consent === false || queue.length >= MOST) return;
    try {
      const id = crypto.getRandomValues(new Uint32Array(4)).join("-");
      const event = JSON.parse(JSON.stringify({ id, name, time: Date.now(), url: address(look()), ...more }));
      if (size(event) > 32768) throw "too large";
      queue.push(event);
      keep([]);
      plan(0);
    } catch (e) {
      warn(name, e);
    }
  };

  const plan = (ms) => {
    clearTimeout(timer);
    timer = setTimeout(flush, ms);
  };

  const flush = (leaving) => {
    const wait = notBefore - Date.now();
    if (!queue[0] || consent === null || !at) return;
    if (wait > 0 && wait <= HOUR) return plan(wait); // more than that: the clock was set
    if (sending[0] && leaving !== true) return;
    let room = 5e4;
    const batch = queue.filter((e) => (!lasts || !sending.includes(e)) && (room -= size(e)) > 0);
    if (!batch[0]) return;
    const body = JSON.stringify({ sent_at: Date.now(), consent: consent && "granted", events: batch });
    if (leaving === true && !lasts) return navigator.sendBeacon(endpoint, body);
    sending = sending.concat(batch);
    fetch(endpoint, { method: "POST", body, keepalive: true })
      .catch(() => 0)
      .then((answer) => {
        sending = sending.filter((e) => !batch.includes(e));
        if (!answer || /408|429|5../.test(answer.status)) {
          const asked = Math.min(answer && answer.headers.get("Retry-After") * 1e3 || 0, HOUR);
          delay = Math.min(delay * 2 || 2e3, 1e6);
          notBefore = Date.now() + asked;
          plan(asked + delay * (1 + Math.random()));
          keep([]);
        } else {
          delay = notBefore = 0;
          queue = queue.filter((e) => !batch.includes(e));
          keep(batch);
          flush();
          answer.json().then((said) => (!answer.ok || said.rejected[0]) && warn(said)).catch(() => 0);
        }
      });
  };

  const resume = () => {
    if (refused || recall().ignore) return forget();
    notBefore = recall().after || notBefore;
    queue = joined([]);
    keep([]);
    plan(0);
  };

  // Of a query only utm_ and what data-query names: the rest may be about a person.
  const look = () => {
    const [, route = "", more = ""] = ("hash" in set && /^#!?(\/[^?]*)\??(.*)/.exec(location.hash)) || [];
    return [location.pathname.replace(route && /\/$/, "") + route, location.search.slice(1) + "&" + more];
  };
  const address = ([path, query]) => {
    const named = (set.query || " ").split(",");
    const parts = query.split(/[&;]/).filter((part) => /^utm_/i.test(part) || named.includes(part.split("=")[0]));
    return location.origin + path + (parts[0] ? "?" + parts.join("&") : "");
  };

  const view = (referrer) => {
    leave();
    at = look();
    add("pageview", { referrer });
  };
  const moved = (replaced) => {
    const [path, query] = look();
    if (path != at[0] || (query != at[1] && replaced !== true)) view();
    at = [path, query];
  };

  const watch = () => {
    const now = performance.now();
    if (since) engaged += now - since;
    since = !document.hidden && document.hasFocus() && now;
  };
  const leave = () => {
    watch();
    if ("engaged" in set && engaged >= 1e3) add("engaged", { url: address(at), value: Math.round(engaged / 1e3) });
    engaged = 0;
  };
  const hide = () => {
    leave();
    flush(true);
  };

  const click = (event) => {
    if (!event.target.closest || event.button > 1) return;
    const named = event.target.closest("[data-foldlog-event]");
    const link = event.target.closest("a[href]");
    const props = {};
    if (named) {
      for (const { name, value } of named.attributes) if (/^data-foldlog-prop-./.test(name)) props[name.slice(18)] = value;
      return add(named.dataset.foldlogEvent, { props, value: parseFloat(named.dataset.foldlogValue) });
    }
    if (!link || !link.host || set.links == "off") return;
    props.url = link.origin + link.pathname;
    if (link.hasAttribute("download") || FILES.test(props.url)) add("download", { props });
    else if (link.host != location.host) add("outbound", { props });
  };

  const on = (names, listener) => names.split(" ").forEach((name) => addEventListener(name, listener, true));
  const start = () => {
    if (consent || refused) resume();
    view(referrer);
    ["pushState", "replaceState"].forEach((name) => {
      const original = history[name];
      history[name] = function () {
        original.apply(this, arguments);
        moved(name == "replaceState");
      };
    });
    on("popstate hashchange", moved);
    on("pageshow", (event) => {
      if (!event.persisted) return;
      sending = [];
      view(); // Back, from the browser's memory
    });
    on("online", flush);
    on("focus blur", watch);
    on("pagehide visibilitychange", hide);
    on("click auxclick", click);
  };

  const foldlog = (window.foldlog = (name, { props, value } = {}) => add(name, { props, value }));
  foldlog.consent = (yes) => {
    const before = consent;
    consent = yes === true;
    if (!consent) return forget();
    resume();
    if (before === false && at) view(referrer);
  };
  foldlog.ignore = (yes) => {
    queue = [];
    note(yes !== false && { ignore: true });
  };

  if ("said" in early) foldlog.consent(early.said);
  document.prerendering ? on("prerenderingchange", start) : start();
  (early.q || []).forEach((given) => foldlog(...given));
})();
