// What a number is, in one plain sentence for each kind of activation: the first thing that the panel says about it.

import { percent, token } from "./dom.js";
import { quotedToken } from "./words.js";
import { vocabularyTexts } from "./vocabulary.js";

/** The sentence about one number: a list of texts and elements; a promise of one for logits. */
export function sentence(app, name, index) {
  const [, block, part] = /^(?:h\.(\d+)\.)?(.+)$/.exec(name);
  const quoted = (t) => quotedToken(app.run, t);
  const t = index.at(-2); // the token, or in [head, query, key] the query
  const here = quoted(index.length === 3 && !/scores|weights/.test(part) ? index[1] : t);
  const { n_embd, head_size, activation_function: activation } = app.config;
  const i = index.at(-1);
  const vector = ["Number ", String(i), " of "];
  const head = `head ${index[0]} of block ${block}`;
  switch (part) {
    case "embed":
      return [...vector, "the vector that ", here, " starts with: what this token is, plus that it stands at position ",
        String(t), ". Both were learnt in training."];
    case "ln_1": case "ln_2": case "ln_f": {
      const reader = { ln_1: `the attention of block ${block}`, ln_2: `the MLP of block ${block}`, ln_f: "the head" }[part];
      return [...vector, here, "’s stream as ", reader, " reads it: minus the mean of its ", String(n_embd),
        " numbers, divided by their spread, times a learnt weight, plus a learnt bias."];
    }
    case "attn.q":
      return [...vector, "the query of ", here, ": what it looks for with ", head, "."];
    case "attn.k":
      return [...vector, "the key of ", here, ": what it is found by with ", head, "."];
    case "attn.v":
      return [...vector, "the value of ", here, ": what it hands on, through ", head, ", to tokens that attend to it."];
    case "attn.scores":
      return ["How well the query of ", here, " matches the key of ", quoted(i), " in ", head, ": their ", String(head_size),
        " products, added up and scaled."];
    case "attn.weights":
      return i > t ? [here, " gives no attention to ", quoted(i), ", which comes later."]
        : ["The attention weight that ", here, " gives to ", quoted(i), " in ", head,
          ": e to the score, divided by the sum of that over all the tokens it sees."];
    case "attn.heads":
      return [...vector, "what ", head, " gathered for ", here,
        ": the values of the tokens it attends to, each times its attention weight."];
    case "attn.out":
      return [...vector, `what the attention of block ${block} adds to the stream of `, here,
        ": what all its heads gathered, each number times a learnt weight."];
    case "resid_mid": case "resid":
      return [...vector, "the stream of ", here, ` after ${part === "resid" ? "" : "the attention of "}block ${block}`,
        ". Nothing in the stream is overwritten: it is the sum of all that was added to it so far."];
    case "mlp.pre":
      return ["How strongly neuron ", String(i), ` of the MLP of block ${block} responds to `, here,
        ": the token’s numbers after the layer norm, each times a learnt weight."];
    case "mlp.act":
      return ["How much of the response of neuron ", String(i), " to ", here,
        ` counts: ${activation} lets large numbers pass and stops negative ones.`];
    case "mlp.out":
      return [...vector, `what the MLP of block ${block} adds to the stream of `, here,
        ": all its neurons, each times a learnt weight."];
    case "logits":
      return logit(app, t, i, here);
    default:
      return [];
  }
}

async function logit(app, t, v, here) {
  const [[text], { data }] = await Promise.all([vocabularyTexts(app, [v]), app.numbers("logits", [t, null])]);
  const largest = data.reduce((a, b) => Math.max(a, b), -Infinity);
  const total = data.reduce((sum, x) => sum + Math.exp(x - largest), 0);
  const better = data.reduce((count, x) => count + (x > data[v]), 0);
  const rank = better ? `${better} of ${data.length} tokens fit better` : `best of all ${data.length} tokens`;
  return ["How well “", token(text), "” fits after ", here, `: ${rank}. Softmax makes a probability of it: `,
    `${percent(Math.exp(data[v] - largest) / total)}.`];
}
