// The stops of the tour, from a text to its next token. A stop: title; notebook: where there is more; say(found): what it
// says; try(found): something to try; place(found): where to go; look: a selector of what is talked about. `found` is
// what the present run shows best.

import { percent, token } from "./dom.js";
import { softmax, topIndices } from "./sampling.js";
import { vocabularyTexts } from "./vocabulary.js";

/** Find what shows each step well in this run: the head that looks hardest at an earlier token, the largest numbers. */
export async function findExamples(app) {
  const { run, config } = app;
  const last = run.ids.length - 1;
  let best = { layer: 0, head: 0, key: 0, weight: -1 };
  for (let layer = 0; layer < config.n_layer; layer++) {
    const { data } = await app.numbers(`h.${layer}.attn.weights`, [null, last, null]);
    data.forEach((weight, i) => {
      const head = Math.floor(i / (last + 1)), key = i % (last + 1);
      // The first token collects what a head has no use for, and itself is no news: only if there is nothing else.
      const isEarlier = key < last && (key > 0 || last === 1);
      if (isEarlier && weight > best.weight) best = { layer, head, key, weight };
    });
  }
  if (best.weight < 0) best.weight = await app.one("h.0.attn.weights", [0, last, 0]);
  const { layer, head, key } = best;
  const block = (part) => `h.${layer}.${part}`;
  const largest = async (name, start) => {
    const { data } = await app.numbers(name, [...start, null]);
    const at = data.reduce((most, x, i) => (Math.abs(x) > Math.abs(data[most]) ? i : most), 0);
    return { name, index: [...start, at] };
  };
  const logits = (await app.numbers("logits", [last, null])).data;
  const next = topIndices(logits, 1)[0];
  const [nextText] = await vocabularyTexts(app, [next]);
  const [embed, normed, gathered, act, stream] = await Promise.all([
    largest("embed", [last]), largest(block("ln_1"), [last]), largest(block("attn.heads"), [head, last]),
    largest(block("mlp.act"), [last]), largest(block("resid"), [last]),
  ]);
  const text = (t) => token(run.tokens[t]);
  return {
    ...best, T: last + 1, last, block, embed, normed, gathered, act, stream,
    next, nextText, probability: softmax(logits)[next],
    D: config.n_embd, H: config.n_head, K: config.head_size, L: config.n_layer, V: config.vocab_size, F: config.n_inner,
    score: { name: block("attn.scores"), index: [head, last, key] },
    share: { name: block("attn.weights"), index: [head, last, key] },
    logit: { name: "logits", index: [last, next] },
    text, lastText: () => text(last), keyText: () => text(key), live: app.start.live,
  };
}

/** A place with the arithmetic of a number. */
function asking(place, why) {
  return { ...place, name: why.name, why };
}

/** The head that is found, in the view of attention. */
function attentionPlace({ layer, head, last, key }, stage) {
  return { view: "attention", layer, head, token: last, key, stage };
}

function count(n, one) {
  return `${n.toLocaleString("en")} ${n === 1 ? one : `${one}s`}`;
}

export const STOPS = [
  {
    title: "A text becomes tokens",
    notebook: "01_tokens",
    place: ({ last }) => ({ view: "overview", token: last }),
    look: "#view",
    say: ({ T, V }) => [
      `A model knows no letters and no words. It knows ${count(V, "token")}, pieces of text with a number each, and this `,
      `text is ${T} of them. A sign like ␣ is the space that belongs to a token.`,
    ],
    try: ({ live }) => [
      live ? "Change the text above, and press Enter. Try a rare word: it falls into pieces."
        : "Compare the tokens with the text: does every word have one of its own?",
    ],
  },
  {
    title: "A token becomes a vector",
    notebook: "02_embeddings",
    place: ({ embed }) => asking({ view: "activation" }, embed),
    look: "#panel",
    say: ({ D, lastText }) => [
      `Every token is looked up in a table, wte: ${count(D, "number")} that say what it is. Its position is looked up in `,
      "another, wpe. Their sum is where all begins. The panel shows it for the largest number of ", lastText(), ".",
    ],
    try: () => ["Click another number: two terms each time, one for the token and one for the position."],
  },
  {
    title: "The residual stream",
    notebook: "04_block",
    place: ({ last }) => ({ view: "stream", token: last }),
    look: "#view",
    say: ({ L }) => [
      `From here on every token has one vector, the stream, that runs through ${count(L, "block")}. Attention and the MLP `,
      "read it, and add what they found. Nothing is ever overwritten.",
    ],
    try: () => ["Which part adds most to the last token?"],
  },
  {
    title: "Layer norm: the scale is taken out",
    notebook: "04_block",
    place: ({ last, normed }) => asking({ view: "norm", token: last }, normed),
    look: "#panel",
    say: () => [
      "Before a part reads the stream, each vector is moved to mean 0 and stretched to variance 1, then multiplied by a ",
      "learnt weight and moved by a learnt bias. So a part sees the direction of the vector, however long it has grown.",
    ],
    try: () => ["In the panel: which of the three terms makes the number, the stream, the mean, or the bias?"],
  },
  {
    title: "Query, key, value",
    notebook: "03_attention",
    place: ({ layer, head, last, key }) => ({ view: "vectors", layer, head, token: last, key }),
    look: "#view",
    say: ({ K, layer, head }) => [
      `Each head makes three vectors of ${count(K, "number")} from every token: the query says what it looks for, the key `,
      `what it is found by, the value what it hands on. This is head ${head} of block ${layer}, the one that looks back `,
      "most decidedly in this text.",
    ],
    try: () => ["Choose another token: its query changes, the keys stay."],
  },
  {
    title: "A score, by hand",
    notebook: "03_attention",
    place: (found) => asking(attentionPlace(found, "scaled"), found.score),
    look: "#panel",
    say: ({ K, lastText, keyText }) => [
      "How well does the query of ", lastText(), " match the key of ", keyText(), "? Multiply them number by number, add ",
      `the ${count(K, "product")} up, and divide by √K, so that scores do not grow with the size of a head. This is all `,
      "that decides where a head looks.",
    ],
    try: () => ["Find the product that counts most in the panel. Would the score be high without it?"],
  },
  {
    title: "Mask and softmax",
    notebook: "03_attention",
    place: (found) => asking(attentionPlace(found, "softmax"), found.share),
    look: "#panel",
    say: ({ weight, lastText, keyText }) => [
      "A token sees itself and what came before; the mask hides the rest. Softmax makes shares of the scores that sum ",
      "to 1. ", lastText(), ` takes ${percent(weight)} from `, keyText(), ".",
    ],
    try: () => ["Step through the four stages, from the products to the shares. What happens to the largest score?"],
  },
  {
    title: "What a head gathers",
    notebook: "03_attention",
    place: (found) => asking(attentionPlace(found, "softmax"), found.gathered),
    look: "#panel",
    say: ({ weight, keyText }) => [
      `The head mixes the values of the tokens by these shares: ${percent(weight)} come from `, keyText(), ". The results ",
      "of all heads are put side by side, multiplied by a matrix, and added to the stream.",
    ],
    try: () => ["In the panel every term belongs to a token. Whose is the largest?"],
  },
  {
    title: "The MLP",
    notebook: "04_block",
    place: ({ layer, last, act }) => asking({ view: "mlp", layer, token: last }, act),
    look: "#panel",
    say: ({ D, F }) => [
      `After attention, each token thinks for itself. The vector of ${count(D, "number")} is widened to `,
      `${F.toLocaleString("en")}, an activation function lets through the positive ones and hardly any of the negative, `,
      "and a second matrix brings what is left back to the stream.",
    ],
    try: () => ["How many of the numbers are close to 0? They add nothing for this token."],
  },
  {
    title: "All that was added",
    notebook: "05_gpt2",
    place: ({ last, stream }) => asking({ view: "stream", token: last }, stream),
    look: "#panel",
    say: () => [
      "A number of the stream is a sum: the embedding, and one term from every attention and every MLP so far. So one can ",
      "say exactly which part is to blame for it.",
    ],
    try: () => ["Click the largest term in the panel, and go on from there."],
  },
  {
    title: "The lens: what if it stopped here?",
    notebook: "11_looking_inside",
    place: ({ last }) => ({ view: "lens", token: last }),
    look: "#view",
    say: ({ L, nextText }) => [
      "The last layer norm and the table of tokens make logits of the stream: how well does it fit each token? The lens ",
      `does this already after every block. Watch the guess form over ${count(L, "block")} until it is `, token(nextText), ".",
    ],
    try: () => ["Where does the final guess come first? Other positions are worth a look: the model guesses at every token."],
  },
  {
    title: "The next token",
    notebook: "06_decoding",
    place: ({ last }) => ({ view: "next", token: last }),
    look: "#view",
    say: ({ nextText, probability }) => [
      "Softmax makes probabilities of the logits; ", token(nextText), ` has ${percent(probability)}. Taking the best is `,
      "greedy decoding, drawing by chance makes livelier texts. The token is appended, and all begins again with one ",
      "token more.",
    ],
    try: () => ["Press Space a few times: each press runs the whole model. Then raise the temperature and draw."],
  },
  {
    title: "Where does it come from?",
    notebook: "05_gpt2",
    place: ({ last, logit }) => asking({ view: "next", token: last }, logit),
    look: "#panel",
    say: ({ nextText }) => [
      "Every number on this page can be asked. This is the logit of ", token(nextText), ", as a sum. Ask its largest term, ",
      "and that one's, and you come through blocks and heads to a token of the text and a number that was learnt.",
    ],
    try: () => ["Press Follow the largest in the panel until the way ends. Which token do you arrive at?"],
  },
  {
    title: "And does it matter?",
    notebook: "11_looking_inside",
    place: ({ layer, head }) => ({ view: "changes", layer, head }),
    look: "#view",
    say: ({ layer, head, keyText, live }) => [
      `Head ${head} of block ${layer} looks at `, keyText(), ". Whether the next token depends on it, only a change can tell. ",
      live ? "Here every part can be switched off, and the next token is computed again."
        : "The live page of minigpt can switch every part off.",
    ],
    try: ({ layer, head, live }) => [
      live ? `Switch off head ${head} of block ${layer}. Then try the MLP of block 0.`
        : "Which part would you switch off, and what do you expect?",
    ],
  },
];
