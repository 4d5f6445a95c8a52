// The formulas of the activations, each as the sum of terms that gives one of its numbers; as in
// minigpt/looking/why/forward.py. A formula gets the Numbers inside the block (why_numbers.js) and the number's index, in
// letters as in model.py, with h a head, t a token (the query), s a key, d, k, f and v the number in a vector. It
// returns {formula, terms, also, note, numbers, magnitude}: also are numbers it depends on without adding them; numbers
// is the formula with numbers in it, if not the largest terms written out; rounding is relative to magnitude, if not
// to the sum of the absolute values; missing says that the terms need parameters that this page does not have.

import { ACTIVATION_FUNCTIONS } from "./activation_functions.js";
import { constant, general, written } from "./why_numbers.js";

async function embed(at, t, d) {
  const id = at.run.ids[t];
  const formula = "embed[t, d] = wte[ids[t], d] + wpe[t, d]";
  if (!at.hasParameters) return { formula, terms: [], missing: true };
  const [token, position] = await Promise.all([at.parameters("wte.weight", id, d), at.parameters("wpe.weight", t, d)]);
  const terms = [
    at.term([at.parameter("wte.weight", [id, d], token[0])], { position: t }),
    at.term([at.parameter("wpe.weight", [t, d], position[0])], { position: t }),
  ];
  return { formula, terms };
}

/** The formula of a layer norm; streamOf(at) is the name of the activation that it reads. */
function layerNorm(norm, streamOf) {
  return async (at, t, d) => {
    const name = streamOf(at);
    const [vector, weights, biases] = await Promise.all([
      at.numbers(name, t, null), at.parameters(`${norm}.weight`, d), at.parameters(`${norm}.bias`, d)]);
    const mean = average(vector);
    const variance = average(Float64Array.from(vector, (x) => (x - mean) ** 2));
    const epsilon = at.config.layer_norm_epsilon;
    const root = Math.sqrt(variance + epsilon);
    const entries = Array.from(vector, (x, e) => at.activation(name, [t, e], x));
    const also = [constant("mean", mean), constant("variance", variance), ...entries];
    const eps = general(epsilon, 6);
    const formula = `${norm}[t, d] = (x[t, d] - mean) / s * weight[d] + bias[d], s = √(variance + ${eps}), x = ${name}`;
    if (!weights) return { formula, terms: [], also, missing: true };
    const x = entries[d], inverse = constant("(1 / s)", 1 / root);
    const weight = at.parameter(`${norm}.weight`, [d], weights[0]), bias = at.parameter(`${norm}.bias`, [d], biases[0]);
    const result = ((x.value - mean) / root) * weight.value + bias.value;
    return {
      formula,
      terms: [
        at.term([x, weight, inverse]),
        at.term([constant("-mean", -mean), weight, inverse], { position: t }),
        at.term([bias]),
      ],
      also,
      numbers: `${general(result)} = (${general(x.value)} - ${written(mean)}) / √(${general(variance)} + ${eps}) * `
        + `${written(weight.value)} + ${written(bias.value)}`,
    };
  };
}

function average(vector) {
  let sum = 0; // a double, whatever the vector is
  for (const x of vector) sum += x;
  return sum / vector.length;
}

/** Output `column` of linear(inputs, matrix): products, and the bias. inputs: a promise of factors. */
async function linear(at, formula, inputs, matrix, column) {
  const [factors, weights, bias] = await Promise.all([
    inputs, at.parameters(`${matrix}.weight`, null, column), at.parameters(`${matrix}.bias`, column)]);
  if (!weights) return { formula, terms: [], also: factors, missing: true };
  const terms = factors.map((x, i) => at.term([x, at.parameter(`${matrix}.weight`, [i, column], weights[i])]));
  return { formula, terms: [...terms, at.term([at.parameter(`${matrix}.bias`, [column], bias[0])])] };
}

/** A whole row of an activation as factors: the numbers of token t. */
async function row(at, name, t) {
  return Array.from(await at.numbers(name, t, null), (x, i) => at.activation(name, [t, i], x));
}

/** Queries, keys or values: a third of linear(ln_1, c_attn), of which each head has a part. */
function projection(name, third) {
  return (at, h, t, k) => {
    const D = at.config.n_embd, K = at.config.head_size;
    const offset = third ? `${third * D} + ` : "";
    const formula = `${name}[h, t, k] = Σ_i ln_1[t, i] * c_attn.weight[i, j] + c_attn.bias[j], j = ${offset}${K} h + k`;
    return linear(at, formula, row(at, "ln_1", t), "attn.c_attn", third * D + h * K + k);
  };
}

async function scores(at, h, t, s) {
  const [q, k] = await Promise.all([at.numbers("attn.q", h, t, null), at.numbers("attn.k", h, s, null)]);
  const scale = constant("scale", at.config.scales[at.layer]);
  const terms = Array.from(q, (x, i) =>
    at.term([at.activation("attn.q", [h, t, i], x), at.activation("attn.k", [h, s, i], k[i]), scale]));
  const note = s > t ? `Token ${s} comes after token ${t}: the mask hides it, and its weight is 0.` : "";
  return { formula: "attn.scores[h, t, s] = Σ_k attn.q[h, t, k] * attn.k[h, s, k] * scale", terms, note };
}

async function weights(at, h, t, s) {
  const formula = "attn.weights[h, t, s] = exp(scores[h, t, s] - max) / Σ_r exp(scores[h, t, r] - max), r from 0 to t";
  if (s > t) {
    const note = `Token ${s} comes after token ${t}: the mask hides it, so that its weight is 0.`;
    return { formula, terms: [], note, numbers: "0 = exp(-∞)" };
  }
  const visible = Array.from((await at.numbers("attn.scores", h, t, null)).subarray(0, t + 1));
  const largest = visible.reduce((a, b) => Math.max(a, b), -Infinity);
  const total = visible.reduce((sum, x) => sum + Math.exp(x - largest), 0);
  const all = visible.map((x, r) => at.activation("attn.scores", [h, t, r], x));
  const score = all[s], value = Math.exp(score.value - largest) / total;
  return {
    formula,
    terms: [at.term([score, constant("max", largest), constant("sum", total)],
      { value, label: `exp(attn.scores[${h}, ${t}, ${s}] - max) / sum` })],
    also: all.filter((_, r) => r !== s),
    numbers: `${general(value)} = exp(${general(score.value)} - ${written(largest)}) / ${general(total)}`,
    magnitude: value * (1 + Math.abs(score.value) + Math.abs(largest)),
  };
}

async function heads(at, h, t, k) {
  const formula = "attn.heads[h, t, k] = Σ_s attn.weights[h, t, s] * attn.v[h, s, k], s from 0 to t";
  if (!at.app.step(at.full("attn.weights"), at.run)) {
    return { formula, terms: [], note: "The replaced attention does not tap its weights." };
  }
  const [w, v] = await Promise.all([at.numbers("attn.weights", h, t, null), at.numbers("attn.v", h, null, k)]);
  const terms = Array.from(w.subarray(0, t + 1), (weight, s) =>
    at.term([at.activation("attn.weights", [h, t, s], weight), at.activation("attn.v", [h, s, k], v[s])]));
  return { formula, terms };
}

function attentionOut(at, t, d) {
  const K = at.config.head_size;
  const inputs = at.numbers("attn.heads", null, t, null).then((merged) => // [H, K]: the heads side by side
    Array.from(merged, (x, i) => at.activation("attn.heads", [Math.floor(i / K), t, i % K], x)));
  const formula = `attn.out[t, d] = Σ_i attn.heads[h, t, k] * c_proj.weight[i, d] + c_proj.bias[d], i = ${K} h + k`;
  return linear(at, formula, inputs, "attn.c_proj", d);
}

/** The stream: all that was added to it since it was the embedding. */
function stream(name) {
  return async (at, t, d) => {
    const added = Array.from({ length: at.layer + 1 }, (_, layer) => [`h.${layer}.attn.out`, `h.${layer}.mlp.out`]).flat();
    if (name === "resid_mid") added.pop(); // the MLP of this block comes later
    const parts = ["embed", ...added];
    // A row is kept by the page, so that the next number of this token needs no question.
    const vectors = await Promise.all(parts.map((part) => at.numbers(part, t, null)));
    const terms = parts.map((part, i) =>
      at.term([at.activation(part, [t, d], vectors[i][d])], { label: `${part}[${t}, ${d}]` }));
    return { formula: `${name}[t, d] = embed[t, d] + every attn.out[t, d] and mlp.out[t, d] up to here`, terms };
  };
}

/** An output of one of the two matrices of the MLP. */
function mlpLinear(name, read, matrix, letter) {
  const formula = `${name}[t, ${letter}] = Σ_i ${read}[t, i] * ${matrix}.weight[i, ${letter}] + ${matrix}.bias[${letter}]`;
  return (at, t, j) => linear(at, formula, row(at, read, t), `mlp.${matrix}`, j);
}

/**
 * Far below 0, where gelu lets nearly nothing pass, float32 has only the rounding of 1 + tanh left. So the function is
 * computed in the dtype of the run, and where it differs from the run by tanh's last bit, the run is right.
 */
async function activationFunction(at, t, f) {
  const name = at.config.activation_function;
  const [pre, act] = await Promise.all([at.numbers("mlp.pre", t, f), at.numbers("mlp.act", t, f)]);
  const x = at.activation("mlp.pre", [t, f], pre[0]);
  const isFloat32 = pre instanceof Float32Array;
  const computed = ACTIVATION_FUNCTIONS[name].at(x.value, isFloat32 ? Math.fround : undefined);
  const y = isFloat32 && Math.abs(act[0] - computed) <= 2 ** -23 * Math.abs(x.value) ? act[0] : computed;
  const gate = constant(`(${name}(x) / x)`, x.value ? y / x.value : 0);
  return {
    formula: `mlp.act[t, f] = ${name}(x), x = mlp.pre[t, f]`,
    terms: [at.term([x, gate], { value: y })],
    numbers: `${general(y)} = ${name}(${general(x.value)})`,
    magnitude: Math.abs(x.value),
  };
}

async function logits(at, t, v) {
  const weight = `${at.head}.weight`;
  const [inputs, learnt] = await Promise.all([row(at, "ln_f", t), at.parameters(weight, v, null)]);
  const formula = `logits[t, v] = Σ_i ln_f[t, i] * ${weight}[v, i]`;
  if (!learnt) return { formula, terms: [], also: inputs, missing: true };
  return { formula, terms: inputs.map((x, i) => at.term([x, at.parameter(weight, [v, i], learnt[i])])) };
}

export const SUMS = {
  embed,
  ln_1: layerNorm("ln_1", (at) => at.stream(at.layer)),
  "attn.q": projection("attn.q", 0),
  "attn.k": projection("attn.k", 1),
  "attn.v": projection("attn.v", 2),
  "attn.scores": scores,
  "attn.weights": weights,
  "attn.heads": heads,
  "attn.out": attentionOut,
  resid_mid: stream("resid_mid"),
  ln_2: layerNorm("ln_2", (at) => at.full("resid_mid")),
  "mlp.pre": mlpLinear("mlp.pre", "ln_2", "c_fc", "f"),
  "mlp.act": activationFunction,
  "mlp.out": mlpLinear("mlp.out", "mlp.act", "c_proj", "d"),
  resid: stream("resid"),
  ln_f: layerNorm("ln_f", (at) => at.stream(at.config.n_layer)),
  logits,
};
