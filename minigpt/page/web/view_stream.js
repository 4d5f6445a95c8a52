// The residual stream of one token: what every part added to it, and how much that pushes the next token.

import { attributionOf, mostRead, partsOf, pushOf } from "./attribution.js";
import { el, number, percent, token, tokenText } from "./dom.js";
import { figure, quoted, strip } from "./figures.js";
import { softmax, topIndices } from "./sampling.js";
import { positionOf, tokenStrip } from "./token_strip.js";
import { vocabularyTexts } from "./vocabulary.js";
import { bar } from "./why_bar.js";

const CHOICES = 10; // tokens that the pushes can be shown for
const MOST = 12; // parts in the list before all are shown
const READS = 3; // tokens that are named for a head

// What the reader chose stays when the view is drawn anew.
let showsAll = false; // the list of parts
let sameColours = false; // whether a colour means the same number in all rows

export const view = {
  id: "stream",
  title: "Stream",
  shows: () => ["embed", "h.*.attn.out", "h.*.resid_mid", "h.*.mlp.out", "h.*.resid", "logits"],
  async render(app, place) {
    const t = positionOf(app, place);
    const rows = await Promise.all(rowsOf(app.config.n_layer).map(async (row) => {
      const [added, after] = await Promise.all([app.numbers(row.added, [t, null]), app.numbers(row.after, [t, null])]);
      return { ...row, addedNumbers: added.data, afterNumbers: after.data };
    }));
    const choice = await chosenTokens(app, place, t);
    const { answer = null, problem = null } = choice ? await pushesOf(app, t, choice) : {};
    return el("section", { class: "stream" },
      el("h2", {}, "What made this vector, and what does it push?"),
      el("p", {}, "Every token has one vector, the residual stream. It begins as the embedding, and every attention and " +
        "every MLP adds to it; nothing is ever replaced. The last sum decides which token comes next, so each part's " +
        "share in that can be counted. Read from the bottom up."),
      tokenStrip(app, place, "the token whose stream is shown"),
      el("div", { class: "bar" }, choice && choosers(app, choice), coloursSwitch(app)),
      problem && el("p", { class: "hint" }, `What each part pushes cannot be shown: ${problem}`),
      table(app, place, t, rows, answer, choice),
      answer && partsList(app, t, answer, choice));
  },
};

/** The attribution as {answer}, or why there is none as {problem}: the rest of the view does not depend on it. */
async function pushesOf(app, t, choice) {
  try {
    return { answer: await attributionOf(app, t, choice.id, choice.other) };
  } catch (error) {
    return { problem: error.message };
  }
}

/** The rows from the last block down to the embedding: what was added, and the stream after it. */
function rowsOf(L) {
  const rows = [];
  for (let layer = L - 1; layer >= 0; layer--) {
    const [mlp, attention] = [{ view: "mlp", layer }, { view: "attention", layer, head: 0 }];
    rows.push({ layer, title: "MLP", added: `h.${layer}.mlp.out`, after: `h.${layer}.resid`, to: mlp });
    rows.push({ layer, title: "attention", added: `h.${layer}.attn.out`, after: `h.${layer}.resid_mid`, to: attention });
  }
  return [...rows, { layer: -1, title: "embedding", added: "embed", after: "embed", to: { view: "activation", name: "embed" } }];
}

/** Which token's logit is split: the place's choice, or the most probable one; null if there are no probabilities. */
async function chosenTokens(app, place, t) {
  const { data } = await app.numbers("logits", [t, null]);
  if (!data.every(Number.isFinite)) return null;
  const ids = topIndices(data, Math.min(CHOICES, data.length));
  const texts = await vocabularyTexts(app, ids);
  const probs = softmax(data);
  const id = ids.includes(place.pushed) ? place.pushed : ids[0];
  const other = ids.includes(place.against) && place.against !== id ? place.against : null;
  const textOf = (wanted) => texts[ids.indexOf(wanted)];
  return { ids, texts, probs, id, other, text: textOf(id), otherText: other === null ? null : textOf(other), logits: data };
}

function choosers(app, { ids, texts, probs, id, other }) {
  const options = (chosen, without) => ids.map((each, i) => each !== without &&
    el("option", { value: each, selected: each === chosen }, `${tokenText(texts[i])}  ${percent(probs[each])}`));
  const choose = (name, value) => app.go({ ...app.place, [name]: value === "" ? undefined : Number(value), why: undefined });
  const select = (name, chosen, without, none) => el("select", {
    id: name, onchange: (event) => choose(name, event.target.value),
  }, none && el("option", { value: "", selected: chosen === null }, none), options(chosen, without));
  return [
    el("label", {}, "What pushes ", select("pushed", id)),
    ids.length > 1 && el("label", {}, "rather than ", select("against", other, id, "any other token")),
  ];
}

/** The stream grows on its way: the same colours in all rows show how much, colours of their own show every row. */
function coloursSwitch(app) {
  const change = (event) => {
    sameColours = event.target.checked;
    app.replace({ ...app.place });
  };
  return el("label", {},
    el("input", { id: "same-colours", type: "checkbox", checked: sameColours, onchange: change }), " same colours in all rows");
}

function table(app, place, t, rows, answer, choice) {
  const sizes = rows.map((row) => norm(row.addedNumbers));
  const largest = Math.max(...sizes) || 1;
  const fullOf = (vectors) => nearlyLargest(vectors.map((row) => row.afterNumbers));
  const full = rows.map((row) => fullOf(sameColours ? rows : [row]));
  const pushes = answer && rows.map((row) => pushOf(answer, row.added));
  const most = answer && Math.max(...pushes.map(Math.abs), 1e-9);
  const text = answer && decimals(most);
  const body = rows.map((row, i) => {
    const first = i === 0 || rows[i - 1].layer !== row.layer;
    return el("tr", { class: `${first ? "first" : ""}${row.layer === place.layer ? " here" : ""}`, dataset: { name: row.added } },
      el("th", { scope: "row" }, opener(app, t, row.added, row.to,
        row.layer >= 0 && el("span", { class: "block" }, `block ${row.layer} `), row.title)),
      el("td", { class: "size" },
        el("span", { class: "size-bar", "aria-hidden": "true" }, el("i", { style: { width: `${(100 * sizes[i]) / largest}%` } })),
        el("span", { title: `‖${row.added}[${t}]‖ = ${sizes[i]}`, dataset: { value: String(sizes[i]) } },
          threeDigits(sizes[i]))),
      el("td", { class: "after" }, strip(app, {
        name: row.after, index: [t, null], values: row.afterNumbers, largest: full[i], where: "stream",
      })),
      answer && el("td", { class: "push" }, pushCell(app, row, t, pushes[i], most, text)));
  });
  return el("div", { class: "scroll" }, el("table", { class: "stream-table" },
    el("caption", { class: "sr-only" }, "what every part added to the stream, from the last block down to the embedding"),
    el("thead", {}, el("tr", {},
      el("th", { scope: "col" }, "part"),
      el("th", { scope: "col", title: "the square root of the sum of its squared numbers" }, "size of what it added"),
      el("th", { scope: "col", title: sameColours ? `full colour is ${number(full[0])}` : "99 of 100 numbers in a row stay below full colour" },
        "the stream after it, blue above 0, red below"),
      answer && el("th", { scope: "col" }, "pushes ", quoted(choice.text),
        choice.other !== null && [" rather than ", quoted(choice.otherText)]))),
    el("tbody", {}, body)));
}

/** A part's name, which opens the part. */
function opener(app, t, name, to, ...words) {
  return el("button", { id: `part ${name}`, type: "button", title: `open ${name}`, onclick: () => app.go({ ...to, token: t }) }, words);
}

function pushCell(app, row, t, push, most, text) {
  return el("button", {
    id: `push-${row.added}`, type: "button", class: "push-button", dataset: { value: String(push) },
    title: `${row.added} adds ${push} to the logit; open it`, onclick: () => app.go({ ...row.to, token: t }),
  }, bar(push / most), el("span", { class: "value" }, text(push)));
}

/** The parts that push most, heads one by one with the tokens they read from. */
function partsList(app, t, answer, choice) {
  const parts = partsOf(answer).sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
  const most = Math.abs(parts[0].value) || 1;
  const text = decimals(most);
  const rows = parts.map((part, i) => el("tr", { dataset: { name: part.name }, hidden: i >= MOST && !showsAll },
    el("th", { scope: "row" }, opener(app, t, part.name, part.to, part.title)),
    el("td", { class: "push" },
      el("span", { class: "push-button", title: String(part.value), dataset: { value: String(part.value) } },
        bar(part.value / most), el("span", { class: "value" }, text(part.value)))),
    el("td", { class: "reads" }, part.reads && mostRead(part.reads, READS).map(({ position, value }) =>
      el("span", { class: "read" },
        token(app.run.tokens[position]), el("sub", { title: `position ${position}` }, position), ` ${text(value)}`)))));
  const hidden = parts.slice(MOST);
  const rest = el("p", { class: "hint" });
  const button = el("button", { id: "all-parts", type: "button", onclick: () => { showsAll = !showsAll; show(); } });
  function show() {
    rows.slice(MOST).forEach((row) => (row.hidden = !showsAll));
    button.textContent = showsAll ? "Show fewer" : `Show all ${parts.length}`;
    const together = hidden.reduce((sum, part) => sum + part.value, 0);
    rest.textContent = showsAll ? "" : `and ${hidden.length} more, together ${text(together)}`;
  }
  show();
  const logit = (id) => figure(app, "logits", [t, id], choice.logits[id], { where: "pushed" });
  return el("section", {},
    el("h3", {}, "The parts that push most"),
    el("p", {}, "All parts sum to the logit of ", quoted(choice.text),
      choice.other === null ? [", ", logit(choice.id)] : [
        " minus that of ", quoted(choice.otherText), ": ", logit(choice.id), " − ", logit(choice.other), ` = ${number(answer.logit)}`,
      ],
      ". The last layer norm divides every part by the same number; how the parts change that number is not counted."),
    el("p", { class: "hint" }, "What pushes is not always needed: without this part, another one may do the same. ",
      app.start.live ? ["Whether the next token depends on it, the view ",
        el("button", { id: "try-changes", type: "button", class: "link", onclick: () => app.go({ view: "changes" }) }, "Changes"), " tells."]
        : "Only a change of the run can tell."),
    el("div", { class: "scroll" }, el("table", { class: "stream-parts" },
      el("thead", {}, el("tr", {}, ["part", "adds to the logit", "a head reads it from"].map((title) => el("th", { scope: "col" }, title)))),
      el("tbody", {}, rows))),
    hidden.length > 0 && [rest, button]);
}

function norm(numbers) {
  return Math.sqrt(numbers.reduce((sum, x) => sum + x * x, 0));
}

/** Three digits are enough beside a bar. */
function threeDigits(x) {
  return x >= 0.001 && x < 1000 ? x.toPrecision(3) : number(Number(x.toPrecision(3)));
}

/** A function that writes numbers with their sign, and with the same decimals for all: four digits of the largest. */
function decimals(largest) {
  const digits = Math.max(0, Math.min(20, 3 - Math.floor(Math.log10(largest))));
  return (x) => {
    const text = Math.abs(x).toFixed(digits);
    return `${Number(text) === 0 ? "" : x < 0 ? "−" : "+"}${text}`;
  };
}

/** The value that 99 of 100 numbers stay below: a few huge ones, as GPT-2 has, would leave the others without colour. */
function nearlyLargest(vectors) {
  const sizes = Float64Array.from(vectors.flatMap((numbers) => Array.from(numbers, Math.abs)).filter(Number.isFinite)).sort();
  return sizes[Math.floor(0.99 * (sizes.length - 1))] || 1;
}
