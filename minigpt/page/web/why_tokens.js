// Which tokens a logit came from: the answer to the question "token_attribution".

import { el, fill, number, percent, token, tokenText } from "./dom.js";
import { topIndices } from "./sampling.js";
import { vocabularyTexts } from "./vocabulary.js";
import { bar, signed } from "./why_bar.js";
import { quotedToken } from "./words.js";

const SHOWN = 4;
const RIVALS = 6; // of the most probable tokens, to compare with
const HELD = "The logit, multiplied out through all blocks, is exactly this sum. What attention looked at, how far each neuron " +
  "was open, and what the layer norms divided by are held as they were here.";
const kept = new WeakMap(); // run -> Map("t v rival" -> promise of the parts)
let compared = { v: null, rival: null }; // the token that the reader weighs v against

/**
 * The section about logits[t, v]: an element at once, filled as soon as the answer is there, or with a sentence why there
 * is none. ask(factor) goes on to a number.
 */
export function renderTokens(app, t, v, ask) {
  const heading = () => el("h2", {}, "Which words did it come from?");
  const section = el("section", { class: "why-tokens", "aria-label": "Which words it came from" },
    heading(), el("p", { class: "hint" }, "Going back from the logit …"));
  const show = async () => {
    const choices = await choicesOf(app, t, v);
    const rival = compared.v === v ? choices.find(({ id }) => id === compared.rival) ?? null : null;
    const answer = await causesOf(app, app.run, t, v, rival?.id ?? null).catch((error) => ({ missing: error.message }));
    const choose = ({ target }) => {
      compared = { v, rival: target.value === "" ? null : Number(target.value) };
      show().then(() => document.getElementById("why-rival")?.focus());
    };
    const canChoose = choices.length > 0 && (!answer.missing || rival);
    section.style.minHeight = answer.missing ? "0" : ""; // a sentence needs no room
    fill(section, heading(),
      answer.missing ? el("p", { class: "hint" }, answer.missing) : contents(app, t, answer, choices.text, rival, ask),
      canChoose && el("label", { class: "rival" }, "Why “", token(choices.text), "” rather than ", el("select", {
        id: "why-rival", onchange: choose,
      }, el("option", { value: "", selected: !rival }, "anything else"),
      choices.map(({ id, text }) => el("option", { value: id, selected: id === rival?.id }, tokenText(text).slice(0, 24))))),
      !answer.missing && el("p", { class: "hint" }, HELD));
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
 * What logits[t, v], or its difference to logits[t, rival], is made of: a promise of {value, words, apart}. words: the
 * earlier tokens, the largest first, [{position, value, edge}], where edge = {layer, head, query, weight} is the attention
 * by which most of it came, or null. apart: what no earlier token brought in, [{title, note, value}].
 */
export function causesOf(app, run, t, v, rival = null) {
  if (!kept.has(run)) kept.set(run, new Map());
  const answers = kept.get(run), key = `${t} ${v} ${rival}`;
  if (!answers.has(key)) {
    const answer = app.source.ask({ ask: "token_attribution", run: run.run, position: t, token: v, other: rival });
    answers.set(key, answer.then((found) => causes(run, t, found)));
    answer.catch(() => answers.delete(key));
  }
  return answers.get(key);
}

function causes(run, t, { logit, by_token, bias, rest, edges }) {
  const values = by_token.map(known);
  const edge = (entry) => {
    if (!entry) return null;
    const [layer, head, query, weight] = entry;
    return { layer, head, query, weight: known(weight) };
  };
  return {
    value: known(logit),
    words: values.slice(0, t).map((value, position) => ({ position, value, edge: edge(edges[position]) }))
      .sort((a, b) => Math.abs(b.value) - Math.abs(a.value)),
    apart: [
      own(run, t, values[t]),
      { title: "learnt biases", note: "added whatever the text says", value: known(bias) },
      ...unexplained(run, known(rest), [...values, bias]),
    ],
  };
}

/** A number of an answer: JSON has null for what is not finite. */
function known(x) {
  return x ?? NaN;
}

/** The part of the last token itself: no answer to the question which earlier word it was. */
function own(run, t, value) {
  return {
    title: [quotedToken(run, t), " itself"], note: "any text that ends in it has a part like this", value,
  };
}

/** What the sum misses beyond rounding. */
function unexplained({ changes }, rest, values) {
  const total = values.reduce((size, x) => size + Math.abs(x), 0);
  const note = changes.length ? "something was changed" : "rounding";
  return Math.abs(rest) <= 1e-4 * total ? [] : [{ title: "not explained", note, value: rest }];
}

/** The earlier token that speaks most for the prediction, or null. */
export function mainCause({ words }) {
  return words.reduce((best, word) => (word.value > Math.max(0, best?.value ?? 0) ? word : best), null);
}

/** Whether one earlier token speaks more for the prediction than all other earlier ones that do. */
export function isMost({ words }, cause) {
  return 2 * cause.value > words.reduce((sum, { value }) => sum + Math.max(0, value), 0);
}

const CARRIED = 0.3; // attention weight from which a token is said to hand on another one

/** The earlier word that comes to the prediction mostly by way of the token at `position`, or null. */
export function carriedBy({ words }, position) {
  return words.find(({ edge }) => edge?.query === position && edge.weight >= CARRIED) ?? null;
}

function contents(app, t, { value: logit, words, apart }, text, rival, ask) {
  const scale = Math.max(...[...words, ...apart].map((part) => Math.abs(part.value)).filter(Number.isFinite)) || 1;
  const quoted = (s) => quotedToken(app.run, s);
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
  const apartRow = ({ title, note, value }) => el("li", { class: "term", dataset: { value: String(value) } },
    el("span", { class: "value" }, signed(value)), bar(value / scale), el("span", { class: "from" }, title),
    el("span", { class: "what" }, el("span", {}, note)));
  const cause = mainCause({ words }), carried = cause && carriedBy({ words }, cause.position);
  const said = ["“", token(text), "”", rival && [" rather than “", token(rival.text), "”"]];
  const [own, biases] = apart;
  const alone = [`Of the ${rival ? "difference" : "logit"} ${number(logit)}, the last token `, quoted(t),
    ` itself adds ${signed(own.value)}, learnt biases ${signed(biases.value)}. `];
  const from = (place) => [" came from ", el("strong", {}, quoted(place)), ` (${signed(cause.value)})`];
  return [
    el("p", { class: "cause" },
      alone,
      !words.length ? "There is no earlier word."
        : !cause ? "No earlier word speaks for it."
          : isMost({ words }, cause) ? ["Apart from these, most of ", said, from(cause.position), ". "]
            : ["Apart from these, more of ", said, from(cause.position), " than from any other earlier word. "],
      carried && [quoted(cause.position), ", which had read ", quoted(carried.position), ` (${percent(carried.edge.weight)}), `,
        "also carries that word on: its part is counted on its own, ", signed(carried.value), ". "],
      cause?.edge && el("button", { id: "why-cause", onclick: () => go(cause) }, "See how: ", way(cause))),
    words.length > 0 && el("ol", { class: "causes", "aria-label": "earlier words" }, words.slice(0, SHOWN).map(row), more),
    el("h4", {}, "From no earlier word"),
    el("ul", { class: "causes apart" }, apart.map(apartRow)),
  ];
}
