// What two runs of the model come to: the next tokens of both side by side, and how far their activations lie apart.

import { el, number, percent, token, tokenText } from "./dom.js";
import { softmax, topIndices } from "./sampling.js";
import { vocabularyTexts } from "./vocabulary.js";

/** The logits after the last token of a run. */
export async function lastLogits(app, run) {
  return (await app.numbers("logits", [run.ids.length - 1, null], run)).data;
}

/** The likeliest next tokens of either run, likeliest first: {rows: [{id, text, p: [of a, of b]}], logits: [a, b]}. */
export async function nextTokens(app, a, b, count = 10) {
  const logits = await Promise.all([lastLogits(app, a), lastLogits(app, b)]);
  const probabilities = logits.map(softmax);
  const ids = [...new Set(probabilities.flatMap((p) => topIndices(p, Math.min(count, p.length))))];
  const texts = await vocabularyTexts(app, ids);
  const rows = ids.map((id, i) => ({ id, text: texts[i], p: probabilities.map((p) => p[id]) }));
  rows.sort((x, y) => Math.max(...y.p) - Math.max(...x.p));
  return { rows: rows.slice(0, count), logits };
}

const NEARLY_ONE = 0.95, DIGITS = 2;

/** A probability as a percentage; one that is nearly 1 with two decimals, so that it can be compared. */
export function finePercent(p) {
  if (p < NEARLY_ONE || p === 1) return percent(p);
  const text = (100 * p).toFixed(DIGITS);
  return text === "100.00" ? "> 99.99 %" : `${text} %`;
}

/** A table of the next tokens of two runs. asks: which of them is app.run, whose numbers can be asked about. */
export function nextTokensTable(app, { rows }, names, asks = [false, true]) {
  const position = app.run.ids.length - 1;
  const asked = app.place.why;
  const cell = (row, side) => {
    const p = row.p[side];
    const attributes = { class: "p", dataset: { value: p, id: row.id } };
    const marked = asks[side] && asked?.name === "logits" && asked.index[1] === row.id && asked.index[0] === position;
    const text = !asks[side] ? el("span", { class: "number" }, finePercent(p))
      : el("button", {
        class: `number${marked ? " marked" : ""}`, title: `where the logit of ${tokenText(row.text)} comes from`,
        onclick: () => app.why("logits", [position, row.id]),
      }, finePercent(p));
    return el("td", attributes, amount(p), text);
  };
  return el("table", { class: "numbers outcome" },
    el("caption", { class: "sr-only" }, `The most probable next tokens: ${names.join(", ")}, and the difference`),
    headings(["next token", ...names, "difference (percentage points)"]),
    el("tbody", {}, rows.map((row) => el("tr", {},
      el("th", { scope: "row" }, token(row.text)), cell(row, 0), cell(row, 1),
      el("td", { class: "difference", dataset: { value: row.p[1] - row.p[0] } }, points(row.p[1] - row.p[0]))))));
}

/** The head of a table with these columns. */
export function headings(names) {
  return el("thead", {}, el("tr", {}, names.map((name) => el("th", { scope: "col" }, name))));
}

/** A bar beside a number, from 0 to 1. */
export function amount(part) {
  const width = `${100 * Math.min(1, part)}%`;
  return el("span", { class: "amount", "aria-hidden": "true" }, el("span", { style: { width } }));
}

/** A difference of probabilities in percentage points, with its sign. */
function points(difference) {
  const size = Math.abs(100 * difference);
  if (size < 0.005) return "0";
  return `${difference > 0 ? "+" : "−"}${size.toFixed(size < 0.995 ? 2 : size < 9.95 ? 1 : 0)}`;
}

/**
 * For every row of some activations, how far it lies apart in two runs: for each name a list of {difference, size, index}.
 * difference: the largest one; size: the row's largest absolute value in the first run; index: where the difference is.
 * Scores of later tokens are left out: the mask hides them. Of the logits there is the last token's row alone.
 */
export async function differencesOfRows(app, names, a, b) {
  const last = a.ids.length - 1;
  const places = names.map((name) => [name, name === "logits" ? [last, null] : null]);
  const [apart, before] = await Promise.all([app.pooled(places, 1, b, a), app.pooled(places, 1, a)]);
  return names.map((name, n) => Array.from(apart[n].values, (x, row) => {
    const T = apart[n].shape.at(-2) ?? 1;
    const index = name === "logits" ? [last] : apart[n].shape.length === 3 ? [Math.floor(row / T), row % T] : [row];
    return {
      difference: Math.abs(x) || 0, size: Math.abs(before[n].values[row]) || 0, index: [...index, apart[n].where[row]],
    };
  }));
}

/** The largest difference among those of an activation's rows, and the largest size. */
export function largestDifference(rows) {
  const size = rows.reduce((most, row) => Math.max(most, row.size), 0);
  return { ...rows.reduce((most, row) => (row.difference > most.difference ? row : most)), size };
}

/** A share as a percentage with a sign for "exactly the same". */
export function share(x) {
  if (x === 0) return "same";
  return x < 0.0001 ? "< 0.01 %" : `${(100 * x).toFixed(x < 0.1 ? 2 : 0)} %`;
}

/** A number that can be asked where it comes from. */
export function askable(app, name, index, text, value) {
  const asked = app.place.why;
  const marked = asked?.name === name && String(asked.index) === String(index);
  return el("button", {
    class: `number${marked ? " marked" : ""}`, dataset: { name, index: index.join(","), ...(value !== undefined && { value }) },
    title: `${name}[${index.join(", ")}]`, onclick: () => app.why(name, index),
  }, text ?? number(value));
}
