// The sample shop of `foldlog demo`: pages in the fragment of the address, a basket, and a banner that asks first.
// docs/demo.md says what of it Foldlog counts, docs/tracker.md how a page of yours does the same.

"use strict";

window.foldlog ??= Object.assign((...event) => foldlog.q.push(event), { q: [], consent: (yes) => (foldlog.said = yes) });

const TEAS = [
  { id: "assam", name: "Assam Harmutty", price: 9.5, colour: "#8c3b24", note: "Malty and strong, good with milk. 100 g." },
  { id: "darjeeling", name: "Darjeeling First Flush", price: 19, colour: "#c2912e", note: "The first leaves of spring: flowers and muscatel. 100 g." },
  { id: "sencha", name: "Sencha Kirisakura", price: 14.5, colour: "#3f8a57", note: "Steamed, grassy, a little sweet. Water at 70 °C. 100 g." },
  { id: "gyokuro", name: "Gyokuro Hikari", price: 29, colour: "#1f6b5b", note: "Shaded for three weeks before the harvest. 50 g." },
  { id: "oolong", name: "Milk Oolong", price: 17.5, colour: "#5d7f9e", note: "Half oxidised, soft as cream. Takes five infusions. 100 g." },
  { id: "earl-grey", name: "Earl Grey Blue", price: 8.5, colour: "#3d5a99", note: "Ceylon with bergamot and cornflowers. 100 g." },
  { id: "rooibos", name: "Rooibos Vanilla", price: 7, colour: "#b4552d", note: "No caffeine, for the evening. 100 g." },
  { id: "pu-erh", name: "Pu-Erh 2015", price: 24, colour: "#4a3a35", note: "Pressed and aged: earth, wood, dates. 200 g." },
];
const ANSWER = "demo-consent";
const MONEY = new Intl.NumberFormat(undefined, { style: "currency", currency: "EUR" });
const SVG = "http://www.w3.org/2000/svg";

const $ = (id) => document.getElementById(id);
const refuses = Boolean(navigator.globalPrivacyControl) || navigator.doNotTrack === "1";
let basket = [];

// ---- Building the page; every text enters it as text

function make(tag, fields = {}, ...inside) {
  const element = Object.assign(document.createElement(tag), fields);
  element.append(...inside);
  return element;
}

function tin(tea) {
  const shapes = [
    ["rect", { x: 22, y: 20, width: 76, height: 88, rx: 8, fill: tea.colour }],
    ["rect", { x: 28, y: 10, width: 64, height: 14, rx: 5, fill: tea.colour, opacity: 0.72 }],
    ["rect", { x: 32, y: 46, width: 56, height: 36, rx: 4, fill: "#fbf7ee" }],
    ["path", { d: "M46 74c0-14 10-20 28-20 0 14-8 20-19 20l-5 4z", fill: tea.colour }],
  ];
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("viewBox", "0 0 120 120");
  picture.setAttribute("aria-hidden", "true");
  for (const [name, attributes] of shapes) {
    const shape = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
    picture.append(shape);
  }
  return picture;
}

const card = (tea) =>
  make("a", { className: "card", href: `#/teas/${tea.id}` }, tin(tea), make("b", { textContent: tea.name }), make("span", { textContent: MONEY.format(tea.price) }));

const button = (textContent, onclick) => make("button", { type: "button", className: "primary", textContent, onclick });

const total = () => basket.reduce((sum, tea) => sum + tea.price, 0);

// ---- Pages

const PAGES = {
  "/": () => [
    make("h1", { textContent: "Tea, leaf by leaf" }),
    make("p", { className: "lead", textContent: "Eight teas that we drink ourselves. Packed on Tuesdays, with you by Friday." }),
    make("div", { className: "grid" }, ...TEAS.slice(0, 4).map(card)),
    make("p", {}, make("a", { href: "#/teas", textContent: "All teas" })),
  ],
  "/teas": () => [make("h1", { textContent: "All teas" }), make("div", { className: "grid" }, ...TEAS.map(card))],
  "/cart": () => [
    make("h1", { textContent: "Basket" }),
    ...(basket.length
      ? [
          make("ul", { className: "lines" }, ...basket.map((tea) => make("li", {}, make("span", { textContent: tea.name }), make("span", { textContent: MONEY.format(tea.price) })))),
          make("p", { className: "sum", textContent: `Together ${MONEY.format(total())}` }),
          button("To the checkout", () => go("/checkout")),
        ]
      : [make("p", { textContent: "Nothing in it yet." }), make("p", {}, make("a", { href: "#/teas", textContent: "Look at the teas" }))]),
  ],
  "/checkout": () => [
    make("h1", { textContent: "Checkout" }),
    make("p", { textContent: basket.length ? `${basket.length} in the basket, ${MONEY.format(total())} together. No name, no card: it is a sample.` : "The basket is empty." }),
    ...(basket.length ? [button("Place the order", order)] : []),
  ],
  "/thanks": () => [make("h1", { textContent: "Thank you" }), make("p", { textContent: "No tea is on its way, but the order is in the dashboard in some ten seconds, if you said yes." })],
};

function product(tea) {
  const text = make("div", {}, make("h1", { textContent: tea.name }), make("p", { textContent: tea.note }), make("p", { className: "sum", textContent: MONEY.format(tea.price) }), button("Add to basket", () => add(tea)), make("p", { id: "added", role: "status" }));
  return [make("article", { className: "product" }, tin(tea), text)];
}

function show() {
  const route = location.hash.slice(1) || "/";
  const tea = TEAS.find((each) => route === `/teas/${each.id}`);
  const page = tea ? product(tea) : (PAGES[route] ?? (() => [make("h1", { textContent: "There is no such page" })]))();
  $("page").replaceChildren(...page);
  $("count").textContent = basket.length;
  $("count").hidden = !basket.length;
}

const go = (route) => (location.hash = route);

// ---- What the shop counts besides page views

function add(tea) {
  basket.push(tea);
  foldlog("add_to_cart", { value: tea.price, props: { product: tea.name } });
  $("count").textContent = basket.length;
  $("count").hidden = false;
  $("added").textContent = "It is in the basket.";
}

function order() {
  foldlog("order", { value: Math.round(total() * 100) / 100, props: { products: basket.length, shipping: "post" } });
  basket = [];
  go("/thanks");
}

addEventListener("hashchange", () => {
  show();
  $("page").focus({ preventScroll: true });
  scrollTo(0, 0);
  if (location.hash === "#/checkout" && basket.length) foldlog("checkout");
});

// ---- Consent

function answer() {
  try {
    return localStorage[ANSWER] ?? "";
  } catch {
    return "";
  }
}

function say(yes) {
  try {
    localStorage[ANSWER] = yes ? "yes" : "no";
  } catch {} // then the banner comes again
  foldlog.consent(yes);
  tell(yes ? "yes" : "no");
}

function tell(said) {
  $("banner").hidden = refuses || said !== "";
  $("change").hidden = refuses || said === "";
  $("state").textContent = refuses
    ? "Your browser says no to tracking: nothing of you is counted."
    : { yes: "You said yes: pages, basket and order are counted.", no: "You said no: nothing of you is counted.", "": "You have not answered yet: nothing of you is counted." }[said];
}

$("accept").onclick = () => say(true);
$("decline").onclick = () => say(false);
$("change").onclick = () => say(answer() !== "yes");
if (answer()) foldlog.consent(answer() === "yes");
tell(answer());
show();
