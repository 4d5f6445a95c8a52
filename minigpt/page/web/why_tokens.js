// Which tokens a logit came from. Of a small model the page multiplies all paths out (why_paths.js); of a large one it
// shows what the program's `attribution` says: which parts of the model wrote to the logit, and what its heads read.

import { el, fill, number, token } from "./dom.js";
import { vocabularyTexts } from "./vocabulary.js";
import { bar, signed } from "./why_bar.js";
import { canSumPaths, pathSums } from "./why_paths.js";

const SHOWN = 6;
const kept = new WeakMap(); // run -> Map("t v rival" -> promise of the parts)
let alone = false; // whether the reader wants the logit itself, not its difference to the next best token's

/**
 * The section about logits[t, v]: an element at once, filled as soon as the answer is there. ask(factor) goes on to a
 * number. Removed if the page cannot tell.
 */
export function renderTokens(app, t, v, ask) {
  const section = el("section", { class: "why-tokens", "aria-label": "Which tokens it came from" },
    el("h3", {}, "Which tokens did it come from?"), el("p", { class: "hint" }, "Multiplying out …"));
  const show = async () => {
    const rival = await rivalOf(app, t, v);
    const answer = await partsOf(app, t, v, alone ? null : rival.id);
    fill(section, contents(app, t, answer, alone ? null : rival, ask), el("button", {
      id: "why-rival", onclick: () => { alone = !alone; show().then(() => document.getElementById("why-rival")?.focus()); },
    }, alone ? ["compare with “", token(rival.text), "”"] : "the logit alone"));
  };
  show().catch(() => section.remove()); // without this answer there still is the sum
  return section;
}

/** The most probable token, or if that is v, the one after it: what the model might have said instead. */
async function rivalOf(app, t, v) {
  const { data } = await app.numbers("logits", [t, null]);
  let id = v ? 0 : 1;
  data.forEach((x, i) => { if (i !== v && x > data[id]) id = i; });
  const [text] = await vocabularyTexts(app, [id]);
  return { id, text };
}

function partsOf(app, t, v, rival) {
  if (!kept.has(app.run)) kept.set(app.run, new Map());
  const answers = kept.get(app.run), key = `${t} ${v} ${rival}`;
  if (!answers.has(key)) answers.set(key, canSumPaths(app) ? fromPaths(app, t, v, rival) : fromAttribution(app, t, v, rival));
  return answers.get(key);
}

/** The parts of a logit: {value, says, parts: [{words, value, ask or go, way, isLast}]}, the largest first. */
async function fromPaths(app, t, v, rival) {
  const { value, tokens, bias, edges, rest } = await pathSums(app, t, v, rival);
  const quoted = (s) => ["“", token(app.run.tokens[s]), "”"];
  const parts = tokens.map((part, s) => ({
    words: quoted(s), value: part,
    ...(edges[s] && s !== t ? {
      way: ["mostly: ", quoted(edges[s].query), ` reads it, block ${edges[s].layer} head ${edges[s].head}`],
      ask: { name: `h.${edges[s].layer}.attn.weights`, index: [edges[s].head, edges[s].query, s] },
    } : {}),
  }));
  return {
    value, parts: ordered([...parts, { words: "learnt biases", value: bias, isLast: true }], rest),
    says: ["Multiplied out through all blocks, with attention weights, layer norms and neurons’ gates held as they were here, ",
      "it is a sum over the tokens:"],
  };
}

async function fromAttribution(app, t, v, rival) {
  const answer = await app.source.ask({ ask: "attribution", run: app.run.run, position: t, token: v, other: rival });
  const sum = (numbers) => numbers.reduce((total, x) => total + x, 0);
  const largest = (entries) => entries.reduce((best, entry) => (Math.abs(entry.value) > Math.abs(best.value) ? entry : best));
  const read = Array.from({ length: t + 1 }, (_, s) => {
    const heads = answer.by_token.flatMap((rows, layer) => rows.map((row, head) => ({ layer, head, value: row[s] })));
    const most = largest(heads);
    return {
      words: ["read from “", token(app.run.tokens[s]), "”"], value: sum(heads.map(({ value }) => value)),
      way: [`mostly block ${most.layer}, head ${most.head}: ${signed(most.value)}`],
      ask: { name: `h.${most.layer}.attn.weights`, index: [most.head, t, s] },
    };
  });
  const mlp = largest(answer.mlps.map((value, layer) => ({ layer, value })));
  const parts = [
    ...read,
    { words: ["“", token(app.run.tokens[t]), "” as embedded"], value: answer.wte + answer.wpe },
    {
      words: "the MLPs", value: sum(answer.mlps), way: [`mostly block ${mlp.layer}: ${signed(mlp.value)}`],
      go: { view: "mlp", layer: mlp.layer, token: t },
    },
    { words: "learnt biases", value: sum(answer.attn_biases) + answer.ln_f_bias, isLast: true },
  ];
  return {
    value: answer.logit, parts: ordered(parts, answer.rest),
    says: ["It is the sum of what each part of the model wrote to the last vector. Of heads, it is told which token they read; ",
      "that token’s own vector had read earlier ones before."],
  };
}

function ordered(parts, rest) {
  const total = parts.reduce((size, part) => size + Math.abs(part.value), 0);
  if (!(Math.abs(rest) <= 1e-4 * total)) parts.push({ words: "not explained: something was changed", value: rest, isLast: true });
  return parts.sort((a, b) => Boolean(a.isLast) - Boolean(b.isLast) || Math.abs(b.value) - Math.abs(a.value));
}

function contents(app, t, { value, parts, says }, rival, ask) {
  const scale = Math.max(...parts.map((part) => Math.abs(part.value)).filter(Number.isFinite)) || 1;
  const row = ({ words, value: x, way, ask: factor, go }) => el("li", {
    class: way ? "term askable" : "term", dataset: { value: String(x) },
    onclick: way && (() => (factor ? ask(app, factor) : app.go({ ...go, why: app.place.why }))),
  },
  el("span", { class: "value" }, signed(x)), bar(x / scale), el("span", { class: "from" }, words),
  way && el("span", { class: "what" }, el("button", { class: "factor main" }, way)));
  const others = parts.filter(({ isLast }) => !isLast);
  const hidden = others.slice(SHOWN);
  const together = hidden.reduce((total, part) => total + part.value, 0);
  const more = hidden.length > 0 && el("li", { class: "term" },
    el("span", { class: "value" }, signed(together)), bar(together / scale),
    el("button", { onclick: () => more.replaceWith(...hidden.map(row)) }, `${hidden.length} more`));
  const list = el("ol", { class: "terms" },
    others.slice(0, SHOWN).map(row), more, parts.filter(({ isLast }) => isLast).map(row));
  return [
    el("h3", {}, "Which tokens did it come from?"),
    el("p", { class: "hint" },
      rival && ["Its logit minus that of “", token(rival.text), "” is ", el("b", {}, signed(value)), ". "], says),
    list,
  ];
}
