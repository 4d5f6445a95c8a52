// A guided tour: a box above the view with a few sentences, a thing to try, and the way to the next stop. It leads
// through the page's own views, covers none of them, and remembers nothing.

import { attempt } from "./attempt.js";
import { baseRun } from "./changes.js";
import { el, fill } from "./dom.js";
import { findExamples, STOPS } from "./tour_stops.js";

const box = () => document.getElementById("tour-box");

let told = null; // the stop that the box tells of, while the tour is open
let arriving = null; // at a stop, "arrive" or "show": it is brought into sight as soon as the view is there

/** Let the box follow the app's stop, which the address leads to, too. */
export function watchTour(app) {
  app.on("place", () => follow(app));
  app.on("run", () => follow(app, true)); // the sentences name the tokens of the text
  app.on("shown", () => {
    mark(app.stop === null ? null : STOPS[app.stop].look);
    if (arriving && app.stop !== null) bringIntoSight(app.stop, arriving === "show");
    arriving = null;
  });
}

/** Begin the tour at its first stop. */
export function startTour(app) {
  goTo(app, 0).then(() => document.getElementById("tour-next")?.focus({ preventScroll: true }));
}

/** Close the tour. */
function endTour(app) {
  app.stop = null;
  app.replace(app.place);
}

/** Tell of the stop where the reader is, or of none. */
function follow(app, isOtherRun = false) {
  const { stop } = app;
  if (stop === told && !isOtherRun) return;
  if (stop === null && told !== null) {
    if (box().contains(document.activeElement)) document.getElementById("tour").focus();
    box().hidden = true;
    fill(box());
  }
  if (stop !== null && told === null) build(app);
  if (stop !== told) arriving ??= "arrive";
  told = stop;
  if (stop !== null) tell(app, stop);
}

/** The frame of the box is built once, so that the focus stays on its buttons from stop to stop. */
function build(app) {
  fill(box(),
    el("div", { class: "bar" },
      el("span", { id: "tour-count", class: "hint" }),
      el("span", { class: "grow" }),
      el("button", { id: "tour-back", onclick: () => goTo(app, app.stop - 1) }, "Previous stop"),
      el("button", { id: "tour-next", class: "main", onclick: () => (isLast(app.stop) ? endTour(app) : goTo(app, app.stop + 1)) }, "Next stop"),
      el("button", {
        id: "tour-again", title: "go to what this stop is about", onclick: () => goTo(app, app.stop, "show"),
      }, "Show it"),
      el("button", { id: "tour-close", onclick: () => endTour(app) }, "Close")),
    el("div", { id: "tour-text", "aria-live": "polite" }));
  box().onkeydown = (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    endTour(app);
  };
  box().hidden = false;
}

/** how: "show" leads to what the stop is about, even where that takes the box out of sight. */
async function goTo(app, stop, how = "arrive") {
  app.stop = stop;
  const found = await tell(app, stop);
  if (!found || app.stop !== stop) return;
  arriving = how;
  const before = app.place;
  const place = STOPS[stop].place(found);
  // On a small screen the panel would cover what the stop says: there it opens with "Show it".
  app.go(how === "show" || staysInSight() ? place : { ...place, why: undefined });
  if (app.place === before) app.replace(before); // it is there already; it is drawn again, and shown
}

/** Scroll to what a stop is about, below the box. On a small screen the box is read first, and "Show it" leads on. */
function bringIntoSight(stop, isAskedFor) {
  const target = document.querySelector(STOPS[stop].show ?? "#view > *");
  const stays = staysInSight();
  if (target && (stays || isAskedFor)) {
    const header = document.getElementById("top");
    const end = getComputedStyle(header).position === "sticky" ? header.offsetHeight : 0;
    scrollBy(0, target.getBoundingClientRect().top - end - (stays ? box().offsetHeight : 0) - 20);
    return;
  }
  const { top, bottom } = box().getBoundingClientRect();
  if (top < 0 || bottom > innerHeight) box().scrollIntoView({ block: "start" });
}

/** Whether the box stays above the view while it scrolls: on a small screen it does not. */
function staysInSight() {
  return getComputedStyle(box()).position === "sticky";
}

const examples = { run: null, found: null }; // of the present text, searched for once

/** Write the text of a stop into the box; return what the text shows best, or null if it cannot be found. */
async function tell(app, stop) {
  const { title, notebook, say, try: attemptThis } = STOPS[stop];
  const found = await attempt(app, async () => {
    const run = await baseRun(app);
    if (examples.run !== run.run) Object.assign(examples, { run: run.run, found: findExamples(app, run) });
    return examples.found;
  });
  if (!found) examples.run = null;
  if (!found || stop !== app.stop || box().hidden) return found;
  document.getElementById("tour-count").textContent = `Stop ${stop + 1} of ${STOPS.length}`;
  document.getElementById("tour-back").disabled = stop === 0;
  document.getElementById("tour-next").textContent = isLast(stop) ? "Finish" : "Next stop";
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
