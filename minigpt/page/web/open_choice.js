// Where in a text the next token is least certain: there, temperature and the filters have something to choose from.

import { softmax } from "./sampling.js";

const MOST = 1e6; // logits that are asked for at once; of a longer text or a larger vocabulary, only the end is looked at
const END = 16; // tokens

const found = new WeakMap(); // run -> promise of the position

/** The position after which the next token is least certain: a promise of {position, best: the best token's probability}. */
export function mostOpenPosition(app, run = app.run) {
  if (!found.has(run)) {
    const answer = search(app, run);
    found.set(run, answer);
    answer.catch(() => found.delete(run));
  }
  return found.get(run);
}

async function search(app, run) {
  const T = run.ids.length, V = app.config.vocab_size;
  const first = T * V <= MOST ? 0 : Math.max(0, T - END);
  const rows = first || T * V > MOST
    ? await Promise.all(Array.from({ length: T - first }, (_, i) => app.numbers("logits", [first + i, null], run).then(({ data }) => data)))
    : await app.numbers("logits", [null, null], run).then(({ data }) => Array.from({ length: T }, (_, t) => data.subarray(t * V, (t + 1) * V)));
  const choices = rows.map(softmax).map((probs, i) => ({
    position: first + i, entropy: entropy(probs), best: probs.reduce((most, p) => Math.max(most, p), 0),
  }));
  return choices.reduce((open, choice) => (choice.entropy > open.entropy ? choice : open));
}

/** 0 if one token has everything, log V if all are equally probable. */
function entropy(probs) {
  return -probs.reduce((sum, p) => sum + (p > 0 ? p * Math.log(p) : 0), 0);
}
