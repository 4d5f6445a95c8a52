// Two texts side by side: their tokens, their next tokens, any activation of both; and activation patching: copy one
// activation from the second text into the run of the first, and see how far the answer moves.

import { attempt } from "./attempt.js";
import { activationSelect, headSelect, tokenSelect } from "./change_form.js";
import { baseRun, changeButton, toggleChange } from "./changes.js";
import { el, number, place as placeName, token, tokenText } from "./dom.js";
import { heatmap } from "./heatmap.js";
import { nextTokens, nextTokensTable } from "./outcome.js";
import { answersOf, movedAnswer, patchingMap } from "./patching.js";
import { picture as picturedNumbers, pooledInWords } from "./picture.js";

const MOST = 3e4; // numbers of one of the three pictures

// Two texts for a start, from notebooks/11_looking_inside.ipynb. Only the name differs, and the name is what comes next.
// The small model that comes with minigpt knows children's stories; an official one, English.
const EXAMPLES = {
  stories: (name) => `One sunny morning Anna and her friend${name} found a red ball in the forest. It lay under a tree. ` +
    '"I saw it first," said Anna. "No, it is mine," said',
  others: (name) => `When${name} and John went to the store, John gave a drink to`,
};
const NAMES = { stories: [" Ben", " Tom"], others: [" Alice", " Mary"] };

export const view = {
  id: "compare",
  title: "Compare",
  shows: (app, place) => (app.other ? [...new Set([nameOf(app, place), "logits"])] : []),
  async render(app, place) {
    const { other } = app;
    const head = [
      el("h2", {}, "Two texts side by side"),
      el("p", {}, "Take two texts that differ in one word, so that something else comes next. Somewhere in the model there ",
        "must be numbers that make this difference. To find them, copy some numbers of the second text into the run of the ",
        "first. If the first text is then continued as the second one is, these were the numbers."),
    ];
    if (!app.start.live && !other) {
      return el("section", { class: "compare" }, head,
        el("p", {}, "This page is a saved run of one text. The live page, ", el("code", {}, "minigpt step --open"),
          " or a notebook, takes a second one."));
    }
    if (!other) {
      return el("section", { class: "compare" }, head, secondText(app),
        el("p", { class: "hint" },
          "Change one word, and keep the number of tokens: then every position of one text corresponds to that of the other."));
    }
    const base = await baseRun(app);
    const isEven = other.ids.length === app.run.ids.length;
    const name = nameOf(app, place);
    const outcome = await nextTokens(app, app.run, other);
    const answers = await answersOf(app, place, base, other);
    return el("section", { class: "compare" }, head, secondText(app), alignment(app, place, isEven),
      el("div", { class: "halves" },
        el("div", {}, el("h3", {}, "The next token"),
          nextTokensTable(app, outcome, ["this text", "second text"], [true, false])),
        el("div", {}, el("h3", {}, "How far the answer has moved"), await movedAnswer(app, place, base, answers))),
      el("h3", {}, "An activation of both"), await pictures(app, place, name, isEven),
      isEven && patchingMap(app, place, base, name, answers));
  },
};

function nameOf(app, place) {
  return app.step(place.name)?.name ?? `h.${Math.floor((app.config.n_layer - 1) / 2)}.resid`;
}

/** The field for the second text. */
function secondText(app) {
  const text = el("textarea", {
    id: "other-text", rows: "1", dir: "auto", spellcheck: "false", title: "Enter compares, Shift + Enter begins a new line",
    oninput: () => grow(text),
    onkeydown: (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      text.form.requestSubmit();
    },
  });
  text.value = app.other?.text ?? app.run.text;
  text.setSelectionRange(...wordToChange(app));
  new ResizeObserver(() => requestAnimationFrame(() => grow(text))).observe(text); // as soon as it has a width, and with another one
  const submit = (event) => {
    event.preventDefault();
    attempt(app, () => app.newOther(text.value));
  };
  const swap = async () => {
    const base = await baseRun(app);
    const { other } = app;
    app.other = base;
    app.setRun(other);
  };
  const example = async () => {
    const kind = app.run.model === "stories" ? "stories" : "others";
    const [own, second] = NAMES[kind].map(EXAMPLES[kind]);
    app.other = await app.source.ask({ ask: "run", text: second, changes: [], model: app.run.model });
    await app.newRun({ text: own });
  };
  const button = (id, words, title, work) =>
    el("button", { id, type: "button", title, onclick: () => attempt(app, work) }, words);
  return el("form", { class: "bar second", onsubmit: submit },
    el("label", { for: "other-text" }, "Second text"), text,
    app.start.live && el("button", { id: "compare-run" }, "Compare"),
    app.start.live && button("compare-example", "An example", "two texts that differ in a name", example),
    app.other && button("compare-swap", "Swap", "the second text becomes the one that every view shows", swap),
    app.other && button("compare-end", "End", "forget the second text", () => app.newOther(null)));
}

/** Make a text field as high as its text. */
function grow(text) {
  text.style.height = "auto";
  text.style.height = `${text.scrollHeight + text.offsetHeight - text.clientHeight}px`;
}

/** The part of the second text that is selected when the field gets the focus: the first token that differs, or the end. */
function wordToChange({ run, other }) {
  const { tokens, text } = other ?? run;
  const at = other ? other.ids.findIndex((id, t) => id !== run.ids[t]) : -1;
  if (at < 0 || tokens.join("") !== text) return [text.length, text.length];
  const start = tokens.slice(0, at).join("").length;
  const spaces = tokens[at].length - tokens[at].trimStart().length;
  return [start + spaces, start + tokens[at].length];
}

/** Which tokens stand above each other: equal positions, or with different lengths equal beginnings and ends. */
function alignTokens(a, b) {
  const shorter = Math.min(a.length, b.length);
  if (a.length === b.length) return a.map((_, t) => [t, t]);
  let start = 0, end = 0;
  while (start < shorter && a[start] === b[start]) start++;
  while (end < shorter - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  const middle = Math.max(a.length, b.length) - start - end;
  const inMiddle = (ids, i) => (start + i < ids.length - end ? start + i : null);
  return [
    ...Array.from({ length: start }, (_, t) => [t, t]),
    ...Array.from({ length: middle }, (_, i) => [inMiddle(a, i), inMiddle(b, i)]),
    ...Array.from({ length: end }, (_, i) => [a.length - end + i, b.length - end + i]),
  ];
}

/** The tokens of both texts as two rows; those that differ are marked. */
function alignment(app, place, isEven) {
  const { run, other } = app;
  const pairs = alignTokens(run.ids, other.ids);
  const isDifferent = ([s, t]) => s === null || t === null || run.ids[s] !== other.ids[t];
  const count = pairs.filter(isDifferent).length;
  const row = (label, side, tokens) => el("tr", {}, el("th", { scope: "row" }, label), pairs.map((pair) => {
    const t = pair[side];
    const differs = isDifferent(pair);
    return el("td", { class: differs ? "differs" : "" },
      t === null ? "" : token(tokens[t]), differs && el("span", { class: "sr-only" }, " differs"));
  }));
  const here = positionOf(app, place);
  const choose = (t) => el("button", {
    id: `compare-at-${t}`, class: "number", "aria-pressed": String(here === t), title: `look at position ${t}`,
    onclick: () => app.go({ ...app.place, token: t, why: undefined }),
  }, t);
  const positions = el("tr", {}, el("th", { scope: "row" }, "position"),
    pairs.map(([t]) => el("td", {}, t === null ? "" : choose(t))));
  const table = el("table", { class: "alignment" },
    el("tbody", {}, positions, row("this text", 0, run.tokens), row("second text", 1, other.tokens)));
  return [
    el("div", { class: "scrolling", tabindex: "0", role: "group", "aria-label": "tokens of both texts" }, table),
    el("p", { id: "compare-count" },
      count ? `${count} ${count === 1 ? "position differs" : "positions differ"}. ` : "The texts have the same tokens. ",
      !isEven && `This text has ${run.ids.length} tokens, the second ${other.ids.length}: nothing can be copied, and `,
      !isEven && "only what has the same shape can be subtracted. Texts with equally many tokens can."),
  ];
}

/** The position that is looked at: the place's, or the first where the texts differ. */
function positionOf(app, place) {
  const { run, other } = app;
  if (Number.isInteger(place.token) && place.token < run.ids.length) return place.token;
  const first = run.ids.findIndex((id, t) => id !== other.ids[t]);
  return first < 0 ? run.ids.length - 1 : first;
}

/** An activation in both texts, and their difference. */
async function pictures(app, place, name, isEven) {
  const { run, other } = app;
  const step = app.step(name);
  const hasHeads = step.shape.length === 3;
  const head = hasHeads ? Math.min(place.head ?? 0, app.config.n_head - 1) : null;
  const position = positionOf(app, place);
  const select = hasHeads ? [head, null, null] : [null, null];
  const square = /attn\.(scores|weights)$/.test(name);
  const room = square ? Infinity : Math.floor((document.getElementById("view").clientWidth - 260) / 3);
  const numbersOf = (which, minus = null) => picturedNumbers(app, name, select, { room, most: MOST, run: which, minus });
  const [a, b, apart] = await Promise.all([numbersOf(run), numbersOf(other), isEven && numbersOf(other, run)]);
  const largest = Math.max(largestOf(a.values), largestOf(b.values));
  const indexIn = (drawn) => (row, cell) => [...(hasHeads ? [head] : []), row, drawn.columnOf(row, cell)];
  const { why } = place;
  const isHere = why?.name === name && (!hasHeads || why.index[0] === head);
  const marked = isHere ? [why.index.at(-2), a.cellOf(why.index.at(-1))] : null;
  const rows = Math.max(run.ids.length, other.ids.length);
  const height = rows > 60 ? 5 : Math.max(12, Math.min(20, Math.floor(320 / rows))); // below 12 pixels no label fits
  const cell = square ? (row, column) => column <= row : null;
  const picture = (title, drawn, tokens, more) => el("figure", {},
    el("figcaption", {}, title),
    heatmap({
      values: drawn.values, rows: tokens.length, columns: drawn.columns, largest, signed: step.signed,
      cellWidth: drawn.columns < 12 ? 20 : "fill", cellHeight: height,
      rowLabels: height < 12 ? null : tokens, cell, label: `${name}, ${title}`,
      describe: (row, column) => `${title}, ${placeName(name, indexIn(drawn)(row, column))}`, ...more,
    }));
  const most = apart ? largestOf(apart.values) : 0;
  const change = { kind: "copy", name, head, position, run: other.run };
  const look = (key) => (value) => app.go({ ...app.place, [key]: value, why: undefined });
  return [
    el("div", { class: "bar" },
      el("label", {}, "Activation ", activationSelect(app, "compare-name", name, look("name"))),
      hasHeads && el("label", {}, "Head ", headSelect(app, "compare-head", head, look("head"), false)),
      el("label", {}, "Token ", tokenSelect(app, "compare-token", position, look("token"), false)),
      isEven && changeButton(app, change, "Copy from the second text", { id: "compare-copy", onclick: () => copy(app, change) })),
    el("p", { class: "hint" }, el("code", {}, name), `: ${step.meaning}.`),
    el("p", { class: "legend" },
      `One row for each token. ${step.signed ? "Blue is above 0, red below" : "From no colour, 0, to blue"}; `,
      `full colour is ${number(largest)}`,
      most ? `, in the difference ${number(most)}.` : apart ? "; there is no difference." : ".",
      pooledInWords(a, step.shape.at(-1)), " ",
      "The numbers of this text can be asked where they come from; Swap makes the second text this one."),
    el("div", { class: "thirds" },
      picture("this text", a, run.tokens, {
        describe: (row, cell) => placeName(name, indexIn(a)(row, cell)),
        onpick: (row, cell) => app.why(name, indexIn(a)(row, cell)), marked,
      }),
      picture("second text", b, other.tokens),
      apart ? picture("second − this", apart, markedTokens(run, other), { largest: most, signed: true, onpick: look("token") })
        : el("p", { class: "hint" }, `The shapes differ, [${step.shape.join(", ")}] and `
          + `[${app.step(name, other).shape.join(", ")}]: there is no difference to draw.`)),
  ];
}

/** Make the copy, or take it back, and lead to what it has done. */
async function copy(app, change) {
  await toggleChange(app, change);
  app.once("shown", () => document.getElementById("patch-effect")?.scrollIntoView({ block: "center" }));
}

function markedTokens(run, other) {
  return run.tokens.map((text, t) => (run.ids[t] === other.ids[t] ? text : `≠${text}`));
}

function largestOf(numbers) {
  return numbers.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
}
