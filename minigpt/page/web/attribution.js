// How much every part of the model adds to the logit of a token: the answer to the question "attribution".

const answers = new WeakMap(); // by run

/** Ask once: {ask, run, position, token (an id), other (an id or null)}. Returns a promise of the answer. */
export function attributionOf(app, position, id, other) {
  const { run } = app;
  if (!answers.has(run)) answers.set(run, new Map());
  const kept = answers.get(run), key = `${position} ${id} ${other}`;
  if (!kept.has(key)) {
    const answer = app.source.ask({ ask: "attribution", run: run.run, position, token: id, other });
    kept.set(key, answer);
    answer.catch(() => kept.delete(key));
  }
  return kept.get(key);
}

/**
 * All parts in the order of the forward pass: [{name, title, value, to, reads}]; their values sum to the logit. to: the
 * place that shows the part. reads: for a head, what it adds by each token that it reads.
 */
export function partsOf(answer) {
  const parts = [
    { name: "wte", title: "embedding of the token", value: answer.wte, to: { view: "activation", name: "embed" } },
    { name: "wpe", title: "embedding of the position", value: answer.wpe, to: { view: "activation", name: "embed" } },
  ];
  answer.heads.forEach((heads, layer) => {
    heads.forEach((value, head) => parts.push({
      name: `h.${layer} head ${head}`, title: `block ${layer}, head ${head}`, value,
      to: { view: "attention", layer, head }, reads: answer.by_token[layer][head],
    }));
    parts.push({
      name: `h.${layer}.attn.c_proj.bias`, title: `block ${layer}, attention's bias`, value: answer.attn_biases[layer],
      to: { view: "activation", name: `h.${layer}.attn.out` },
    });
    parts.push({ name: `h.${layer}.mlp`, title: `block ${layer}, MLP`, value: answer.mlps[layer], to: { view: "mlp", layer } });
  });
  const bias = { view: "norm", name: "ln_f" };
  parts.push({ name: "ln_f.bias", title: "bias of the last layer norm", value: answer.ln_f_bias, to: bias });
  // Rounding alone is not worth a line; what a change of the run adds is.
  const rest = { name: "rest", title: "what changes of the run add", value: answer.rest, to: { view: "changes" } };
  return Math.abs(answer.rest) > 1e-3 * Math.max(1, Math.abs(answer.logit)) ? [...parts, rest] : parts;
}

/** What one row of the stream adds: "embed", or an attention or an MLP of a block. */
export function pushOf(answer, name) {
  if (name === "embed") return answer.wte + answer.wpe;
  const layer = Number(name.split(".")[1]);
  if (name.endsWith("mlp.out")) return answer.mlps[layer];
  return answer.heads[layer].reduce((sum, x) => sum + x, answer.attn_biases[layer]);
}

/** The tokens that a head's number comes from, the largest first: [{position, value}]. */
export function mostRead(reads, count) {
  return reads.map((value, position) => ({ position, value })).filter(({ value }) => value !== 0)
    .sort((a, b) => Math.abs(b.value) - Math.abs(a.value)).slice(0, count);
}
