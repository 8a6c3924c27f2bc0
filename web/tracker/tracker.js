// Foldlog's script: docs/tracker.md says what it sends, and when. MIT License.
// `let` throughout, and functions in this order: so it compresses best, to less than 2 KB.
(() => {
  let script = document.currentScript;
  let early = window.foldlog || {};
  if (!script || early.ignore) return; // it runs already
  let set = script.dataset;
  let endpoint = new URL(set.endpoint || "/v1/events", script.src).href;
  let KEY = "foldlog", EACH = "foldlog:", MOST = 50, HOUR = 36e5;
  let FILES = /\.(csv|dmg|docx?|exe|gz|mp[34]|pdf|pptx?|xlsx?|zip)$/i;
  let refused = navigator.globalPrivacyControl || navigator.doNotTrack == 1;
  let referrer = document.referrer.split(/[?#]/)[0] || undefined;
  let lasts = "keepalive" in Request.prototype;

  let consent = set.consent == "wait" ? null : set.consent == "granted" || undefined; // null waits, undefined: no word
  let queue = []; // what no answer came for
  let sending = []; // what of it is on its way
  let delay = 0, notBefore = 0, timer;
  let at; // path and query of the last view; none while the page is loaded in advance
  let engaged = 0, since; // milliseconds in sight with the focus, since when

  // Storage throws where it is forbidden or full, and may hold anything.
  let attempt = (work) => {
    try { return work(); } catch (e) {}
  };
  let click = (event) => {
    if (!event.target.closest || event.button > 1) return;
    let named = event.target.closest("[data-foldlog-event]");
    let link = event.target.closest("a[href]");
    let props = {};
    if (named) {
      for (let { name, value } of named.attributes) if (/^data-foldlog-prop-./.test(name)) props[name.slice(18)] = value;
      return add(named.dataset.foldlogEvent, { props, value: parseFloat(named.dataset.foldlogValue) });
    }
    if (!link || !link.host || set.links == "off") return;
    props.url = link.origin + link.pathname;
    if (link.hasAttribute("download") || FILES.test(props.url)) add("download", { props });
    else if (link.host != location.host) add("outbound", { props });
  };

  let recall = (key) => attempt(() => JSON.parse(localStorage[key])) || {};
  let note = (key, value) =>
    attempt(() => {
      value ? (localStorage[key] = JSON.stringify(value)) : delete localStorage[key];
    });
  let isSound = (e, key) => key == EACH + e.id && e.time > Date.now() - 25e7;
  let flush = (leaving) => {
    let wait = notBefore - Date.now();
    if (!queue[0] || consent === null || !at) return;
    if (wait > 0 && wait <= HOUR) return plan(wait); // more than that: the clock was set
    if (sending[0] && !leaving) return;
    let batch = fitting(lasts ? without(queue, sending) : queue);
    if (!batch[0]) return;
    let body = JSON.stringify({ sent_at: Date.now(), consent: consent && "granted", events: batch });
    if (leaving && !lasts) return navigator.sendBeacon(endpoint, body);
    sending = sending.concat(batch);
    fetch(endpoint, { method: "POST", body, keepalive: true })
      .catch(() => 0)
      .then((answer) => {
        sending = without(sending, batch);
        if (!answer || /408|429|5../.test(answer.status)) {
          let asked = Math.min(answer && answer.headers.get("Retry-After") * 1e3 || 0, HOUR);
          delay = Math.min(delay * 2 || 2e3, 1e6);
          notBefore = Date.now() + asked;
          plan(asked + delay * (1 + Math.random()));
          keep();
        } else {
          delay = notBefore = 0;
          queue = without(queue, batch);
          batch.forEach((e) => note(EACH + e.id));
          keep();
          flush();
          answer.json().then((said) => (said.rejected && !said.rejected[0]) || warn(said), () => 0);
        }
      });
  };

  let size = (event) => new Blob([JSON.stringify(event)]).size;
  let fitting = (events, room = 5e4) => events.filter((e) => (room -= size(e)) > 0);
  let without = (events, others) => events.filter((e) => others.every((other) => other.id != e.id));


  // Each event has a key of its own: tabs that open and close at once do not write each other's. What is none of
  // these any more is removed.
  let kept = (none) =>
    attempt(() =>
      Object.keys(localStorage)
        .filter((key) => /^foldlog:/.test(key) && ((!none && isSound(recall(key), key)) || note(key)))
        .map(recall)
    ) || [];
  let forget = () => {
    queue = kept(1);
    recall(KEY).ignore || note(KEY);
  };


  let resume = () => {
    let { ignore, after } = recall(KEY);
    if (refused || ignore) return forget();
    notBefore = after || notBefore;
    queue = without(kept(), queue).concat(queue).slice(0, MOST);
    keep();
    plan(0);
  };


  let hide = () => {
    leave();
    flush(1);
  };

  let add = (name, more) => {
    if (refused || recall(KEY).ignore || consent === false || queue.length >= MOST) return;
    try {
      let time = Date.now();
      let event = { id: time + "-" + Math.random() * 2 ** 53, name, time, url: address(look()), ...more };
      event = JSON.parse(JSON.stringify(event));
      if (size(event) > 32768) throw "too large";
      queue.push(event);
      keep();
      plan(0);
    } catch (e) {
      warn(name, e);
    }
  };

  let plan = (ms) => {
    clearTimeout(timer);
    timer = setTimeout(flush, ms);
  };

  // Of a query only utm_ and what data-query names: the rest may be about a person.
  let look = () => {
    let [, route = "", more = ""] = ("hash" in set && /^#!?(\/[^?]*)\??(.*)/.exec(location.hash)) || [];
    return [location.pathname.replace(route && /\/$/, "") + route, location.search.slice(1) + "&" + more];
  };
  let watch = () => {
    let now = performance.now();
    if (since) engaged += now - since;
    since = !document.hidden && document.hasFocus() && now;
  };
  let view = (referrer) => {
    leave();
    at = look();
    add("pageview", { referrer });
  };
  let moved = (replaced) => {
    let [path, query] = look();
    if (path != at[0] || (query != at[1] && !replaced)) view();
    at = [path, query];
  };

  let on = (names, listener) => names.split(" ").forEach((name) => addEventListener(name, listener, true));
  let address = ([path, query]) => {
    let named = (set.query || " ").split(",");
    let parts = query.split(/[&;]/).filter((part) => /^utm_/i.test(part) || named.includes(part.split("=")[0]));
    return location.origin + path + (parts[0] ? "?" + parts.join("&") : "");
  };

  let leave = () => {
    watch();
    if ("engaged" in set && engaged >= 1e3) add("engaged", { url: address(at), value: Math.round(engaged / 1e3) });
    engaged = 0;
  };
  // Only with consent does anything outlast the page, and only so much of it.
  let keep = () => {
    if (recall(KEY).ignore || !consent || !at) return;
    note(KEY, notBefore && { after: notBefore });
    fitting(queue).forEach((e) => note(EACH + e.id, e));
  };

  let warn = (...said) => console.warn(EACH, ...said);

  let start = () => {
    if (consent || refused) resume();
    view(referrer);
    ["pushState", "replaceState"].forEach((name) => {
      let original = history[name];
      history[name] = function () {
        original.apply(this, arguments);
        moved(name == "replaceState");
      };
    });
    on("popstate hashchange", () => moved());
    on("pageshow", (event) => {
      // Back, from the browser's memory
      if (event.persisted) (sending = []), view();
    });
    on("online", () => flush());
    on("focus blur", watch);
    on("pagehide visibilitychange", hide);
    on("click auxclick", click);
  };


  let foldlog = (window.foldlog = (name, { props, value } = {}) => add(name, { props, value }));
  foldlog.consent = (yes) => {
    let before = consent;
    consent = yes === true;
    if (!consent) return forget();
    resume();
    if (before === false && at) view(referrer);
  };
  foldlog.ignore = (yes) => {
    forget();
    note(KEY, yes !== false && { ignore: 1 });
  };

  if ("said" in early) foldlog.consent(early.said);
  document.prerendering ? on("prerenderingchange", start) : start();
  (early.q || []).forEach((given) => foldlog(...given));
})();
