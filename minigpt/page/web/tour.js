// A guided tour: a box above the view with a few sentences, a thing to try, and the way to the next stop. It leads
// through the page's own views, covers none of them, and remembers nothing.

import { attempt } from "./attempt.js";
import { el, fill } from "./dom.js";
import { findExamples, STOPS } from "./tour_stops.js";

const box = () => document.getElementById("tour-box");

let at = null; // the stop, while the tour is open
let listening = false;
let isArriving = false; // at a stop: the box is brought into sight as soon as the view is there

/** Begin the tour at its first stop. */
export function startTour(app) {
  if (!listening) {
    listening = true;
    app.on("run", () => at !== null && tell(app, at)); // the sentences name the tokens of the text
    app.on("shown", () => {
      mark(at === null ? null : STOPS[at].look);
      if (isArriving) bringIntoSight();
      isArriving = false;
    });
  }
  build(app);
  box().hidden = false;
  goTo(app, 0).then(() => document.getElementById("tour-next").focus({ preventScroll: true }));
}

/** Close the tour; the focus goes back to the button that opened it. */
function endTour() {
  at = null;
  box().hidden = true;
  fill(box());
  mark(null);
  document.getElementById("tour").focus();
}

/** The frame of the box is built once, so that the focus stays on its buttons from stop to stop. */
function build(app) {
  fill(box(),
    el("div", { class: "bar" },
      el("span", { id: "tour-count", class: "hint" }),
      el("span", { class: "grow" }),
      el("button", { id: "tour-back", onclick: () => goTo(app, at - 1) }, "Back"),
      el("button", { id: "tour-next", class: "main", onclick: () => (isLast(at) ? endTour() : goTo(app, at + 1)) }, "Next"),
      el("button", {
        id: "tour-again", title: "back to the place that this stop is about", onclick: () => goTo(app, at),
      }, "Show it again"),
      el("button", { id: "tour-close", onclick: endTour }, "Close")),
    el("div", { id: "tour-text", "aria-live": "polite" }));
  box().onkeydown = (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    endTour();
  };
}

async function goTo(app, stop) {
  at = Math.max(0, stop);
  const found = await tell(app, at);
  if (!found || at === null) return;
  isArriving = true;
  const before = app.place;
  app.go(STOPS[at].place(found));
  if (app.place === before) app.replace(before); // it is there already; it is drawn again, and shown
}

/** On a small screen the box may be above the window, or behind the panel that comes up from below. */
function bringIntoSight() {
  const { top, bottom } = box().getBoundingClientRect();
  const panel = document.getElementById("panel");
  const end = getComputedStyle(panel).position === "fixed" ? panel.getBoundingClientRect().top : innerHeight;
  if (top < 0 || bottom > end) box().scrollIntoView({ block: "start" });
}

const examples = { run: null, found: null }; // of the present run, searched for once

/** Write the text of a stop. */
async function tell(app, stop) {
  const { title, notebook, say, try: attemptThis } = STOPS[stop];
  if (examples.run !== app.run.run) Object.assign(examples, { run: app.run.run, found: findExamples(app) });
  const found = await attempt(app, () => examples.found);
  if (!found) examples.run = null;
  if (!found || stop !== at) return found;
  document.getElementById("tour-count").textContent = `Stop ${stop + 1} of ${STOPS.length}`;
  document.getElementById("tour-back").disabled = stop === 0;
  document.getElementById("tour-next").textContent = isLast(stop) ? "Finish" : "Next";
  fill(document.getElementById("tour-text"),
    el("h2", {}, title), el("p", {}, say(found)),
    el("p", { class: "try" }, el("strong", {}, "Try: "), attemptThis(found)),
    el("p", { class: "hint" }, "More in ", el("code", {}, `notebooks/${notebook}.ipynb`)));
  return found;
}

function isLast(stop) {
  return stop === STOPS.length - 1;
}

/** Mark what the stop talks about. */
function mark(selector) {
  for (const element of document.querySelectorAll(".tour-look")) element.classList.remove("tour-look");
  if (selector) document.querySelector(selector)?.classList.add("tour-look");
}
