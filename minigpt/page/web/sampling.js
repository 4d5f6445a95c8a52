// From logits to the next token: minigpt/generation/sampling.py, rule for rule, for one row of scores.
//
// Every filter takes scores [V], a Float32Array or Float64Array, and returns new ones of the same kind, -Infinity for a
// token that falls. Probabilities and their sums are in double precision.

const FALLEN = -Infinity;

/** softmax(x)_i = exp(x_i) / sum_j exp(x_j); subtracting the maximum keeps exp from overflowing. [V] -> Float64Array [V]. */
export function softmax(scores) {
  const largest = maximum(scores);
  const probs = Float64Array.from(scores, (x) => Math.exp(x - largest));
  const sum = probs.reduce((total, x) => total + x, 0);
  return probs.map((x) => x / sum);
}

/** scores / temperature: below 1 sharpens the distribution, above 1 flattens it. */
export function temperature(scores, value) {
  // NumPy divides float32 numbers by a float32 number; a product of doubles would round differently.
  const divisor = scores instanceof Float32Array ? Math.fround(value) : value;
  return scores.map((x) => x / divisor);
}

/** Keep the k highest scores, and all that tie with the k-th. */
function topK(scores, k, minKeep = 1) {
  const n = Math.min(Math.max(k, minKeep), scores.length);
  const bound = nthHighest(scores, n);
  return scores.map((x) => (x >= bound ? x : FALLEN));
}

/** Keep the most probable tokens whose mass first reaches p: a token stays if those above it hold less than p. */
function topP(scores, p, minKeep = 1) {
  const sorted = scores.slice().sort(); // the least probable first; a typed array sorts by size, and fast
  const probs = softmax(sorted);
  // The sum from the least probable token up to this one is 1 - (mass above it).
  let fallen = 0, sum = 0;
  while (fallen < scores.length - minKeep && (sum += probs[fallen]) <= 1 - p) fallen++;
  return keepHighest(scores, scores.length - fallen, sorted);
}

/** Keep the tokens with at least p times the probability of the most probable one. */
function minP(scores, p, minKeep = 1) {
  const probs = softmax(scores);
  const bound = p * maximum(probs);
  const count = probs.reduce((n, x) => n + (x >= bound), 0);
  return keepHighest(scores, Math.min(Math.max(count, minKeep), scores.length));
}

/**
 * Apply the filters that the options ask for, in this order: temperature, top_k, top_p, min_p. A filter sees only the
 * tokens that are left. options: {do_sample, temperature, top_k, top_p, min_p}, as in minigpt/generation/options.py.
 * Without do_sample nothing is filtered: the most probable token is taken (`greedy`).
 * Returns {scores, reasons}: reasons [V] names the filter at which a token fell, "" for those that stay.
 */
export function applyFilters(scores, options, minKeep = 1) {
  const reasons = new Array(scores.length).fill("");
  if (!options.do_sample) return { scores, reasons };
  let left = scores;
  const filter = (name, keep) => {
    const kept = keepAmongLeft(left, keep);
    for (let i = 0; i < kept.length; i++) if (kept[i] === FALLEN && left[i] !== FALLEN) reasons[i] = name;
    left = kept;
  };
  if (options.temperature !== 1) left = temperature(left, options.temperature);
  if (options.top_k) filter("top_k", (x) => topK(x, options.top_k, minKeep));
  if (options.top_p !== null && options.top_p < 1) filter("top_p", (x) => topP(x, options.top_p, minKeep));
  if (options.min_p !== null) filter("min_p", (x) => minP(x, options.min_p, minKeep));
  return { scores: left, reasons };
}

/** Apply a filter to the tokens that are left. */
function keepAmongLeft(scores, keep) {
  const candidates = indicesWhere(scores, (x) => x > FALLEN);
  const kept = keep(scores.constructor.from(candidates, (i) => scores[i]));
  const result = scores.slice().fill(FALLEN);
  candidates.forEach((token, i) => (result[token] = kept[i]));
  return result;
}

/** The most probable token; of several, the first in the vocabulary. */
export function greedy(scores) {
  return scores.indexOf(maximum(scores));
}

/** The indices of the n highest scores, highest first; of equal ones, the first in the vocabulary comes first. */
export function topIndices(scores, n) {
  const bound = nthHighest(scores, Math.min(n, scores.length));
  return indicesWhere(scores, (x) => x >= bound).sort((a, b) => scores[b] - scores[a] || a - b).slice(0, n);
}

/**
 * Draw one token with the probabilities softmax(scores); uniform is a random number from 0 to 1. The probabilities are
 * added up in the order of the vocabulary; the first token at which the sum exceeds the random number is drawn.
 */
export function drawToken(scores, uniform) {
  const candidates = indicesWhere(scores, (x) => x > FALLEN);
  let sum = 0;
  const cumulative = softmax(Float64Array.from(candidates, (i) => scores[i])).map((p) => (sum += p));
  const drawn = cumulative.findIndex((total) => total > uniform * sum);
  return candidates[drawn];
}

/** Keep n tokens. Of equal scores those last in the vocabulary stay, because NumPy's stable argsort puts them last. */
function keepHighest(scores, n, sorted = scores.slice().sort()) {
  const bound = sorted[scores.length - n];
  let ties = n - scores.reduce((count, x) => count + (x > bound), 0);
  const kept = scores.slice().fill(FALLEN);
  for (let i = scores.length - 1; i >= 0; i--) {
    if (scores[i] > bound || (scores[i] === bound && ties-- > 0)) kept[i] = scores[i];
  }
  return kept;
}

function nthHighest(values, n) {
  return values.slice().sort()[values.length - n];
}

function indicesWhere(scores, test) {
  const found = [];
  for (let i = 0; i < scores.length; i++) if (test(scores[i])) found.push(i);
  return found;
}

function maximum(values) {
  let largest = FALLEN;
  for (const x of values) if (x > largest) largest = x;
  return largest;
}
