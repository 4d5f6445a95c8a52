// The logit lens: what the model would predict if it stopped after each block.

import { el, fill, percent, token, tokenText } from "./dom.js";
import { heatmap } from "./heatmap.js";
import { scrolledBefore, scrollToShow } from "./sight.js";
import { positionOf, tokenStrip } from "./token_strip.js";

const BEST = 5; // tokens of one cell that are listed
const MAX_CELLS = 1500; // a long text shows its end, or the tokens before the chosen one
const MIN_COLUMNS = 12;
const ROW_HEIGHT = 1.9; // rem, of the table
const PATIENCE = 150; // milliseconds after which the page says that the model is at work

const answers = new WeakMap(); // by run: the question takes as long as a few runs of the model

export const view = {
  id: "lens",
  title: "Logit lens",
  shows: (app, place) => [readFrom(app, place), "logits"],
  async render(app, place) {
    const answer = askOnce(app);
    const element = el("section", { class: "lens" });
    const draw = async () => {
      const lens = await answer;
      const before = scrolledBefore("lens-frame");
      fill(element, intro(), table(app, place, lens), await detail(app, place, atPosition(lens, positionOf(app, place))));
      requestAnimationFrame(() => scrollToChosen(element, before));
    };
    // A large model works for seconds: meanwhile the view says so.
    const waiting = new Promise((resolve) => setTimeout(resolve, PATIENCE, "waiting"));
    if ((await Promise.race([answer, waiting])) !== "waiting") await draw();
    else {
      const status = el("p", { role: "status", style: { minHeight: `${ROW_HEIGHT * (app.config.n_layer + 2)}rem` } },
        "The model reads on from every block …");
      fill(element, intro(), status);
      // One token's column is computed at once, and has the place that it keeps when the others come.
      chosenAlone(app, place).then((found) => status.isConnected && status.after(found)).catch(() => {});
      draw().catch((error) => fill(element, intro(), el("p", { class: "bad" }, error.message)));
    }
    return element;
  },
};

function askOnce(app) {
  const { run } = app;
  if (!answers.has(run)) {
    const answer = app.source.ask({ ask: "lens", run: run.run, position: null, k: countOf(app) });
    answers.set(run, answer);
    answer.catch(() => answers.delete(run));
  }
  return answers.get(run);
}

async function chosenAlone(app, place) {
  const lens = await app.source.ask({ ask: "lens", run: app.run.run, position: positionOf(app, place), k: countOf(app) });
  return detail(app, place, atPosition(lens, 0));
}

/** How many tokens of one cell are asked for. */
function countOf(app) {
  return Math.min(BEST, app.config.vocab_size);
}

/** The part of an answer for one position: {ids, texts, probabilities}, each [L + 1][k]. */
function atPosition(lens, at) {
  return Object.fromEntries(["ids", "texts", "probabilities"].map((name) => [name, lens[name].map((row) => row[at])]));
}

function intro() {
  return [
    el("h2", {}, "What would the model say if it stopped here?"),
    el("p", {}, "Every block adds to each token's vector. The logit lens gives the vector after each block to the last " +
      "layer norm and the head, as if the blocks above did not exist. Read from the bottom up: a guess from the token " +
      "alone becomes the model's prediction."),
  ];
}

/** The row of a place: 0 is the embedding, L the last block. */
function rowOf(app, place) {
  const L = app.config.n_layer;
  return Number.isInteger(place.layer) ? Math.max(-1, Math.min(L - 1, place.layer)) + 1 : L;
}

/** The activation that the row is read from. */
function readFrom(app, place) {
  const row = rowOf(app, place);
  return row === 0 ? "embed" : `h.${row - 1}.resid`;
}

function rowName(row) {
  return row === 0 ? "embedding" : `block ${row - 1}`;
}

function table(app, place, lens) {
  const { tokens } = app.run;
  const L = app.config.n_layer, T = tokens.length;
  const chosen = positionOf(app, place), chosenRow = rowOf(app, place);
  const width = Math.min(T, Math.max(MIN_COLUMNS, Math.floor(MAX_CELLS / (L + 1))));
  const last = Math.min(T - 1, Math.max(chosen, width - 1) + Math.min(2, T - 1 - chosen));
  const positions = Array.from({ length: width }, (_, i) => last - width + 1 + i).filter((t) => t >= 0);
  const open = (row, t) => app.go({ ...app.place, token: t, layer: row - 1, why: undefined });

  const cell = (row, t) => {
    const text = lens.texts[row][t][0], p = lens.probabilities[row][t][0];
    const here = row === chosenRow && t === chosen;
    const label = `${rowName(row)}, after ${tokenText(tokens[t])}: ${tokenText(text)}, ${percent(p)}`;
    return el("td", { role: "gridcell", "aria-selected": String(here) }, el("button", {
      id: `lens-${row}-${t}`, type: "button", class: here ? "chosen" : null, tabindex: here ? "0" : "-1",
      dataset: { row, token: t, value: String(p) }, style: { "--p": p },
      title: label, "aria-label": label,
      onclick: () => open(row, t),
    }, token(text)));
  };
  const rows = Array.from({ length: L + 1 }, (_, i) => L - i).map((row) =>
    el("tr", { role: "row" }, el("th", { scope: "row", role: "rowheader" }, rowName(row)), positions.map((t) => cell(row, t))));
  const names = el("tr", { role: "row" }, el("th", { scope: "row", role: "rowheader" }, "after"),
    positions.map((t) => el("th", { scope: "col", role: "columnheader", title: `position ${t}` }, token(tokens[t]))));
  const grid = el("table", {
    role: "grid", class: "lens-table", onkeydown: keys,
    "aria-label": "the most probable next token after each block (rows) and each token (columns)",
  }, el("tbody", { role: "rowgroup" }, rows), el("tfoot", { role: "rowgroup" }, names));

  // The cells follow the arrow keys; Enter opens one, as a click does.
  function keys(event) {
    const { row, token: t } = event.target.dataset;
    if (row === undefined) return;
    const [up, right] = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key] ?? [];
    if (up === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    document.getElementById(`lens-${Number(row) + up}-${Number(t) + right}`)?.focus();
  }
  return [
    positions.length < T && [
      el("p", { class: "hint" }, `Tokens ${positions[0]} to ${positions.at(-1)} of ${T}; choose others here:`),
      tokenStrip(app, place, "the token whose column is shown"),
    ],
    el("div", { class: "lens-frame" }, grid),
    el("div", { class: "legend lens-legend" }, "Each cell holds the best next token. Its probability: ",
      el("span", { class: "samples" }, [0, 0.25, 0.5, 0.75, 1].map((p) => el("span", { style: { "--p": p } }, `${100 * p} %`)))),
  ];
}

function scrollToChosen(element, before) {
  const frame = element.querySelector(".lens-frame"), cell = element.querySelector(".chosen");
  if (!frame || !cell) return;
  const stuck = frame.querySelector("th").offsetWidth;
  frame.style.setProperty("--stuck", `${stuck}px`);
  scrollToShow(frame, cell.parentElement, before, stuck);
}

/** The best tokens of the chosen cell, and the vector that they were read from. lens: of the chosen position. */
async function detail(app, place, lens) {
  const t = positionOf(app, place), row = rowOf(app, place), L = app.config.n_layer;
  const name = readFrom(app, place);
  const vector = await app.numbers(name, [t, null]);
  const from = row === 0 ? "From the embedding alone, after "
    : row === L ? `After block ${row - 1}, the last: what the model predicts after ` : `After block ${row - 1}, after `;
  const best = lens.texts[row].map((text, i) => [text, lens.probabilities[row][i], lens.ids[row][i]]);
  const final = { id: lens.ids[L][0], text: lens.texts[L][0] };
  const ask = (id) => () => app.why("logits", [t, id], { token: t });
  // The guesses of the last row are logits of the run: each can be asked. Those on the way are numbers of the lens alone.
  const word = (text, id) => (row === L
    ? el("button", { class: "number", title: `which words “${tokenText(text)}” came from`, onclick: ask(id) }, token(text)) : token(text));
  return el("section", { class: "lens-detail", "aria-live": "polite" },
    el("h3", {}, from, token(app.run.tokens[t]), ":"),
    el("table", { class: "lens-best" },
      el("caption", { class: "sr-only" }, "the most probable next tokens"),
      el("tbody", {}, best.map(([text, p, id]) => el("tr", {},
        el("th", { scope: "row" }, word(text, id)),
        el("td", { class: "bars", "aria-hidden": "true" }, el("span", { style: { width: `${100 * p}%` } })),
        el("td", { title: String(p), dataset: { value: String(p) } }, percent(p)))))),
    el("p", {},
      row < L && "A guess on the way is not used for anything. The one at the end can be asked: ",
      el("button", { id: "lens-ask", type: "button", onclick: ask(final.id) }, "Which words did “", token(final.text), "” come from?")),
    el("p", {}, "Read from the vector ", el("code", {}, `${name}[${t}]`),
      `, ${vector.data.length} numbers; click one to see where it comes from:`),
    heatmap({
      values: vector.data, rows: 1, columns: vector.data.length, cellWidth: "fill", cellHeight: 24,
      largest: vector.data.reduce((most, x) => Math.max(most, Math.abs(x)), 0), label: `${name}[${t}]`,
      describe: (_, d) => `${name}[${t}, ${d}]`, onpick: (_, d) => app.why(name, [t, d]),
      marked: place.why?.name === name && place.why.index[0] === t ? [0, place.why.index[1]] : null,
    }),
    el("div", { class: "bar" },
      el("button", { id: "lens-stream", type: "button", onclick: () => app.go({ view: "stream", token: t, layer: row - 1 }) },
        `What was added up to here (stream, ${rowName(row)})`),
      row === L && el("button", { id: "lens-next", type: "button", onclick: () => app.go({ view: "next", token: t }) },
        "All probabilities (next token)")));
}
