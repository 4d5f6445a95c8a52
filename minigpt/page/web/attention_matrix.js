// One head's attention as a matrix, in the four stages in which it is computed, with the arithmetic of one cell below.

import { chooseStage } from "./choose.js";
import { el, fill, number, place as placeName, tokenText } from "./dom.js";
import { figure, largestOf, quoted } from "./figures.js";
import { heatmap } from "./heatmap.js";

export const STAGES = [
  { id: "product", title: "1. q · k", part: "attn.scores" },
  { id: "scaled", title: "2. scale", part: "attn.scores" },
  { id: "masked", title: "3. mask", part: "attn.weights" },
  { id: "softmax", title: "4. softmax", part: "attn.weights" },
];

const LONG = 20; // tokens from which on full colour is not a weight of 1: the weights of a long row are small
const MOST_WRITTEN = 14; // tokens up to which the numbers stand in the cells

/**
 * layer, head; token and key: the chosen cell. stage: the id of one of STAGES. numbers: {q, k, scores, weights} of the
 * head, row by row. width: pixels that there are.
 */
export function matrix(app, { layer, head, token, key, stage, numbers, width }) {
  const { tokens } = app.run;
  const T = tokens.length;
  const products = multiply(numbers.q, numbers.k, T);
  const at = { app, layer, head, T, scale: app.config.scales[layer], products, ...numbers };
  const { values, cell, words } = pictures(at)[stage];
  const { part } = STAGES.find(({ id }) => id === stage);
  const name = `h.${layer}.${part}`;
  const arithmetic = el("div", { class: "arithmetic", id: "cell-arithmetic" });
  let shown = null;
  function show(t, s) {
    const cell = t === null ? [token, key] : [t, s];
    if (String(cell) === String(shown)) return; // a button that is being clicked must not be replaced
    shown = cell;
    fill(arithmetic, cellWords(at, stage, ...cell));
  }
  show(token, key);

  const size = cellSize(T, width);
  const largest = stage === "softmax" ? fullColour(values, T) : largestOf(values);
  const picture = heatmap({
    values,
    rows: T,
    columns: T,
    ...size,
    rowLabels: size.cellHeight >= 12 ? tokens : null,
    columnLabels: size.cellWidth >= 14 ? tokens : null,
    largest,
    signed: stage !== "softmax",
    cell,
    write: T <= MOST_WRITTEN && size.cellWidth >= 40 ? (t, s) => shortNumber(values[t * T + s]) : null,
    label: `${placeName(`h.${layer}.attn`, [head])}, ${stage}`,
    describe: (t, s) => `${tokenText(tokens[t])} (${t}) → ${tokenText(tokens[s])} (${s}):`,
    // A masked score is a score; why it is hidden is told by the weight, which is 0.
    onpick: (t, s) =>
      app.why(stage === "masked" && s <= t ? `h.${layer}.attn.scores` : name, [head, t, s], {
        token: t,
        key: s,
        stage,
      }),
    onhover: show,
    marked: [token, key],
  });
  picture.dataset.stage = stage;
  return el(
    "section",
    { class: "attention-matrix" },
    chooseStage({
      id: "stage",
      label: "stage of the computation",
      stages: STAGES,
      chosen: stage,
      onchange: (id) =>
        app.replace({
          ...app.place,
          stage: id,
          name: `h.${layer}.${STAGES.find((one) => one.id === id).part}`,
          why: undefined,
        }),
    }),
    el("p", { class: "stage-words" }, words),
    el("div", { class: "scroll" }, picture),
    el(
      "p",
      { class: "legend" },
      "A row for each token that looks back (its query), a column for each token it looks at (its key). ",
      stage !== "softmax"
        ? `Blue is above 0, red below; full colour is ${number(largest)}.`
        : largest === 1
          ? "No colour is 0, full blue is 1."
          : `No colour is 0; full blue is ${number(largest)} or more.`,
    ),
    arithmetic,
  );
}

/** The scalar product of every query with every key. */
function multiply(q, k, T) {
  const K = q.length / T;
  const products = new Float64Array(T * T);
  for (let t = 0; t < T; t++) {
    for (let s = 0; s < T; s++) {
      let sum = 0;
      for (let i = 0; i < K; i++) sum += q[t * K + i] * k[s * K + i];
      products[t * T + s] = sum;
    }
  }
  return products;
}

/** The weight of full colour: 1, but in a long text the largest after its first tokens, which have few to choose from. */
function fullColour(weights, T) {
  return T < LONG ? 1 : largestOf(weights.subarray(Math.floor(T / 8) * T)) || 1;
}

/** What each stage shows: its numbers, the cells that are hidden, and a sentence. */
function pictures({ scale, K, products, scores, weights }) {
  const past = (t, s) => s <= t;
  return {
    product: {
      values: products,
      cell: null,
      words:
        `Every query is multiplied with every key, number by number, and the ${K} products are added up: ` +
        "a large sum where the two fit.",
    },
    scaled: {
      values: scores,
      cell: null,
      words:
        scale === 1
          ? "This model leaves the products as they are: its scale is 1."
          : `All products are multiplied by ${number(scale)}, so that they do not grow with the length of the vectors. ` +
            "These are the scores.",
    },
    masked: {
      values: scores,
      cell: past,
      words:
        "The mask hides later tokens: the model is to predict them, so no token may look ahead. Their scores become −∞.",
    },
    softmax: {
      values: weights,
      cell: past,
      words:
        "Softmax turns each row of scores into weights: e to the power of each score, divided by the sum of the row. " +
        "Every row sums to 1.",
    },
  };
}

/** The arithmetic of one cell in a stage. */
function cellWords(at, stage, t, s) {
  const { app, layer, T, scores, weights } = at;
  const tokens = app.run.tokens;
  const who = el("p", {}, "Row ", quoted(tokens[t]), ` (${t}), column `, quoted(tokens[s]), ` (${s})`);
  if (!Number.isFinite(scores[t * T + s]) || !Number.isFinite(weights[t * T + s]))
    return [who, el("p", {}, "This number is not finite.")];
  const lines = { product: productLines, scaled: scaledLines, masked: maskedLines, softmax: softmaxLines };
  return [
    who,
    ...lines[stage](at, t, s),
    el(
      "p",
      {},
      el(
        "button",
        {
          type: "button",
          id: "all-products",
          onclick: () =>
            app.go({ ...app.place, view: "vectors", layer, head: at.head, token: t, key: s, why: undefined }),
        },
        `See these two vectors multiplied`,
      ),
    ),
  ];
}

function productLines({ app, layer, head, T, K, q, k, products }, t, s) {
  const shown = Math.min(K, 3);
  const factors = Array.from({ length: shown }, (_, i) => [
    i > 0 && " + ",
    figure(app, `h.${layer}.attn.q`, [head, t, i], q[t * K + i], { where: "cell" }),
    " × ",
    figure(app, `h.${layer}.attn.k`, [head, s, i], k[s * K + i], { where: "cell" }),
  ]);
  return [
    el(
      "p",
      { class: "sum" },
      "q · k = ",
      factors,
      K > shown && ` + … (${K} products)`,
      " = ",
      el("strong", {}, number(products[t * T + s])),
    ),
  ];
}

function scaledLines({ app, layer, head, T, K, scale, products, scores }, t, s) {
  const product = products[t * T + s],
    score = scores[t * T + s];
  const changed = Math.abs(product * scale - score) > 1e-3 * Math.max(1, Math.abs(score));
  return [
    el(
      "p",
      { class: "sum" },
      "score = ",
      number(product),
      ` × ${number(scale)}`,
      changed ? ", but a change made it " : " = ",
      figure(app, `h.${layer}.attn.scores`, [head, t, s], score, { where: "cell" }),
    ),
    el("p", { class: "hint" }, scaleWords(scale, K, layer)),
  ];
}

/** Where the scale comes from: configurations differ. */
function scaleWords(scale, K, layer) {
  const same = (x) => Math.abs(scale / x - 1) < 1e-6;
  if (same(K ** -0.5)) return `${number(scale)} = 1 / √${K}: the vectors of this head have ${K} numbers.`;
  if (same(K ** -0.5 / (layer + 1)))
    return `${number(scale)} = 1 / √${K} / ${layer + 1}: ${K} numbers in a vector, and block ${layer} is number ${layer + 1}.`;
  return `The configuration of this model sets the scale to ${number(scale)}.`;
}

function maskedLines({ app, layer, head, T, scores }, t, s) {
  const score = figure(app, `h.${layer}.attn.scores`, [head, t, s], scores[t * T + s], { where: "cell" });
  return [
    el(
      "p",
      { class: "sum" },
      ...(s <= t
        ? ["The key stands at ", s === t ? "the same place" : "an earlier place", ": the score stays ", score]
        : ["The key stands later: its score ", score, " becomes −∞, and e to the power of −∞ is 0"]),
    ),
  ];
}

function softmaxLines({ app, layer, head, T, scores, weights }, t, s) {
  const name = `h.${layer}.attn.weights`;
  if (s > t) {
    return [
      el(
        "p",
        { class: "sum" },
        "weight = e^−∞ / sum = ",
        figure(app, name, [head, t, s], weights[t * T + s], { where: "cell" }),
        ": a later token is not looked at",
      ),
    ];
  }
  const row = Array.from(scores.subarray(t * T, t * T + t + 1));
  const most = Math.max(...row);
  const powers = row.map((score) => Math.exp(score - most));
  const sum = powers.reduce((total, power) => total + power, 0);
  const weight = weights[t * T + s];
  const changed = Math.abs(powers[s] / sum - weight) > 1e-3;
  const rowWeights = Array.from(weights.subarray(t * T, t * T + t + 1));
  return [
    el(
      "p",
      { class: "sum" },
      "weight = e^(",
      figure(app, `h.${layer}.attn.scores`, [head, t, s], scores[t * T + s], { where: "cell" }),
      ` − ${most < 0 ? `(${number(most)})` : number(most)}) / sum = `,
      `${number(powers[s])} / ${number(sum)}`,
      changed ? ", but a change made it " : " = ",
      figure(app, name, [head, t, s], weight, { where: "cell" }),
    ),
    el(
      "p",
      { class: "hint" },
      `sum = ${someOf(powers)}. The row’s largest score, ${number(most)}, is subtracted first; it cancels, `,
      "and keeps e^ from growing too large.",
    ),
    el(
      "p",
      { class: "row-sum", dataset: { value: rowWeights.reduce((total, x) => total + x, 0) } },
      `The whole row: ${someOf(rowWeights)} = ${number(Number(rowWeights.reduce((total, x) => total + x, 0).toFixed(4)))}`,
    ),
  ];
}

/** The numbers of a sum as text: all of a short one, the largest of a long one and what the others come to. */
function someOf(numbers) {
  if (numbers.length <= 8) return numbers.map((x) => shortNumber(x)).join(" + ");
  const sorted = [...numbers].sort((a, b) => b - a);
  const rest = sorted.slice(4).reduce((sum, x) => sum + x, 0);
  return `${sorted.slice(0, 4).map((x) => shortNumber(x)).join(" + ")} + ${shortNumber(rest)} from ${numbers.length - 4} others`;
}

function shortNumber(x) {
  if (!Number.isFinite(x)) return number(x);
  const size = Math.abs(x);
  const text =
    size >= 1000 ? x.toExponential(0) : size >= 100 ? x.toFixed(0) : size >= 10 ? x.toFixed(1) : x.toFixed(2);
  return text.replace(/^-(?=0\.00$)/, "").replace("-", "−");
}

/** The width and the height of a cell, in pixels: as large as the view has room for, but not huge. */
function cellSize(T, width) {
  const room = width - 110; // the labels of the rows
  const cellWidth = Math.max(5, Math.min(52, Math.floor(room / T)));
  return { cellWidth, cellHeight: Math.max(5, Math.min(26, cellWidth)) };
}
