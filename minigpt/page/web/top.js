// The header: the text and the model that runs on it, the tabs of the views, and what is changed in this run.

import { attempt } from "./attempt.js";
import { el, fill, percent, token } from "./dom.js";
import { withoutCopies } from "./changes.js";
import { startTour } from "./tour.js";
import { VIEWS, viewOf } from "./views.js";

const at = (id) => document.getElementById(id);

/** Build the header once. updateTop() fills in the present run, so that the focus and the height stay as they are. */
export function buildTop(app, element) {
  const { live, models, model: first } = app.start;
  const text = el("textarea", {
    id: "text", rows: "1", dir: "auto", "aria-label": "text", spellcheck: "false", readonly: !live,
    title: live ? "Enter runs the model, Shift + Enter begins a new line"
      : "a saved page holds one text; `minigpt step --open` takes any",
  });
  const submit = (event) => {
    event?.preventDefault();
    if (live) runText(app, text.value);
  };
  text.addEventListener("keydown", (event) => {
    // While a Chinese or Japanese word is being composed, Enter accepts it and belongs to the input method.
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
  });
  const choose = (event) => runText(app, text.value, event.target.value);
  const model = el("select", { id: "model", "aria-label": "model", onchange: choose },
    [...new Set([first, ...models])].map((name) => el("option", { value: name }, name)));
  fill(element,
    el("form", { onsubmit: submit },
      el("h1", {}, "minigpt"), text,
      live && el("button", { id: "run" }, "Run"),
      live && model,
      el("button", {
        type: "button", id: "remove", title: "take the last token away", "aria-label": "take the last token away",
        onclick: () => removeToken(app),
      }, "−"),
      el("button", {
        type: "button", id: "add", title: "add the most probable token to the text (Space)", onclick: () => addToken(app),
      }, "+ next token")),
    el("div", { class: "tools" },
      el("button", { id: "back", title: "back to where you were (Backspace)", onclick: () => app.back() }, "Back"),
      el("button", { id: "tour", onclick: () => startTour(app) }, "Tour"),
      el("button", { id: "theme", title: "light or dark", "aria-label": "light or dark", onclick: switchTheme }, "◐")),
    // Its place is reserved even when nothing is changed: the header must not jump when something is.
    el("div", { id: "changed", role: "group", "aria-label": "changes in this run", class: "none" },
      el("button", { id: "show-changes", onclick: () => app.go({ view: "changes", ...kept(app.place) }) }, "no changes"),
      el("button", { id: "undo-all", onclick: () => attempt(app, () => app.newRun({ ids: app.run.ids })) }, "Undo all")),
    el("nav", { id: "tabs", "aria-label": "Views" },
      VIEWS.map(({ id, title }) => el("button", {
        dataset: { view: id }, onclick: () => app.go({ view: id, ...kept(app.place) }),
      }, title))));
  const measure = () => document.documentElement.style.setProperty("--top", `${element.offsetHeight}px`);
  new ResizeObserver(measure).observe(element);
}

/** Show the present run's text, model and changes. */
export function updateTop(app) {
  const { run } = app;
  at("text").value = run.text;
  at("text").scrollTo(at("text").scrollWidth, at("text").scrollHeight); // its end is what is continued
  if (at("model")) {
    const name = run.model ?? app.start.model;
    const isKnown = [...at("model").options].some((option) => option.value === name);
    if (!isKnown) at("model").append(el("option", { value: name }, name));
    at("model").value = name;
  }
  at("remove").disabled = run.ids.length < 2;
  const count = run.changes.length;
  at("changed").classList.toggle("none", !count);
  at("show-changes").textContent = count ? `${count} ${count === 1 ? "change" : "changes"}` : "no changes";
  document.body.classList.toggle("is-changed", count > 0);
}

/** Mark the tab of the present place. */
export function updateTabs(app) {
  for (const tab of document.querySelectorAll("#tabs button")) {
    const here = tab.dataset.view === viewOf(app.place).id;
    tab.setAttribute("aria-current", here ? "page" : "false");
    // On a phone the tabs are one row that scrolls.
    const row = tab.parentElement;
    if (here && row.scrollWidth > row.clientWidth) row.scrollLeft = tab.offsetLeft - row.offsetLeft - row.clientWidth / 3;
  }
  at("back").disabled = !app.history.canGoBack;
}

/** What a place hands on when the reader opens another tab. */
export function kept({ layer, head, token: position, name }) {
  const all = Object.entries({ layer, head, token: position, name });
  return Object.fromEntries(all.filter(([, value]) => value !== undefined));
}

/** Run the model on a text. Copied activations belong to the text before and are left behind. */
async function runText(app, text, model = app.run.model) {
  const before = app.run;
  const same = text === before.text && model === before.model;
  // Changes name blocks and heads that another model may not have.
  const changes = same ? before.changes : model === before.model ? withoutCopies(before.changes) : [];
  const run = await attempt(app, () => app.newRun({ text, model, changes }, (other) => inAnotherText(app, other)));
  if (!run && at("model")) at("model").value = app.run.model ?? app.start.model;
  if (run && changes.length < before.changes.length) app.say("changes that belong to the run before are removed");
}

/**
 * The place for a run that is about to be shown: with more or fewer tokens, the reader looks at its last one. In a text
 * of as many tokens the same place can be compared.
 */
function atTheEnd({ place, run: before }, run) {
  return run.ids.length === before.ids.length ? place : { ...place, token: undefined, key: undefined };
}

/** The same for another text, whose numbers are others, too. */
function inAnotherText(app, run) {
  const place = atTheEnd(app, run);
  return place === app.place ? place : { ...place, why: undefined };
}

const MAX_WAITING = 8; // tokens that can be asked for while one is being computed
let waiting = 0;

/** Add the most probable token to the text; asked for again in the meantime, one more after that. */
export async function addToken(app) {
  waiting = Math.min(waiting + 1, MAX_WAITING);
  if (waiting > 1) return; // the loop below is running
  while (waiting > 0) {
    if (!(await addOne(app))) waiting = 1;
    waiting--;
  }
}

/** Whether a token is being computed: a key that is held down asks for no more. */
export function isAdding() {
  return waiting > 0;
}

async function addOne(app) {
  const { run } = app;
  const T = run.ids.length;
  const { live } = app.start;
  if (T >= (live ? run : app.start).max_tokens) { // a saved page holds fewer than the model takes
    app.say(live ? `the text has ${T} tokens, as many as fit` : `this saved page holds ${T} tokens and no more`, true);
    return false;
  }
  return attempt(app, async () => {
    const { data } = await app.numbers("logits", [T - 1, null]);
    const first = data.reduce((top, x, i) => (x > data[top] ? i : top), 0);
    const best = app.source.nextToken?.(T) ?? first; // a saved page has one way on, whatever was the first guess
    const sum = data.reduce((total, x) => total + Math.exp(x - data[best]), 0);
    const grown = await app.newRun({ ids: [...run.ids, best], changes: withoutCopies(run.changes) }, (one) => atTheEnd(app, one));
    const hasDropped = grown.changes.length < run.changes.length;
    app.say(["added ", token(grown.tokens.at(-1)), ` with probability ${percent(1 / sum)}`,
      hasDropped ? "; copied activations belong to the text before and are removed" : ""]);
    return true;
  });
}

/** Take the last token away. */
async function removeToken(app) {
  const { ids, changes } = app.run;
  if (ids.length < 2) return;
  await attempt(app, () => app.newRun({ ids: ids.slice(0, -1), changes: withoutCopies(changes) }, (run) => atTheEnd(app, run)));
}

function switchTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
}
