// Attention: the heads of a block, one head's weights as arcs over the text and as a matrix, and what the head gathers.

import { arcs } from "./attention_arcs.js";
import { matrix, STAGES } from "./attention_matrix.js";
import { attentionNames, chooseBlock, keyOf, spot } from "./choose.js";
import { el, number, percent } from "./dom.js";
import { figure, largestOf, quoted, strip } from "./figures.js";
import { colour } from "./heatmap.js";

const MOST_SOURCES = 8; // tokens whose values are shown one by one; the others are added up
const PICTURE = 64; // pixels of a head's small picture; larger matrices are made smaller by the largest weight

export const view = {
  id: "attention",
  title: "Attention",
  shows: attentionNames,
  async render(app, place) {
    const { layer, head, token, T } = spot(app, place);
    const K = app.config.head_size;
    const name = (part) => `h.${layer}.attn.${part}`;
    const [all, scores, q, k, v, heads] = await Promise.all([
      app.numbers(name("weights")),
      ...["scores", "q", "k", "v"].map((part) => app.numbers(name(part), [head, null, null])),
      app.numbers(name("heads"), [head, token, null]),
    ]);
    const weights = all.data.subarray(head * T * T, (head + 1) * T * T);
    const row = weights.subarray(token * T, token * T + token + 1);
    const key = keyOf(place, row, T);
    const stage = STAGES.some(({ id }) => id === place.stage) ? place.stage : "softmax";
    const numbers = { K, q: q.data, k: k.data, scores: scores.data, weights };
    const width = (document.getElementById("view")?.clientWidth ?? 800) - 32;

    return el(
      "section",
      { class: "attention", dataset: { layer, head, token } },
      el("div", { class: "bar" }, el("h2", {}, `Attention, block ${layer}, head ${head}`), chooseBlock(app, layer)),
      el(
        "p",
        {},
        "Attention lets every token look back at the text and take something from the tokens before it. ",
        app.config.n_head === 1
          ? "A block of this model has one head, which decides which tokens to look at."
          : `A block has ${app.config.n_head} heads, and each head has its own idea of which tokens to look at.`,
      ),
      gallery(app, all.data, T, head, token),
      el("h3", {}, "Where ", quoted(app.run.tokens[token]), " looks"),
      el(
        "p",
        { class: "hint" },
        "The thicker the arc, the more the token takes from there. Its shares add up to 100 %. ",
        "Hover over a token to see its arcs; click it to choose it.",
      ),
      arcs(app, {
        name: name("weights"),
        head,
        weights,
        token,
        onchoose: (to) => app.go({ ...app.place, token: to, key: undefined }), // the panel keeps the way
      }),
      el("h3", {}, "How the shares are computed"),
      matrix(app, { layer, head, token, key, stage, numbers, width }),
      el("h3", {}, "What the head gathers for ", quoted(app.run.tokens[token])),
      el(
        "p",
        {},
        `Every token offers a value vector of ${K} numbers. The head multiplies each by its share and adds them up.`,
      ),
      gathered(app, { layer, head, token, row, v: v.data, heads: heads.data }),
    );
  },
};

/** All heads of the block as small pictures, to choose one from. */
function gallery(app, weights, T, chosen, token) {
  const pictures = Array.from({ length: app.config.n_head }, (_, head) => {
    const values = weights.subarray(head * T * T, (head + 1) * T * T);
    return el(
      "label",
      { class: "head-picture" },
      el("input", {
        type: "radio",
        class: "sr-only",
        name: "head",
        id: `head-${head}`,
        value: head,
        checked: head === chosen,
        onchange: () => app.go({ ...app.place, head, key: undefined, why: undefined }),
      }),
      smallPicture(values, T),
      el("span", { class: "name" }, `head ${head}`),
      looks(app, values.subarray(token * T, token * T + token + 1)),
      el("span", { class: "habit" }, habit(values, T)),
    );
  });
  return el(
    "fieldset",
    { class: "gallery" },
    el(
      "legend",
      {},
      "Choose a head. Below each: the token that ",
      quoted(app.run.tokens[token]),
      " looks at most.",
    ),
    pictures,
  );
}

/** The token that a row looks at most, and its share. */
function looks(app, row) {
  const most = row.reduce((best, weight, s) => (weight > row[best] ? s : best), 0);
  return el("span", { class: "looks" }, quoted(app.run.tokens[most]), ` ${percent(row[most])}`);
}

/**
 * A matrix of weights as a small picture; a large matrix shows the largest weight of each patch. The colour goes by the
 * square root, so that the small weights of a long text can be seen.
 */
function smallPicture(values, T) {
  const size = Math.min(T, PICTURE);
  const canvas = el("canvas", { width: size, height: size, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  const image = context.createImageData(size, size);
  const most = new Float32Array(size * size);
  for (let t = 0; t < T; t++) {
    for (let s = 0; s <= t; s++) {
      const pixel = Math.floor((t * size) / T) * size + Math.floor((s * size) / T);
      most[pixel] = Math.max(most[pixel], values[t * T + s]);
    }
  }
  most.forEach((weight, pixel) => {
    const hidden = pixel % size > Math.floor(pixel / size);
    image.data.set(hidden ? [128, 128, 128, 40] : colour(Math.sqrt(weight), false), 4 * pixel);
  });
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Where most of a head's weight goes, averaged over the tokens that have the choice: "on average first 71 %". */
export function habit(values, T) {
  const from = Math.min(2, T - 1); // up to token 1, the first token is also the one before, or the token itself
  const places = { itself: (t) => t, previous: (t) => t - 1, first: () => 0 };
  const averages = Object.entries(places).map(([name, place]) => {
    let sum = 0;
    for (let t = from; t < T; t++) sum += values[t * T + Math.max(0, place(t))];
    return { name, average: sum / (T - from) };
  });
  const best = averages.reduce((top, one) => (one.average > top.average ? one : top));
  return best.average >= 0.3 ? `on average ${best.name} ${percent(best.average).replace(" ", "\u00a0")}` : "";
}

/** The values times their weights, and their sum: the vector that the head hands on. */
function gathered(app, { layer, head, token, row, v, heads }) {
  const { tokens } = app.run;
  const K = heads.length;
  const order = Array.from(row.keys()).sort((a, b) => row[b] - row[a]);
  const most = order.length === MOST_SOURCES + 1 ? order.length : MOST_SOURCES; // "1 more" takes as much room as itself
  const shown = order.slice(0, most).sort((a, b) => a - b);
  const rest = order.slice(most);
  const values = shown.map((s) => v.subarray(s * K, (s + 1) * K));
  const scaled = shown.map((s, i) => values[i].map((x) => x * row[s]));
  const others = new Float32Array(K);
  for (const s of rest) for (let i = 0; i < K; i++) others[i] += row[s] * v[s * K + i];
  const largestValue = largestOf(...values),
    largest = largestOf(heads, others, ...scaled);
  const isSum = heads.every(
    (x, i) => Math.abs(scaled.reduce((total, part) => total + part[i], others[i]) - x) <= 1e-3 * (largest || 1),
  );
  const sum = { name: `h.${layer}.attn.heads`, index: [head, token, null], largest };
  const parts = (what) => (i) => `${what}[${i}]:`;
  return el(
    "div",
    { class: "gathered", role: "group", "aria-label": "weights times values" },
    el("span", { class: "column" }, "token"),
    el("span", { class: "column" }, "weight"),
    el("span", { class: "column" }, "value v"),
    el("span", { class: "column" }, "weight × v"),
    shown.map((s, i) => [
      quoted(tokens[s]),
      figure(app, `h.${layer}.attn.weights`, [head, token, s], row[s], { where: "gathered" }),
      strip(app, {
        name: `h.${layer}.attn.v`,
        index: [head, s, null],
        values: values[i],
        largest: largestValue,
        where: "value",
      }),
      strip(app, { ...sum, values: scaled[i], where: `from ${s} to`, describe: parts("weight × v") }),
    ]),
    rest.length > 0 && [
      el("span", { class: "hint" }, `${rest.length} more`),
      el("span", { class: "hint" }, percent(rest.reduce((total, s) => total + row[s], 0))),
      el("span"),
      strip(app, { ...sum, values: others, where: "from the others to", describe: parts("others, weight × v") }),
    ],
    el("strong", {}, "sum"),
    el("span", {}, number(Number(row.reduce((total, x) => total + x, 0).toFixed(4)))),
    el("code", { class: "hint" }, isSum ? "attn.heads =" : "attn.heads, changed ="),
    strip(app, { ...sum, values: heads }),
  );
}
