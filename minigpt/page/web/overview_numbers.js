// The numbers in the picture of the whole model, from the activations of the run.

import { vocabularyTexts } from "./vocabulary.js";

const BEST = 7; // next tokens

/** The most probable next tokens after a position: [{id, text, logit, probability}]. */
export async function nextTokens(app, run, position) {
  const { data } = await app.numbers("logits", [position, null], run);
  const largest = data.reduce((a, b) => Math.max(a, b), -Infinity);
  const total = data.reduce((sum, x) => sum + Math.exp(x - largest), 0);
  const best = [];
  data.forEach((logit, id) => {
    if (best.length === BEST && !(logit > best[BEST - 1].logit)) return;
    const at = best.findIndex((other) => logit > other.logit);
    best.splice(at < 0 ? best.length : at, 0, { id, logit });
    best.length = Math.min(best.length, BEST);
  });
  const texts = await vocabularyTexts(app, best.map(({ id }) => id));
  return best.map(({ id, logit }, i) => ({ id, logit, text: texts[i], probability: Math.exp(logit - largest) / total }));
}

const kept = new WeakMap(); // run -> Map(key -> what was made): another token of the same run needs no new computation

/** The promise that make() returns, made once for a run; one that is rejected is forgotten, and made again. */
export function once(run, key, make) {
  if (!kept.has(run)) kept.set(run, new Map());
  const made = kept.get(run);
  if (!made.has(key)) {
    const promise = make();
    made.set(key, promise);
    promise.catch(() => made.delete(key));
  }
  return made.get(key);
}

/**
 * What the stream of a row says after the embedding and each block, if the model ended there: [{id, text, probability}].
 * null where the page cannot ask.
 */
export function guessesSoFar(app, run, position) {
  return once(run, `guesses at ${position}`, () => lens(app, run, { position })).catch(() => null);
}

/** What every row says after the last block; null where the page cannot ask. */
export function lastGuesses(app, run) {
  return once(run, "last guesses", () => lens(app, run, { last: true })).catch(() => null);
}

async function lens(app, run, which) {
  const answer = await app.source.ask({ ask: "lens", run: run.run, k: 1, ...which });
  const [ids, texts, probabilities] = ["ids", "texts", "probabilities"].map((name) => answer[name].flat(2));
  return ids.map((id, i) => ({ id, text: texts[i], probability: probabilities[i] }));
}

/**
 * How long the vectors are that attention and the MLP add to each row in each block, and their share of the length of
 * the stream they are added to: {attention, mlp}, each [layer][position] = {length, share}.
 */
export async function sizesOf(app, run) {
  const layers = Array.from({ length: app.config.n_layer }, (_, layer) => layer);
  const pairs = [
    ...layers.map((layer) => [`h.${layer}.attn.out`, layer ? `h.${layer - 1}.resid` : "embed"]),
    ...layers.map((layer) => [`h.${layer}.mlp.out`, `h.${layer}.resid_mid`]),
  ];
  const of = pairs.flat().map((name) => [name, [null, null]]);
  const { arrays } = await app.source.ask({ ask: "lengths", run: run.run, of });
  const sizes = pairs.map((_, i) => Array.from(arrays[2 * i].data, (length, t) => {
    const before = arrays[2 * i + 1].data[t];
    return { length, share: before ? length / before : 0 };
  }));
  return { attention: sizes.slice(0, layers.length), mlp: sizes.slice(layers.length) };
}
