// Which tokens a logit came from. Of a small model the page multiplies all paths out (why_paths.js); of a large one it
// shows what the program's `attribution` says: which parts of the model wrote to the logit, and what its heads read.

import { el, fill, percent, token, tokenText } from "./dom.js";
import { topIndices } from "./sampling.js";
import { vocabularyTexts } from "./vocabulary.js";
import { bar, signed } from "./why_bar.js";
import { canSumPaths, pathSums } from "./why_paths.js";

const SHOWN = 4;
const RIVALS = 6; // of the most probable tokens, to compare with
const kept = new WeakMap(); // run -> Map("t v rival" -> promise of the parts)
let compared = { v: null, rival: null }; // the token that the reader weighs v against

/**
 * The section about logits[t, v]: an element at once, filled as soon as the answer is there. ask(factor) goes on to a
 * number. Removed if the page cannot tell.
 */
export function renderTokens(app, t, v, ask) {
  const heading = () => el("h3", {}, "Which words did it come from?");
  const section = el("section", { class: "why-tokens", "aria-label": "Which words it came from" },
    heading(), el("p", { class: "hint" }, "Multiplying out …"));
  const show = async () => {
    const choices = await choicesOf(app, t, v);
    const rival = compared.v === v ? choices.find(({ id }) => id === compared.rival) ?? null : null;
    const answer = await causesOf(app, app.run, t, v, rival?.id ?? null);
    const choose = ({ target }) => {
      compared = { v, rival: target.value === "" ? null : Number(target.value) };
      show().then(() => document.getElementById("why-rival")?.focus());
    };
    fill(section, heading(), contents(app, t, answer, choices.text, rival, ask),
      choices.length > 0 && el("label", { class: "rival" }, "Why “", token(choices.text), "” rather than ", el("select", {
        id: "why-rival", onchange: choose,
      }, el("option", { value: "", selected: !rival }, "anything else"),
      choices.map(({ id, text }) => el("option", { value: id, selected: id === rival?.id }, tokenText(text).slice(0, 24))))),
      el("p", { class: "hint" }, answer.says));
  };
  show().catch(() => section.remove()); // without this answer there still is the sum
  return section;
}

/** What the model might have said instead of v: the most probable other tokens, [{id, text}]. Its text: that of v. */
async function choicesOf(app, t, v) {
  const { data } = await app.numbers("logits", [t, null]);
  const ids = topIndices(data, Math.min(RIVALS, data.length)).filter((id) => id !== v);
  const [own, ...texts] = await vocabularyTexts(app, [v, ...ids]);
  return Object.assign(ids.map((id, i) => ({ id, text: texts[i] })), { text: own });
}

/**
 * What logits[t, v], or its difference to logits[t, rival], is made of: a promise of {value, words, apart, says}. words:
 * the earlier tokens, those that speak for v first, [{position, value, edge}], where edge = {layer, head, query, weight}
 * is the attention by which most of it came. apart: what no earlier token brought in, [{title, note, value}].
 */
export function causesOf(app, run, t, v, rival = null) {
  if (!kept.has(run)) kept.set(run, new Map());
  const answers = kept.get(run), key = `${t} ${v} ${rival}`;
  if (!answers.has(key)) answers.set(key, canSumPaths(app) ? fromPaths(app, run, t, v, rival) : fromAttribution(app, run, t, v, rival));
  return answers.get(key);
}

async function fromPaths(app, run, t, v, rival) {
  const { value, tokens, bias, edges, rest } = await pathSums(app, run, t, v, rival);
  const words = tokens.slice(0, t).map((part, position) => ({ position, value: part, edge: edges[position] }));
  return {
    value, words: ordered(words),
    apart: [
      own(run, t, tokens[t]),
      { title: "learnt biases", note: "added whatever the text says", value: bias },
      ...unexplained(rest, [...tokens, bias]),
    ],
    says: "The logit, multiplied out through all blocks, is exactly this sum. What attention looked at, how far each neuron " +
      "was open, and what the layer norms divided by are held as they were here.",
  };
}

async function fromAttribution(app, run, t, v, rival) {
  const answer = await app.source.ask({ ask: "attribution", run: run.run, position: t, token: v, other: rival });
  const sum = (numbers) => numbers.reduce((total, x) => total + x, 0);
  const largest = (entries) => entries.reduce((best, entry) => (Math.abs(entry.value) > Math.abs(best.value) ? entry : best));
  const read = await Promise.all(Array.from({ length: t + 1 }, async (_, position) => {
    const heads = answer.by_token.flatMap((rows, layer) => rows.map((row, head) => ({ layer, head, value: row[position] })));
    const { layer, head } = largest(heads);
    const { data } = await app.numbers(`h.${layer}.attn.weights`, [head, t, null], run);
    return { position, value: sum(heads.map(({ value }) => value)), edge: { layer, head, query: t, weight: data[position] } };
  }));
  const mlp = largest(answer.mlps.map((value, layer) => ({ layer, value })));
  const apart = [
    own(run, t, answer.wte + answer.wpe + read[t].value),
    {
      title: "the MLPs", note: `what they made of all that; most in block ${mlp.layer}`, value: sum(answer.mlps),
      go: { view: "mlp", layer: mlp.layer, token: t },
    },
    { title: "learnt biases", note: "added whatever the text says", value: sum(answer.attn_biases) + answer.ln_f_bias },
  ];
  return {
    value: answer.logit, words: ordered(read.slice(0, t)),
    apart: [...apart, ...unexplained(answer.rest, [...read, ...apart].map(({ value }) => value))],
    says: "It is the sum of what each part of the model wrote to the last vector. Of heads, it is told which token they " +
      "read; that token’s own vector had read earlier ones before.",
  };
}

/** The part of the last token itself: no answer to the question which earlier word it was. */
function own(run, t, value) {
  return {
    title: ["“", token(run.tokens[t]), "” itself"], value, isOwn: true,
    note: "any text that ends in it has a part like this",
  };
}

/** What the sum misses beyond rounding. */
function unexplained(rest, values) {
  const total = values.reduce((size, x) => size + Math.abs(x), 0);
  return Math.abs(rest) <= 1e-4 * total ? [] : [{ title: "not explained", note: "something was changed", value: rest }];
}

function ordered(words) {
  return words.sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
}

/** The earlier token that speaks most for the prediction, or null. */
export function mainCause({ words }) {
  return words.reduce((best, word) => (word.value > Math.max(0, best?.value ?? 0) ? word : best), null);
}

function contents(app, t, { words, apart }, text, rival, ask) {
  const scale = Math.max(...[...words, ...apart].map((part) => Math.abs(part.value)).filter(Number.isFinite)) || 1;
  const quoted = (s) => ["“", token(app.run.tokens[s]), "”"];
  const go = ({ edge: { layer, head, query }, position }) => ask(app, { name: `h.${layer}.attn.weights`, index: [head, query, position] });
  const way = ({ edge: { layer, head, query, weight } }) =>
    [quoted(query), ` takes ${percent(weight)} from it: block ${layer}, head ${head}`];
  const row = (word) => el("li", {
    class: word.edge ? "term askable" : "term", dataset: { value: String(word.value), position: word.position },
    onclick: word.edge && (() => go(word)),
  },
  el("span", { class: "value" }, signed(word.value)), bar(word.value / scale), el("span", { class: "from" }, quoted(word.position)),
  word.edge && el("span", { class: "what" }, el("button", { class: "factor main" }, way(word))));
  const hidden = words.slice(SHOWN);
  const together = hidden.reduce((total, part) => total + part.value, 0);
  const more = hidden.length > 0 && el("li", { class: "term" },
    el("span", { class: "value" }, signed(together)), bar(together / scale),
    el("button", { onclick: () => more.replaceWith(...hidden.map(row)) }, `${hidden.length} more`));
  const apartRow = ({ title, note, value, go: to }) => el("li", { class: "term", dataset: { value: String(value) } },
    el("span", { class: "value" }, signed(value)), bar(value / scale), el("span", { class: "from" }, title),
    el("span", { class: "what" },
      to ? el("button", { class: "factor", onclick: () => app.go({ ...to, why: app.place.why }) }, note) : el("span", {}, note)));
  const cause = mainCause({ words });
  const said = ["“", token(text), "”", rival && [" rather than “", token(rival.text), "”"]];
  return [
    el("p", { class: "cause" },
      !words.length ? "There is no earlier word: all of it comes from this one."
        : !cause ? "No earlier word speaks for it."
          : ["Apart from the last word itself, most of ", said, " came from ", el("strong", {}, quoted(cause.position)), ". "],
      cause?.edge && el("button", { id: "why-cause", onclick: () => go(cause) }, "See how: ", way(cause))),
    words.length > 0 && el("ol", { class: "causes", "aria-label": "earlier words" }, words.slice(0, SHOWN).map(row), more),
    el("h4", {}, "From no earlier word"),
    el("ul", { class: "causes apart" }, apart.map(apartRow)),
  ];
}
