// The stops of the tour, from a text to its next token. A stop: title; notebook: where there is more; say(found): what it
// says; try(found): something to try; place(found): where to go; look: a selector of what is talked about; show: one of
// what the view is scrolled to, if that is not its beginning. `found` is what the text shows best.

import { number, percent, token } from "./dom.js";
import { mostOpenPosition } from "./open_choice.js";
import { softmax, topIndices } from "./sampling.js";
import { vocabularyTexts } from "./vocabulary.js";
import { causesOf, mainCause } from "./why_tokens.js";
import { quotedToken } from "./words.js";

/**
 * Find what shows each step well: the head that looks hardest at an earlier token, the largest numbers, the word that the
 * next token came from. run: the text without changes, so that a stop says the same while the reader changes things.
 */
export async function findExamples(app, run) {
  const { config } = app;
  const last = run.ids.length - 1;
  const rows = await Promise.all(Array.from({ length: config.n_layer }, async (_, layer) => {
    const { data } = await app.numbers(`h.${layer}.attn.weights`, [null, last, null], run);
    return Array.from({ length: config.n_head }, (_, head) => data.subarray(head * (last + 1), (head + 1) * (last + 1)));
  }));
  let best = { layer: 0, head: 0, key: 0, weight: -1 };
  rows.forEach((heads, layer) => heads.forEach((row, head) => row.forEach((weight, key) => {
    // The first token collects what a head has no use for, and itself is no news: only if there is nothing else.
    const isEarlier = key < last && (key > 0 || last === 1);
    if (isEarlier && weight > best.weight) best = { layer, head, key, weight };
  })));
  if (best.weight < 0) best.weight = rows[0][0][0];
  const { layer, head, key } = best;
  const block = (part) => `h.${layer}.${part}`;
  const largest = async (name, start) => {
    const { data } = await app.numbers(name, [...start, null], run);
    return { name, index: [...start, indexOfLargest(data, Math.abs)] };
  };
  const logits = (await app.numbers("logits", [last, null], run)).data;
  const next = topIndices(logits, 1)[0];
  const [nextText] = await vocabularyTexts(app, [next]);
  const [embed, normed, act, stream, open, cause] = await Promise.all([
    largest("embed", [last]), largest(block("ln_1"), [last]), largest(block("mlp.act"), [last]), largest(block("resid"), [last]),
    mostOpenPosition(app, run), causesOf(app, run, last, next).then(mainCause, () => null),
  ]);
  const gathered = await largest(block("attn.heads"), [head, last]);
  const text = (t) => token(run.tokens[t]);
  return {
    ...best, T: last + 1, last, block, embed, normed, gathered, act, stream, open,
    next, nextText, probability: softmax(logits)[next], scale: config.scales[layer],
    D: config.n_embd, H: config.n_head, K: config.head_size, L: config.n_layer, V: config.vocab_size, F: config.n_inner,
    score: { name: block("attn.scores"), index: [head, last, key] },
    share: { name: block("attn.weights"), index: [head, last, key] },
    logit: { name: "logits", index: [last, next] },
    alike: alikeHeads(rows, best), causeText: cause && (() => quotedToken(run, cause.position)),
    text, lastText: () => text(last), keyText: () => text(key), openText: () => text(open.position), live: app.start.live,
  };
}

function indexOfLargest(numbers, size = (x) => x) {
  return numbers.reduce((most, x, i) => (size(x) > size(numbers[most]) ? i : most), 0);
}

const MOST_ALIKE = 4; // heads that are named

/**
 * The head that was found, and those of the later half of the blocks that look most, and nearly as hard, at the same token:
 * what one of them does, another may do too.
 */
function alikeHeads(rows, { layer: foundLayer, head: foundHead, key, weight }) {
  const isFound = ({ layer, head }) => layer === foundLayer && head === foundHead;
  return rows.flatMap((heads, layer) => heads.map((row, head) => ({ layer, head, most: indexOfLargest(row), weight: row[key] })))
    .filter((one) => isFound(one) || (one.layer >= Math.floor(rows.length / 2) && one.most === key && one.weight > weight / 2))
    .sort((a, b) => isFound(b) - isFound(a) || b.weight - a.weight).slice(0, MOST_ALIKE)
    .sort((a, b) => a.layer - b.layer || a.head - b.head);
}

/** Heads in words: "heads 1 and 3 of block 3", or "head 1 of block 2 and head 3 of block 3". */
function headsInWords(heads) {
  const and = (words) => (words.length < 2 ? words.join() : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`);
  return and([...new Set(heads.map(({ layer }) => layer))].map((layer) => {
    const numbers = heads.filter((one) => one.layer === layer).map(({ head }) => head);
    return `${numbers.length === 1 ? "head" : "heads"} ${and(numbers)} of block ${layer}`;
  }));
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
    look: ".overview .tokens",
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
      "another, wpe. The two are added, number by number: that is the vector that the token starts with. The panel shows ",
      "this sum for the largest number of ", lastText(), ".",
    ],
    try: () => ["Click another number: two terms each time, one for the token and one for the position."],
  },
  {
    title: "The residual stream",
    notebook: "04_block",
    place: ({ last }) => ({ view: "stream", token: last }),
    look: ".stream-table",
    say: ({ L }) => [
      `From here on every token has one vector, the stream, that runs through ${count(L, "block")}. Attention and the MLP `,
      "read it, and add what they found. Nothing is ever overwritten.",
    ],
    try: () => ["Which part adds most to the last token?"],
  },
  {
    title: "Layer norm: every vector gets the same size",
    notebook: "04_block",
    place: ({ last, normed }) => asking({ view: "norm", token: last }, normed),
    look: "#panel",
    say: () => [
      "With every part that adds to it, the stream’s numbers grow. So before a part reads them, the layer norm subtracts ",
      "their mean and divides by their spread, that is how far they lie from the mean: the numbers of all vectors are then ",
      "about equally large. Last, each is multiplied by a learnt weight, and a learnt bias is added.",
    ],
    try: () => ["In the panel, the number is a sum of three terms. Which is the largest: the stream, the mean, or the bias?"],
  },
  {
    title: "Query, key, value",
    notebook: "03_attention",
    place: ({ layer, head, last, key }) => ({ view: "vectors", layer, head, token: last, key }),
    look: ".vectors-box",
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
    place: ({ layer, head, last, key, score }) => asking({ view: "vectors", layer, head, token: last, key }, score),
    look: ".products",
    show: ".products",
    say: ({ K, scale, lastText, keyText }) => [
      "How well does the query of ", lastText(), " match the key of ", keyText(), "? Multiply them number by number and add ",
      `the ${count(K, "product")} up. The sum is multiplied by the scale, ${number(scale)}, so that it does not grow with `,
      "the number of products. This is all that decides where a head looks.",
    ],
    try: () => ["Each bar is a product. Click the largest. Would the score be high without it?"],
  },
  {
    title: "Mask and softmax",
    notebook: "03_attention",
    place: (found) => asking(attentionPlace(found, "softmax"), found.share),
    look: ".attention-matrix",
    show: ".attention-matrix",
    say: ({ weight, lastText, keyText }) => [
      "A token sees itself and what came before; the mask hides the rest. Softmax makes shares of the scores that sum ",
      "to 1. ", lastText(), ` takes ${percent(weight)} from `, keyText(), ".",
    ],
    try: () => ["Click the four stages below, from 1. q · k to 4. softmax. What happens to the largest score?"],
  },
  {
    title: "What a head gathers",
    notebook: "03_attention",
    place: (found) => asking(attentionPlace(found, "softmax"), found.gathered),
    look: ".gathered",
    show: ".gathered",
    say: ({ weight, keyText }) => [
      `The head mixes the values of the tokens by these shares: ${percent(weight)} come from `, keyText(), ". The results ",
      "of all heads are put side by side, multiplied by a matrix, and added to the stream.",
    ],
    try: () => ["Below, every row is a token. Which one gives its colours to the sum in the last row?"],
  },
  {
    title: "The MLP",
    notebook: "04_block",
    place: ({ layer, last, act }) => asking({ view: "mlp", layer, token: last }, act),
    look: "#panel",
    say: ({ D, F }) => [
      `After attention, each token thinks for itself. The vector of ${count(D, "number")} is widened to `,
      `${F.toLocaleString("en")}. The activation function lets the positive ones pass and stops nearly all of the negative; `,
      "a second matrix makes of what is left something to add to the stream.",
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
      "say exactly how much of it each part made.",
    ],
    try: () => ["Click the largest term in the panel, and go on from there."],
  },
  {
    title: "The lens: what if it stopped here?",
    notebook: "11_looking_inside",
    place: ({ last }) => ({ view: "lens", token: last }),
    look: ".lens-frame",
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
    look: ".next .wide",
    show: ".next-bars",
    say: ({ nextText, probability }) => [
      "Softmax makes probabilities of the logits; ", token(nextText), ` has ${percent(probability)}. Taking the best is `,
      "called greedy decoding. The token is appended, and everything begins again with one token more.",
    ],
    try: () => ["Press Space a few times: each press runs the whole model. The button − takes a token away again."],
  },
  {
    title: "Chance and temperature",
    notebook: "06_decoding",
    place: ({ open }) => ({ view: "next", token: open.position }),
    look: ".sampling",
    show: ".sampling",
    say: ({ open, openText }) => [
      "Always taking the best makes dull texts. So one draws by chance, each token with its probability. The temperature makes ",
      "chance count less (below 1) or more (above 1). Here, after ", openText(), ", the model is least sure: its best token has ",
      `${percent(open.best)}.`,
    ],
    try: () => ["Move the temperature to 0.3, then to 2. Under the table, press “Draw one” a few times with each."],
  },
  {
    title: "Which word did it come from?",
    notebook: "05_gpt2",
    place: ({ last, logit }) => asking({ view: "overview", token: last }, logit),
    look: ".why-tokens",
    say: ({ nextText, lastText, causeText }) => [
      "Each number of the run can be traced back by a click. The panel says which words ", token(nextText), " came from. ",
      lastText(), " itself has a part in it, because it is read last, and so have the learnt biases. ",
      causeText ? ["Of the earlier words, ", causeText(), " adds most."] : "There is no earlier word that speaks for it.",
    ],
    try: ({ causeText }) => [
      causeText ? ["Press “See how” in the panel: you come to the head that looked back at ", causeText(), "."]
        : "Add a token, and look at this stop again.",
    ],
  },
  {
    title: "And does it matter?",
    notebook: "11_looking_inside",
    place: ({ layer, head }) => ({ view: "changes", layer, head }),
    look: ".changes .scrolling",
    show: "#verdict",
    say: ({ layer, head, alike, keyText, live }) => [
      alike.length > 1 ? `${capital(headsInWords(alike))} ${alike.length === 2 ? "both look" : "all look"} at `
        : `${capital(headsInWords([{ layer, head }]))} looks at `,
      keyText(), ". Whether the next token depends on it, only a change can tell. ",
      live ? "Here every part can be switched off, and the next token is computed again."
        : "The live page of minigpt can switch every part off.",
    ],
    try: ({ layer, head, alike, nextText, live }) => (!live ? ["Which part would you switch off, and what do you expect?"]
      : alike.length > 1
        ? [`Switch off head ${head} of block ${layer} alone, then ${headsInWords(alike)} together. Does it still say `, token(nextText), "?"]
        : [`Switch off head ${head} of block ${layer}. Does it still say `, token(nextText), "? Then try the MLP of block 0."]),
  },
];

function capital(words) {
  return words[0].toUpperCase() + words.slice(1);
}
