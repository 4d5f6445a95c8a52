// A logit as a sum over the tokens of the text, through all blocks. What makes the model more than a product of matrices
// are the attention weights, the share that the activation function lets pass of each neuron (act / pre) and the spread
// by which each layer norm divides. If these are held at what they were in this run, everything else is linear: so the
// logit is exactly the sum of what came from each token's embedding, and of the learnt biases. The sum is made from the
// logit backwards, as the backward pass does it: `flow` says what each number of a vector adds to the logit in the end.

const MAX_PARAMETERS = 3e6; // of a model whose matrices the page takes whole; a larger one has `attribution` alone

export function canSumPaths(app) {
  return app.start.has_parameters !== false && app.config.parameters <= MAX_PARAMETERS;
}

/**
 * Split logits[t, v] of a run, or its difference to logits[t, rival], over the tokens. Returns {value, tokens: [t + 1],
 * bias, rest, edges: [t + 1]}; edges[s] is the connection {layer, head, query, source: s, weight, value} through which most
 * came from s to a later token, or null. rest is what the sum misses: rounding, unless an activation was edited.
 */
export async function pathSums(app, run, t, v, rival) {
  const { n_layer: L, n_head: H, n_embd: D, head_size: K, tied, layer_norm_epsilon: epsilon } = app.config;
  const T = t + 1;
  const parameter = async (name, ...index) => (await app.parameter(name, index)).data;
  const numbers = async (name) => (await app.numbers(name, null, run)).data;
  const head = tied ? "wte.weight" : "lm_head.weight";
  const [row, other, logits] = await Promise.all([
    parameter(head, v, null), rival === null ? null : parameter(head, rival, null), app.numbers("logits", [t, null], run)]);
  const value = logits.data[v] - (rival === null ? 0 : logits.data[rival]);

  prefetch(app, run);

  let bias = 0;
  const edges = Array(T).fill(null);
  let flow = new Float64Array(T * D);
  row.forEach((x, i) => { flow[t * D + i] = x - (other ? other[i] : 0); });

  /** From what a layer norm puts out to what it reads, its spread held. */
  const throughNorm = async (name, input, back) => {
    const [weight, shift, x] = await Promise.all([
      parameter(`${name}.weight`, null), parameter(`${name}.bias`, null), numbers(input)]);
    const read = new Float64Array(T * D);
    for (let p = 0; p < T; p++) {
      let mean = 0, square = 0, middle = 0;
      for (let i = 0; i < D; i++) mean += x[p * D + i] / D;
      for (let i = 0; i < D; i++) square += (x[p * D + i] - mean) ** 2 / D;
      const spread = Math.sqrt(square + epsilon);
      for (let i = 0; i < D; i++) {
        bias += back[p * D + i] * shift[i];
        read[p * D + i] = (back[p * D + i] * weight[i]) / spread;
        middle += read[p * D + i] / D;
      }
      for (let i = 0; i < D; i++) read[p * D + i] -= middle; // the mean is taken away from what is read
    }
    return read;
  };
  /** From what a matrix puts out to what it reads; only `size` outputs from `first` on take part. */
  const throughMatrix = async (name, back, size, first = 0) => {
    const [{ data: weight, shape: [inputs, outputs] }, shift] = await Promise.all([
      app.parameter(`${name}.weight`, [null, null]), parameter(`${name}.bias`, null)]);
    const read = new Float64Array(T * inputs);
    for (let p = 0; p < T; p++) {
      for (let j = 0; j < size; j++) bias += back[p * size + j] * shift[first + j];
      for (let i = 0; i < inputs; i++) {
        let sum = 0;
        for (let j = 0, w = i * outputs + first; j < size; j++, w++) sum += back[p * size + j] * weight[w];
        read[p * inputs + i] = sum;
      }
    }
    return read;
  };
  const add = (more) => { for (let i = 0; i < flow.length; i++) flow[i] += more[i]; };

  flow = await throughNorm("ln_f", `h.${L - 1}.resid`, flow);
  for (let layer = L - 1; layer >= 0; layer--) {
    const block = `h.${layer}`;
    const [pre, act, weights, values] = await Promise.all(
      ["mlp.pre", "mlp.act", "attn.weights", "attn.v"].map((part) => numbers(`${block}.${part}`)));
    // The MLP: backwards through c_proj, the shares that passed, c_fc and the norm; the stream itself passes it by.
    const neurons = await throughMatrix(`${block}.mlp.c_proj`, flow, D);
    for (let i = 0; i < neurons.length; i++) neurons[i] *= pre[i] ? act[i] / pre[i] : 0;
    const widened = await throughMatrix(`${block}.mlp.c_fc`, neurons, neurons.length / T);
    add(await throughNorm(`${block}.ln_2`, `${block}.resid_mid`, widened));
    // Attention: backwards through c_proj, then from every query to the values it took, and through the norm.
    const heads = await throughMatrix(`${block}.attn.c_proj`, flow, D);
    const taken = new Float64Array(T * D);
    const S = run.ids.length;
    for (let h = 0; h < H; h++) {
      for (let q = 0; q < T; q++) {
        for (let s = 0; s <= q; s++) {
          const weight = weights[(h * S + q) * S + s];
          let passed = 0;
          for (let k = 0; k < K; k++) {
            const back = heads[q * D + h * K + k] * weight;
            taken[s * D + h * K + k] += back;
            passed += back * values[(h * S + s) * K + k];
          }
          const most = edges[s] ? Math.abs(edges[s].value) : 0;
          if (s < q && Math.abs(passed) > most) edges[s] = { layer, head: h, query: q, source: s, weight, value: passed };
        }
      }
    }
    const read = await throughMatrix(`${block}.attn.c_attn`, taken, D, 2 * D);
    add(await throughNorm(`${block}.ln_1`, layer ? `h.${layer - 1}.resid` : "embed", read));
  }
  const embed = await numbers("embed");
  const tokens = Array.from({ length: T }, (_, s) => {
    let sum = 0;
    for (let i = s * D; i < (s + 1) * D; i++) sum += flow[i] * embed[i];
    return sum;
  });
  return { value, tokens, bias, edges, rest: value - bias - tokens.reduce((sum, x) => sum + x, 0) };
}

/** Ask for everything at once: the questions of one block need not wait for the answers of another. The app keeps them. */
function prefetch(app, run) {
  const ask = (name, ...index) => app.parameter(name, index).catch(() => null);
  for (let layer = app.config.n_layer - 1; layer >= 0; layer--) {
    const block = `h.${layer}`;
    for (const matrix of ["mlp.c_proj", "mlp.c_fc", "attn.c_proj", "attn.c_attn"]) {
      ask(`${block}.${matrix}.weight`, null, null);
      ask(`${block}.${matrix}.bias`, null);
    }
    for (const norm of ["ln_1", "ln_2"]) for (const part of ["weight", "bias"]) ask(`${block}.${norm}.${part}`, null);
    for (const part of ["mlp.pre", "mlp.act", "attn.weights", "attn.v", "resid_mid", "resid"]) {
      app.numbers(`${block}.${part}`, null, run).catch(() => null);
    }
  }
}
