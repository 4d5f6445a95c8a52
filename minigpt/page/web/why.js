// Where a number comes from: the sum that made it, computed here from the program's own numbers. why_sums.js has the
// formulas; this file has what they share. The answer is that of Why.to_dict() in minigpt/looking/why/answer.py.

import { tokenText } from "./dom.js";
import { vocabularyTexts } from "./vocabulary.js";
import { Numbers, general, written } from "./why_numbers.js";
import { SUMS } from "./why_sums.js";

const MAX_WRITTEN = 3; // terms written out as numbers
// A recorded number differs from its formula, computed here in float64, by rounding: in units of the dtype's epsilon.
const MAX_ROUNDINGS = 200;
const EPSILON = { Float32Array: 2 ** -23, Float64Array: 2 ** -52 };
const TINY = { Float32Array: 2 ** -126, Float64Array: 2 ** -1022 };

/**
 * Return the arithmetic of one number of an activation: {kind, name, index, value, where, formula, numbers, terms, also,
 * note}. The terms sum to the value, up to rounding, the largest first. Only the rows and columns that take part are
 * asked for.
 */
export async function why(app, name, index) {
  const at = new Numbers(app, name);
  const sum = SUMS[at.part];
  if (!sum) throw new Error(`no activation is called ${name}`);
  const [{ data }, where, found] = await Promise.all([app.numbers(name, index), whereOf(at, index), sum(at, ...index)]);
  return finished(at, index, data, where, found);
}

/** A phrase that says which tokens a number belongs to. */
async function whereOf(at, index) {
  const token = (t) => `token ${t} "${tokenText(at.run.tokens[t])}"`;
  if (/^attn\.(scores|weights)$/.test(at.part)) return `head ${index[0]}, query: ${token(index[1])}, key: ${token(index[2])}`;
  if (index.length === 3) return `head ${index[0]}, ${token(index[1])}`;
  if (at.part !== "logits") return token(index[0]);
  const [text] = await vocabularyTexts(at.app, [index[1]]);
  return `after ${token(index[0])}, how well "${tokenText(text)}" fits`;
}

/** Put the answer together. What the terms miss, beyond rounding, becomes a term of its own: the page never hides it. */
function finished(at, index, data, where, found) {
  const value = data[0], dtype = data.constructor.name;
  const terms = [...found.terms];
  let note = found.note ?? "";
  if (found.missing) note = `${note} This page has no parameters of the model, so it cannot write the sum out.`.trim();
  else {
    const total = terms.reduce((sum, term) => sum + term.value, 0);
    const magnitude = found.magnitude ?? terms.reduce((sum, term) => sum + Math.abs(term.value), 0);
    const tolerance = MAX_ROUNDINGS * EPSILON[dtype] * (magnitude + TINY[dtype] / EPSILON[dtype]);
    if (!(Math.abs(value - total) <= tolerance)) {
      const [label, sentence] = blame(at, total);
      terms.push(at.term([], { value: value - total, label }));
      note = `${note} ${sentence}`.trim();
    }
  }
  const size = (term) => (Number.isFinite(term.value) ? Math.abs(term.value) : Infinity);
  terms.sort((a, b) => size(b) - size(a) || 0);
  return {
    kind: "activation", name: at.name, index, value, where, formula: found.formula,
    numbers: found.missing ? "" : (found.numbers ?? writtenSum(value, terms)), terms, also: found.also ?? [], note,
  };
}

/** Why a number is not what its formula gives: a label, and a sentence. */
function blame(at, total) {
  const changed = new Set(at.run.changes.map((change) => change.name));
  const gives = `the formula gives ${general(total, 6)} here`;
  if (changed.has(at.name)) return ["edited", `${at.name} was edited: ${gives}.`];
  const names = at.run.steps.map((step) => step.name);
  const streams = names.slice(0, names.indexOf(at.name)).filter((name) => /resid(_mid)?$/.test(name) && changed.has(name));
  if (/resid(_mid)?$/.test(at.name) && streams.length) return ["edited", `The stream was edited at ${streams.join(", ")}: ${gives}.`];
  return ["difference", `The number is not what the formula gives: ${gives}.`];
}

function writtenSum(value, terms) {
  const products = terms.slice(0, MAX_WRITTEN).map((term) => term.factors.map((f) => written(f.value)).join(" * ") || written(term.value));
  if (terms.length > MAX_WRITTEN) products.push(`... (${terms.length - MAX_WRITTEN} more)`);
  return `${general(value)} = ${products.join(" + ") || "0"}`;
}
