// The frame around the views: prompt and model above, the model's map at the left, details at the right; and the keys.

import { App } from "./app.js";
import { el, fill, percent, place as placeName, token } from "./dom.js";
import { renderMap } from "./map.js";
import { renderPanel } from "./panel.js";
import { openSource } from "./open_source.js";
import { startTour } from "./tour.js";
import { stepBy } from "./view_activation.js";
import { VIEWS, viewOf } from "./views.js";

const MAX_NEW = 64; // tokens that the Space key adds at most to one text

const at = (id) => document.getElementById(id);

async function start() {
  const app = new App(await openSource());
  globalThis.minigpt = app; // for the browser's console: minigpt.run.tokens
  app.on("status", (sentence, bad) => {
    at("status").textContent = sentence;
    at("status").classList.toggle("bad", Boolean(bad));
  });
  app.on("place", () => show(app));
  app.on("run", () => {
    renderTop(app);
    show(app);
  });
  app.start = await app.source.ask({ ask: "start" });
  await app.newRun({ text: app.start.text });
  addEventListener("keydown", (event) => keys(app, event));
}

let shown = 0;

/** Draw the view, the map and the panel of the present place. A slow answer to an earlier place is dropped. */
async function show(app) {
  const now = ++shown;
  const view = viewOf(app.place);
  for (const tab of document.querySelectorAll("#tabs button")) {
    tab.setAttribute("aria-current", tab.dataset.view === view.id ? "page" : "false");
  }
  at("back").disabled = !app.history.length;
  renderMap(app, at("map"));
  renderPanel(app, at("panel"));
  try {
    const element = await view.render(app, app.place);
    if (now !== shown) return;
    const focused = document.activeElement?.id;
    fill(at("view"), element);
    at("view").dataset.view = view.id;
    at("view").dataset.place = placeName(app.place.name ?? "", []);
    if (focused && document.activeElement?.id !== focused) at(focused)?.focus();
  } catch (error) {
    if (now === shown) fill(at("view"), el("p", { class: "bad" }, error.message));
  }
}

function renderTop(app) {
  const { start, run } = app;
  const text = el("textarea", { id: "text", rows: "1", "aria-label": "text", spellcheck: "false", readonly: !start.live }, run.text);
  const submit = async (event) => {
    event?.preventDefault();
    await attempt(app, () => app.newRun({ text: text.value, changes: run.changes }));
  };
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey) submit(event);
  });
  const model = el("select", { id: "model", "aria-label": "model", onchange: (event) => attempt(app, () => app.newRun({ text: text.value, model: event.target.value })) },
    [...new Set([run.model ?? start.model, ...start.models])].map((name) => el("option", { selected: name === (run.model ?? start.model) }, name)));
  fill(at("top"),
    el("form", { onsubmit: submit },
      el("strong", {}, "minigpt"), text,
      start.live && el("button", { id: "run" }, "Run"),
      start.live && model,
      el("button", { type: "button", id: "add", title: "add the most probable token to the text (Space)", onclick: () => addToken(app) }, "+ next token")),
    el("div", { class: "tools" },
      el("button", { id: "back", title: "back to where you were (Backspace)", onclick: () => app.back() }, "Back"),
      el("button", { id: "tour", onclick: () => startTour(app) }, "Tour"),
      el("button", { id: "theme", title: "light or dark", onclick: switchTheme }, "Light/dark")),
    el("div", { id: "tabs", role: "navigation", "aria-label": "Views" },
      VIEWS.map((view) => el("button", { dataset: { view: view.id }, onclick: () => app.go({ view: view.id, ...kept(app.place) }) }, view.title))),
    run.changes.length > 0 && el("p", { class: "changed", role: "note" },
      `${run.changes.length} change${run.changes.length > 1 ? "s" : ""} in this run: `, el("code", {}, run.code.split("\n").at(-1)), " ",
      el("button", { onclick: () => app.go({ view: "changes" }) }, "show"),
      el("button", { onclick: () => attempt(app, () => app.newRun({ ids: run.ids })) }, "undo all")));
}

/** What a place hands on when the reader opens another tab. */
function kept({ layer, head, token: at, name }) {
  return Object.fromEntries(Object.entries({ layer, head, token: at, name }).filter(([, value]) => value !== undefined));
}

/** Do something that may fail; say what went wrong. */
export async function attempt(app, work) {
  try {
    app.say("");
    return await work();
  } catch (error) {
    app.say(error.message, true);
    return null;
  }
}

/** Add the most probable token to the text. */
export async function addToken(app) {
  const { run } = app;
  const T = run.ids.length;
  if (T >= app.start.max_tokens || T >= app.config.n_positions) return app.say("the text has as many tokens as fit", true);
  const { data } = await app.numbers("logits", [T - 1, null]);
  const best = data.reduce((top, x, i) => (x > data[top] ? i : top), 0);
  const grown = await attempt(app, () => app.newRun({ ids: [...run.ids, best], changes: run.changes }));
  if (!grown) return null;
  const sum = data.reduce((total, x) => total + Math.exp(x - data[best]), 0);
  return app.say(`added “${grown.tokens.at(-1)}”, probability ${percent(1 / sum)}`);
}

function keys(app, event) {
  const typing = event.target.closest?.("textarea, input, select");
  if (typing || event.altKey || event.ctrlKey || event.metaKey) return;
  const onButton = event.target.closest?.("button, a, summary");
  const actions = {
    ArrowRight: () => stepBy(app, 1),
    ArrowLeft: () => stepBy(app, -1),
    Backspace: () => app.back(),
    Escape: () => app.place.why && app.go({ ...app.place, why: undefined }),
    " ": onButton ? null : () => addToken(app),
  };
  if (!actions[event.key]) return;
  event.preventDefault();
  actions[event.key]();
}

function switchTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
}

start().catch((error) => fill(at("view"), el("p", { class: "bad" }, error.message)));
