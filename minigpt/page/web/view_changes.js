// Changing things: switch a head off, scale, copy, set a number; and what follows from it, down to the next token.

import { changeForm } from "./change_form.js";
import { baseRun, changeButton, headOff, inWords, isChanged, mlpOff, runWith } from "./changes.js";
import { codeBlock } from "./code_block.js";
import { el, fill, number, place as placeName, token, tokenText } from "./dom.js";
import { heatmap } from "./heatmap.js";
import {
  amount, askable, differencesOfRows, finePercent, headings, largestDifference, nextTokens, nextTokensTable, share,
} from "./outcome.js";

export { changeButton, headOff, mlpOff } from "./changes.js";

const MAX_NARROW = 8; // heads whose switches fit into half of the page

export const view = {
  id: "changes",
  title: "Changes",
  shows: (app) => (!app.run.changes.length ? ["logits"]
    : app.start.activations.map(({ name, in_block }) => (in_block ? `h.*.${name}` : name))),
  async render(app, place) {
    if (!app.start.live) return notHere(app);
    const base = await baseRun(app);
    const outcome = await nextTokens(app, base, app.run);
    const python = codeBlock(app, "The same in Python");
    python.set(`${app.run.python}\n\n${app.run.code}`);
    const switches = [el("h3", {}, "Switch parts off"), switchboard(app)];
    const isWide = app.config.n_head > MAX_NARROW;
    return el("section", { class: "changes" },
      el("h2", {}, "Change something, and see what follows"),
      el("p", {}, "An attention map shows where a head looks; only a change shows whether it matters. Every change runs the ",
        "same model on the same text again, and replaces one activation on the way."),
      verdict(app, outcome),
      isWide && switches,
      el("div", { class: "halves" },
        el("div", {},
          !isWide && switches,
          el("h3", {}, "Any other change"), changeForm(app, place)),
        el("div", {},
          el("h3", {}, "The next token, before and after"),
          nextTokensTable(app, outcome, ["before", "after"]), reason(app, outcome),
          el("h3", {}, "The changes of this run"), changeList(app), python.element)),
      downstream(app, base));
  },
};

/** A saved page cannot run the model. It says what can. */
function notHere(app) {
  const plain = /^[\p{L}\p{N} ,.;:?-]+$/u.test(app.run.text);
  const command = codeBlock(app, "In a terminal");
  command.set(`minigpt step ${plain ? `"${app.run.text}"` : '"your text"'} --open`);
  return el("section", { class: "changes" },
    el("h2", {}, "Change something, and see what follows"),
    el("p", {}, "This page is a saved run: it holds the numbers of one text, and nobody who could compute others. The live ",
      "page switches heads off, copies activations from another text, sets single numbers, and shows what changes ",
      "downstream. It opens with this command, or in a notebook."),
    command.element);
}

/** A button for every head and every MLP, the last block on top as in the map. */
function switchboard(app) {
  const { n_layer: L, n_head: H } = app.config;
  const cell = (change, words, label) => el("td", {},
    changeButton(app, change, isChanged(app, change) ? "off" : label, { "aria-label": `switch off ${words}` }));
  const rows = Array.from({ length: L }, (_, i) => L - 1 - i).map((layer) => el("tr", {},
    el("th", { scope: "row" }, `block ${layer}`),
    Array.from({ length: H }, (_, head) => cell(headOff(layer, head), `head ${head} of block ${layer}`, String(head))),
    cell(mlpOff(layer), `the MLP of block ${layer}`, "MLP")));
  const table = el("table", { class: "switches" },
    el("thead", {}, el("tr", {},
      el("td", {}), el("th", { scope: "colgroup", colspan: H }, H === 1 ? "head" : "heads"), el("th", { scope: "col" }, "MLP"))),
    el("tbody", {}, rows));
  return el("div", { class: "scrolling", tabindex: "0", role: "group", "aria-label": "switches" }, table);
}

/** The present changes, each with its number to alter and a button to remove it. */
function changeList(app) {
  const { changes } = app.run;
  if (!changes.length) {
    return el("p", { class: "hint change-list" }, "None yet. A switch above, or a number you click in any view, is a start.");
  }
  const put = (at, change) => runWith(app, changes.map((present, i) => (i === at ? change : present)));
  const field = (change, at, key) => el("label", {}, ` ${key} `, el("input", {
    type: "number", step: "any", id: `${key}-${at}`, value: change[key],
    onchange: ({ target }) => target.value !== "" && put(at, { ...change, [key]: target.valueAsNumber }),
  }));
  return el("ol", { class: "change-list" }, changes.map((change, at) => el("li", {},
    el("span", {}, inWords(app, change)),
    change.kind === "scale" && field(change, at, "factor"), change.kind === "set" && field(change, at, "value"),
    el("button", {
      type: "button", "aria-label": `remove: ${inWords(app, change)}`,
      onclick: () => runWith(app, changes.filter((_, i) => i !== at)),
    }, "Remove"))));
}

/** The most probable next token before the changes, and after them. */
function bestTokens({ rows }) {
  return [0, 1].map((side) => rows.reduce((a, b) => (b.p[side] > a.p[side] ? b : a)));
}

/** One sentence on what became of the next token; before any change, on what it is. */
function verdict(app, outcome) {
  const [before, after] = bestTokens(outcome);
  const [p, q] = [finePercent(before.p[0]), finePercent(after.p[1])];
  const words = !app.run.changes.length
    ? ["Unchanged, the model says ", token(before.text), ` (${p}). Switch a part off: does it still say so?`]
    : before.id === after.id
    ? ["The model still says ", token(before.text), `: ${p} before, ${q} after.`]
    : ["The model said ", token(before.text), ` (${p}); now it says `, token(after.text), ` (${q}).`];
  return el("p", { class: "verdict", id: "verdict" }, words);
}

const HARDLY = 0.05; // a difference of probabilities

/** If changes hardly move the probability of the best token: what became of its logit, and of its lead over the next best. */
function reason({ run }, outcome) {
  const { logits } = outcome;
  const [{ id, p }, best] = bestTokens(outcome);
  if (!run.changes.length || best.id !== id || Math.abs(p[1] - p[0]) >= HARDLY) return null;
  const [before, after] = logits.map((all) => all[id]);
  const difference = after - before;
  const lead = logits.map((all) => all[id] - all.reduce((most, x, i) => (i === id ? most : Math.max(most, x)), -Infinity));
  const isOff = run.changes.every(({ kind }) => kind === "zero");
  return el("p", { id: "reason" },
    Math.abs(difference) < 0.005 ? "Its logit stays the same. "
      : `Its logit ${difference < 0 ? "fell" : "rose"} by ${number(Math.abs(difference))}, from ${number(before)} to ${number(after)}`
        + ", the probability hardly moved: its lead over the next best token was "
        + `${number(lead[0])} and is ${number(lead[1])}. `,
    isOff ? "Without what is switched off, other parts are enough for this answer." : "The answer does not depend on this alone.");
}

const STRIP_CELL = 20; // pixels

/** What the changes do to the stream, token by token, and to every activation, block by block. */
function downstream(app, base) {
  const heading = el("h3", {}, "What changes downstream");
  if (!app.run.changes.length) {
    return el("div", {}, heading, el("p", { class: "hint" },
      "As soon as something is changed: how far every activation moves, in the order of the forward pass."));
  }
  const all = app.steps.map((step) => step.name);
  const names = all.filter((name) => /^embed$|\.resid(_mid)?$/.test(name));
  // The numbers arrive while the rest of the page can be read. The place is reserved.
  const strip = el("div", { style: { minHeight: `${names.length * STRIP_CELL + 90}px` } }, "…");
  streamPicture(app, base, names)
    .then((picture) => fill(strip, picture), (error) => fill(strip, el("p", { class: "bad" }, error.message)));
  const { n_layer: L } = app.config;
  const inBlock = (layer) => all.filter((name) => name.startsWith(`h.${layer}.`));
  const ends = all.filter((name) => !name.startsWith("h."));
  const changed = app.run.changes.map(({ name }) => name);
  const first = all.find((name) => changed.includes(name)); // the part of the list that is open at first
  return el("div", { class: "downstream" }, heading,
    el("p", {}, "Before the change nothing differs; after it, everything that reads from it. A later token can be reached ",
      "through attention, an earlier one never."),
    strip,
    el("h3", {}, "Every activation, in order"),
    differences(app, base, "embed", ends.slice(0, 1), first === "embed"),
    Array.from({ length: L }, (_, layer) =>
      differences(app, base, `block ${layer}`, inBlock(layer), inBlock(layer).includes(first))),
    differences(app, base, "after the blocks", ends.slice(1), true));
}

/** The stream as a picture: a row for each place in the model, a column for each token. */
async function streamPicture(app, base, names) {
  const rows = await differencesOfRows(app, names, base, app.run);
  const values = Float32Array.from(rows.flat(), ({ difference, size }) => (size ? difference / size : difference ? 1 : 0));
  const largest = values.reduce((a, b) => Math.max(a, b), 0);
  const T = app.run.ids.length;
  const cell = Math.min(40, Math.floor((document.getElementById("view").clientWidth - 150) / T));
  const { why } = app.place;
  const asked = names.indexOf(why?.name);
  const isMarked = asked >= 0 && String(rows[asked][why.index[0]]?.index) === String(why.index);
  return [
    el("p", { class: "legend" },
      "How far the stream moved at each token: the largest difference of its vector, relative to the vector's largest number. ",
      largest ? `Full colour is ${share(largest)}.` : "Nothing in the stream differs."),
    heatmap({
      values, rows: names.length, columns: T, largest, signed: false,
      cellHeight: STRIP_CELL, cellWidth: cell < 4 ? "fill" : cell,
      rowLabels: names.map((name) => name.replace(/^h\./, "")), columnLabels: app.run.tokens,
      label: "relative difference of the stream", marked: isMarked ? [asked, why.index[0]] : null,
      describe: (row, t) => `${names[row]}, token ${t} ${tokenText(app.run.tokens[t])}, relative difference`,
      onpick: (row, t) => app.why(names[row], rows[row][t].index),
    })];
}

const open = new Map(); // which parts of the list the reader has opened or closed

/** A part of the list of activations; its numbers are asked for when it is opened. */
function differences(app, base, title, names, isOpen) {
  const body = el("div", { class: "scrolling" });
  const summary = el("summary", { id: `differences-${title.replaceAll(" ", "-")}` }, title);
  const details = el("details", { open: open.get(title) ?? isOpen }, summary, body);
  let isAsked = false;
  const ask = async () => {
    if (isAsked || !details.open) return;
    isAsked = true;
    Object.assign(body.style, { minHeight: `${names.length * 1.9 + 2}rem` });
    try {
      const rows = await differencesOfRows(app, names, base, app.run);
      fill(body, differencesTable(app, names, rows.map(largestDifference)));
    } catch (error) {
      fill(body, el("p", { class: "bad" }, error.message));
    }
  };
  details.addEventListener("toggle", () => {
    if (details.isConnected) open.set(title, details.open);
    ask();
  });
  ask();
  return details;
}

function differencesTable(app, names, found) {
  return el("table", { class: "numbers differences" },
    headings(["activation", "relative to its largest number", "largest difference", "where"]),
    el("tbody", {}, names.map((name, i) => {
      const { difference, size, index } = found[i];
      const relative = size ? difference / size : 0;
      const isCause = app.run.changes.some((change) => change.name === name);
      return el("tr", { dataset: { name, value: difference } },
        el("th", { scope: "row" }, el("code", {}, name), name === "logits" && " of the last token",
          isCause && el("span", { class: "cause" }, "changed")),
        el("td", { class: "p" }, amount(relative), el("span", { class: "number" }, share(relative))),
        el("td", { class: "number" }, difference ? difference.toPrecision(3) : "0"),
        el("td", {}, difference ? askable(app, name, index, placeName("", index)) : ""));
    })));
}
