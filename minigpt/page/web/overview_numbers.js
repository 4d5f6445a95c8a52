// The numbers in the picture of the whole model, from the activations of the run.

import { vocabularyTexts } from "./vocabulary.js";

const BEST = 7; // next tokens
// Products for the guesses of all rows after all blocks: some tenths of a second. Beyond, there is the view of the lens.
const MAX_LENS = 8e9;

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

/** What make() returns, made once for a run. */
export function once(run, key, make) {
  if (!kept.has(run)) kept.set(run, new Map());
  const made = kept.get(run);
  if (!made.has(key)) made.set(key, make());
  return made.get(key);
}

/**
 * What the stream of a row says after each block, if the model ended there: {at: [{id, text, probability}] for the embedding
 * and every block, rows: the same after the last block, for every row}. null where the page cannot ask.
 */
export async function guesses(app, run, position) {
  const { n_layer, n_embd, vocab_size } = app.config;
  if (app.start.live && (n_layer + 1) * run.ids.length * n_embd * vocab_size > MAX_LENS) return null;
  const question = { ask: "lens", run: run.run, position: null, k: Math.min(5, vocab_size) };
  const answer = await once(run, "lens", () => app.source.ask(question).catch(() => null));
  if (!answer) return null;
  const best = (layer, row) => ({
    id: answer.ids[layer][row][0], text: answer.texts[layer][row][0], probability: answer.probabilities[layer][row][0],
  });
  return {
    at: answer.texts.map((_, layer) => best(layer, position)),
    rows: run.tokens.map((_, row) => best(answer.texts.length - 1, row)),
  };
}

/**
 * How long the vectors are that attention and the MLP add to each row in each block, and their share of the length of
 * the stream they are added to: {attention, mlp}, each [layer][position] = {length, share}.
 */
export async function sizesOf(app, run) {
  const lengths = (name) => app.numbers(name, [null, null], run).then(rowLengths);
  const added = (part, stream) => Promise.all(Array.from({ length: app.config.n_layer }, async (_, layer) => {
    const [out, before] = await Promise.all([lengths(`h.${layer}.${part}.out`), lengths(stream(layer))]);
    return Array.from(out, (length, t) => ({ length, share: before[t] ? length / before[t] : 0 }));
  }));
  const [attention, mlp] = await Promise.all([
    added("attn", (layer) => (layer ? `h.${layer - 1}.resid` : "embed")),
    added("mlp", (layer) => `h.${layer}.resid_mid`)]);
  return { attention, mlp };
}

function rowLengths({ data, shape: [T, D] }) {
  return Float64Array.from({ length: T }, (_, t) => {
    let sum = 0;
    for (let i = t * D; i < (t + 1) * D; i++) sum += data[i] * data[i];
    return Math.sqrt(sum);
  });
}
