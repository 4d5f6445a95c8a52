// What a program answers about the rows of an array, computed in the browser: minigpt/page/analyses.py, for a saved page.

import { softmax } from "./sampling.js";

/**
 * Rows [..., N] in min(N, count) cells: the number of largest absolute value of each cell, and its column. Of equally large
 * ones the first is taken. Returns two arrays {shape, data}.
 */
export function pooled({ shape, data }, count) {
  const N = shape.at(-1), cells = Math.min(N, count), rows = data.length / N;
  const values = new data.constructor(rows * cells), where = new Int32Array(rows * cells);
  for (let row = 0; row < rows; row++) {
    for (let cell = 0; cell < cells; cell++) {
      const start = Math.floor((cell * N) / cells), end = Math.floor(((cell + 1) * N) / cells);
      let best = start;
      for (let column = start; column < end; column++) {
        if (Math.abs(data[row * N + column]) > Math.abs(data[row * N + best])) best = column;
      }
      values[row * cells + cell] = data[row * N + best];
      where[row * cells + cell] = best;
    }
  }
  return [values, where].map((numbers) => ({ shape: [...shape.slice(0, -1), cells], data: numbers }));
}

/** Scores [..., T] with 0 for those that the mask hides. token: of each row, if the rows are not those of all tokens. */
export function visible({ shape, data }, token = null) {
  const T = shape.at(-1);
  return { shape, data: data.map((x, i) => (i % T > (token ?? Math.floor(i / T) % T) ? 0 : x)) };
}

/**
 * How open the next token is, of logits [T, V]: the entropy of its probabilities after each token, 0 if one has everything
 * and log V if all are equal, and the largest probability. Returns two arrays {shape, data}.
 */
export function uncertainty({ shape: [T, V], data }) {
  const probs = Array.from({ length: T }, (_, t) => softmax(data.subarray(t * V, (t + 1) * V)));
  const entropy = (row) => -row.reduce((sum, p) => sum + (p > 0 ? p * Math.log(p) : 0), 0);
  const largest = (row) => row.reduce((most, p) => Math.max(most, p), 0);
  return [entropy, largest].map((of) => ({ shape: [T], data: Float64Array.from(probs, of) }));
}

/** The length of every row, the root of the sum of its squares: [..., N] -> {shape: [...], data}. */
export function lengths({ shape, data }) {
  const N = shape.at(-1);
  const found = Float64Array.from({ length: data.length / N }, (_, row) =>
    Math.sqrt(data.subarray(row * N, (row + 1) * N).reduce((sum, x) => sum + x * x, 0)));
  return { shape: shape.slice(0, -1), data: found };
}
