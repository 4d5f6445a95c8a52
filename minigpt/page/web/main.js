// Starts everything and keeps the frame around the views up to date: header, map, panel, status line; and the keys.

import { App } from "./app.js";
import { whyNotHere } from "./browser.js";
import { baseRun } from "./changes.js";
import { el, fill, place as placeName } from "./dom.js";
import { cameByKeyboard, keepFocus } from "./focus.js";
import { openHistory } from "./history.js";
import { renderMap } from "./map.js";
import { openSource } from "./open_source.js";
import { renderPanel } from "./panel.js";
import { watchEdges } from "./sight.js";
import { addToken, buildTop, isAdding, updateTabs, updateTop } from "./top.js";
import { watchTour } from "./tour.js";
import { stepBy } from "./view_activation.js";
import { viewOf } from "./views.js";

const at = (id) => document.getElementById(id);

async function start() {
  const app = new App(await openSource(), openHistory());
  globalThis.minigpt = app; // for the browser's console: minigpt.run.tokens
  app.on("status", (sentence, bad, aboutPanel) => {
    fill(at("status"), sentence);
    at("status").classList.toggle("bad", Boolean(bad));
    at("status").classList.toggle("about-panel", Boolean(aboutPanel));
  });
  app.on("leave", () => at("view").setAttribute("aria-busy", "true"));
  app.on("stay", () => {
    at("view").setAttribute("aria-busy", "false");
    updateTabs(app);
  });
  app.on("place", () => {
    app.say("");
    show(app);
  });
  app.on("run", () => {
    app.say("");
    updateTop(app);
    if (!app.run.changes.length) baseRun(app); // it is what later changes are compared with
    show(app);
  });
  watchTour(app);
  watchEdges();
  // A link to a part of the page would lead out of a frame in a notebook; the focus can always be moved.
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    at("view").focus();
  });
  app.start = await app.source.ask({ ask: "start" });
  buildTop(app, at("top"));
  await app.follow(app.history.address);
  addEventListener("keydown", (event) => keys(app, event));
  // A button is pressed when Space is let go, in Firefox even if what it went down on was prevented.
  addEventListener("keyup", (event) => event.key === " " && !isTakenBySpace(event.target) && event.preventDefault());
  // A message is about what was done last. Whoever does the next thing has read it.
  addEventListener("change", () => app.say(""), true);
  addEventListener("click", (event) => event.target.closest("button, summary") && app.say(""), true);
}

let shown = 0;

/** Draw the view, the map and the panel of the present place. A slow answer to an earlier place is dropped. */
async function show(app) {
  const now = ++shown;
  const view = viewOf(app.place);
  document.title = titleOf(app, view);
  document.body.classList.toggle("is-asked", Boolean(app.place.why));
  updateTabs(app);
  redraw(at("map"), () => renderMap(app, at("map")));
  redraw(at("panel"), () => renderPanel(app, at("panel")));
  at("view").setAttribute("aria-busy", "true");
  let element;
  try {
    element = await view.render(app, app.place);
  } catch (error) {
    element = el("p", { class: "bad" }, error.message);
  }
  if (now !== shown) return;
  const isOther = at("view").dataset.view !== view.id;
  redraw(at("view"), () => fill(at("view"), element));
  at("view").setAttribute("aria-busy", "false");
  at("view").dataset.view = view.id;
  at("view").dataset.place = placeName(app.place.name ?? "", []);
  if (isOther) scrollToStart(at("tour-box").hidden ? at("view") : at("tour-box"));
  keepInSight(isOther);
  app.tell("shown");
}

/** Draw a part of the page anew without taking the focus away. */
function redraw(element, draw) {
  const restore = keepFocus(element);
  draw();
  restore();
}

/** Another view begins at its beginning, wherever the reader had scrolled to in the one before. */
function scrollToStart(element) {
  const isAbove = element.getBoundingClientRect().top < at("top").getBoundingClientRect().bottom;
  if (isAbove) element.scrollIntoView({ block: "start" });
}

let clicked = null; // how far down in the window the reader has clicked in the view

addEventListener("click", (event) => {
  clicked = at("view").contains(event.target) ? event.clientY : null;
}, true);

/**
 * On a small screen the panel comes up from below: what was clicked must not vanish behind it, nor, in another view, the
 * number that the panel explains.
 */
function keepInSight(isOther) {
  const end = at("panel").getBoundingClientRect().top;
  const isOver = getComputedStyle(at("panel")).position === "fixed";
  const marked = isOther && at("view").querySelector(".marked, .cursor:not([hidden])");
  if (isOver && marked) scrollBy(0, marked.getBoundingClientRect().bottom - end + 12);
  else if (isOver && clicked !== null && clicked > end - 30) scrollBy(0, clicked - end + 60);
  clicked = null;
}

/** The page's title says where the reader is. */
function titleOf(app, view) {
  const { name, why, layer, head } = app.place;
  const part = why ? placeName(why.name, why.index) : view.id === "activation" ? name ?? "embed"
    : [layer !== undefined && `block ${layer}`, head !== undefined && `head ${head}`].filter(Boolean).join(", ");
  return `${view.title}${part ? `: ${part}` : ""} · minigpt`;
}

function keys(app, event) {
  if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === " ") {
    if (isTakenBySpace(event.target)) return;
    event.preventDefault();
    if (!(event.repeat && isAdding())) addToken(app);
    return;
  }
  if (event.target.closest?.("textarea, input, select")) return;
  const actions = {
    ArrowRight: () => stepBy(app, 1),
    ArrowLeft: () => stepBy(app, -1),
    Backspace: () => app.back(),
    Escape: () => app.place.why && app.go({ ...app.place, why: undefined }),
  };
  if (!actions[event.key]) return;
  event.preventDefault();
  actions[event.key]();
}

/** Whether Space belongs to an element: to a field always, to a button only if the keyboard has led there. */
function isTakenBySpace(element) {
  if (element.closest?.('textarea, select, input:not([type="radio"], [type="checkbox"])')) return true;
  return cameByKeyboard() && Boolean(element.closest?.("button, a, summary, input"));
}

/** Say in place of the page why there is none. A notebook says it itself, beside its static picture. */
function refuse(obstacle) {
  fill(document.body, el("main", { id: "view" }, el("p", {}, obstacle)));
  if (document.documentElement.dataset.source === "frame") parent.postMessage({ obstacle }, "*");
}

const obstacle = whyNotHere();
if (obstacle) refuse(obstacle);
else start().catch((error) => fill(at("view"), el("p", { class: "bad" }, error.message)));

// Views take these from here.
export { attempt } from "./attempt.js";
export { addToken };
