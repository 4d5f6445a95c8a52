// Query, key and value: the three vectors of every token in a head, and how a query and a key make a score.

import { attentionNames, chooseBlock, chooseHead, keyOf, spot, tokenRadio } from "./choose.js";
import { el, fill, number, place as placeName } from "./dom.js";
import { figure, largestOf, quoted, strip } from "./figures.js";
import { heatmap } from "./heatmap.js";
import { waterfall } from "./waterfall.js";

const ROW = 28; // pixels of a token's row

export const view = {
  id: "vectors",
  title: "Q K V",
  shows: attentionNames,
  async render(app, place) {
    const { layer, head, token, T } = spot(app, place);
    const K = app.config.head_size;
    const name = (part) => `h.${layer}.attn.${part}`;
    const [scores, weights, q, k, v] = await Promise.all([
      ...["scores", "weights"].map((part) => app.numbers(name(part), [head, token, null])),
      ...["q", "k", "v"].map((part) => app.numbers(name(part), [head, null, null])),
    ]);
    const key = keyOf(place, weights.data);
    const at = {
      app,
      layer,
      head,
      token,
      key,
      T,
      K,
      name,
      score: scores.data[key],
      weight: weights.data[key],
      q: q.data,
      k: k.data,
      v: v.data,
    };
    const { tokens } = app.run;
    return el(
      "section",
      { class: "vectors", dataset: { layer, head, token, key } },
      el("div", { class: "bar" }, el("h2", {}, "Query, key and value"), chooseBlock(app, layer), chooseHead(app, head)),
      el(
        "p",
        {},
        `A head makes three vectors of ${K} numbers from every token: a query, what the token looks for; `,
        "a key, what it is found by; and a value, what it hands on. ",
        "Where a query fits a key, the score is high, and the token takes much of that value.",
      ),
      table(at),
      el(
        "p",
        { class: "hint" },
        "Choose a query at the left and a key in the middle. A cell is a number: blue above 0, red below; full colour is ",
        `${number(scalesOf(at).shared)} in Q and K, ${number(scalesOf(at).own)} in V.`,
      ),
      el("h3", {}, "How well the query of ", quoted(tokens[token]), " fits the key of ", quoted(tokens[key])),
      scoreOf(at, place),
      el("h3", {}, "What is handed on"),
      handedOn(at),
    );
  },
};

/** The numbers of full colour: one for Q and K, which are multiplied, and one for V, whose numbers may be far smaller. */
function scalesOf({ q, k, v }) {
  return { shared: largestOf(q, k), own: largestOf(v) };
}

/** Q, K and V of the head side by side, a row for each token, with the choice of a query and a key. */
function table({ app, head, token, key, T, K, name, q, k, v }) {
  const { shared, own } = scalesOf({ q, k, v });
  const names = (id, label, chosen, change, isFaint = () => false) =>
    el(
      "div",
      { class: "names", role: "radiogroup", "aria-label": label },
      app.run.tokens.map((text, position) =>
        tokenRadio({ id, text, position, chosen: position === chosen, change, faint: isFaint(position) }),
      ),
    );
  const picture = (part, values, chosen, more) => {
    const asked = app.place.why;
    return el(
      "div",
      { class: "vectors-picture" },
      heatmap({
        values,
        rows: T,
        columns: K,
        largest: part === "v" ? own : shared,
        cellWidth: "fill",
        cellHeight: ROW,
        label: placeName(name(part), [head]),
        describe: (row, i) => placeName(name(part), [head, row, i]),
        onpick: (row, i) => app.why(name(part), [head, row, i], more(row)),
        marked: asked?.name === name(part) && asked.index[0] === head ? asked.index.slice(1) : null,
      }),
      el("div", { class: "row-mark", style: { top: `${chosen * ROW}px`, height: `${ROW}px` } }),
    );
  };
  const choose = (what) => (position) => app.replace({ ...app.place, token, key, [what]: position, why: undefined });
  const box = el(
    "div",
    { class: "vectors-box", style: { "--row": `${ROW}px` } },
    el(
      "div",
      { class: "vectors-table" },
      el("span", { class: "column" }, "query of"),
      el("span", { class: "column" }, "Q: looks for"),
      el("span", { class: "column" }, "key of"),
      el("span", { class: "column" }, "K: is found by"),
      el("span", { class: "column" }, "V: hands on"),
      names("query-token", "the token whose query is taken", token, choose("token")),
      picture("q", q, token, (row) => ({ token: row, key })),
      names("key-token", "the token whose key is taken", key, choose("key"), (position) => position > token),
      picture("k", k, key, (row) => ({ key: row, token })),
      picture("v", v, key, (row) => ({ key: row, token })),
    ),
  );
  // A long text scrolls inside the box: it stays where it was, unless another query was chosen that is out of sight.
  const old = document.querySelector(".vectors-box");
  const inSight = old && token * ROW >= old.scrollTop && (token + 2) * ROW <= old.scrollTop + old.clientHeight;
  const top = old && (inSight || old.dataset.token === String(token)) ? old.scrollTop : null;
  box.dataset.token = token;
  requestAnimationFrame(() => (box.scrollTop = top ?? (token + 2) * ROW - box.clientHeight));
  return box;
}

/** The products of the query's and the key's numbers, which add up to the score. */
function scoreOf({ app, layer, head, token, key, K, name, q, k, score, weight }, place) {
  const query = q.subarray(token * K, (token + 1) * K),
    found = k.subarray(key * K, (key + 1) * K);
  const products = Float64Array.from(query, (x, i) => x * found[i]);
  const order = Array.from(products.keys()).sort((a, b) => Math.abs(products[b]) - Math.abs(products[a]));
  const dot = products.reduce((sum, x) => sum + x, 0);
  const scale = app.config.scales[layer];
  const chosen = Number.isInteger(place.entry) && place.entry >= 0 && place.entry < K ? place.entry : order[0];
  const largest = largestOf(query, found);
  const product = (i, where) => [
    figure(app, name("q"), [head, token, i], query[i], { where, more: { token, key, entry: i } }),
    " × ",
    figure(app, name("k"), [head, key, i], found[i], { where, more: { token, key, entry: i } }),
    ` = ${number(products[i])}`,
  ];
  const line = el("p", { class: "sum", id: "product-arithmetic" });
  const ask = (i) => app.why(name("scores"), [head, token, key], { token, key, entry: i });
  const bars = waterfall({
    values: products,
    onhover: look,
    onpick: ask,
    label: `The running sum of ${K} products, from 0 to ${number(dot)}`,
  });
  let shown = null;
  function look(i) {
    const at = i ?? chosen;
    if (at === shown) return; // a button that is being clicked must not be replaced
    shown = at;
    const before = products.subarray(0, at).reduce((sum, x) => sum + x, 0);
    bars.mark(at);
    fill(
      line,
      `Number ${at}: q × k = `,
      product(at, "product"),
      `; the sum so far goes from ${number(before)} to ${number(before + products[at])}.`,
    );
  }
  look(null);
  const changed = Math.abs(dot * scale - score) > 1e-3 * Math.max(1, Math.abs(score));
  const step = { name: name("scores"), more: { token, key } };
  return el(
    "div",
    { class: "products" },
    el("span", { class: "column" }, "query q"),
    strip(app, { name: name("q"), index: [head, token, null], values: query, largest, where: "query", onhover: look }),
    el("span", { class: "column" }, "key k"),
    strip(app, { name: name("k"), index: [head, key, null], values: found, largest, where: "key", onhover: look }),
    el("span"),
    bars.element, // the numbers beside the picture stand in the first column
    el("span"),
    el("span", { class: "column" }, "q × k, added up from left to right: each bar begins where the last one ended"),
    el(
      "div",
      { class: "arithmetic" },
      line,
      el(
        "p",
        {},
        "The largest products: ",
        order
          .slice(0, 3)
          .map((i, place) => [
            place > 0 && ", ",
            `number ${i}: `,
            el(
              "button",
              { type: "button", class: "figure", id: `largest-${place}`, onclick: () => ask(i) },
              number(products[i]),
            ),
          ]),
        ".",
      ),
      el("p", { class: "sum" }, `q · k = sum of ${K} products = `, el("strong", {}, number(dot))),
      el(
        "p",
        { class: "sum" },
        `score = ${number(dot)} × ${number(scale)}`,
        changed ? ", but a change made it " : " = ",
        figure(app, step.name, [head, token, key], score, { where: "score", more: step.more }),
      ),
      el(
        "p",
        { class: "sum" },
        key > token
          ? "The key stands later, so it is masked: weight = "
          : "Softmax over the scores of the row: weight = ",
        figure(app, name("weights"), [head, token, key], weight, { where: "score", more: step.more }),
        " ",
        el(
          "button",
          {
            type: "button",
            id: "see-row",
            onclick: () =>
              app.go({ ...app.place, view: "attention", layer, head, token, key, stage: "softmax", why: undefined }),
          },
          "See the row",
        ),
      ),
    ),
  );
}

/** The value of the key's token, and what is left of it after it was multiplied by the weight. */
function handedOn({ app, head, token, key, K, name, v, weight }) {
  const value = v.subarray(key * K, (key + 1) * K);
  const largest = largestOf(value);
  const { tokens } = app.run;
  return el(
    "div",
    {},
    el(
      "p",
      {},
      quoted(tokens[token]),
      " takes the value of ",
      quoted(tokens[key]),
      ` times the weight, ${number(weight)}. `,
      "What it takes from all tokens, added up, is what the head has gathered.",
    ),
    el(
      "div",
      { class: "products" },
      el("span", { class: "column" }, "value v"),
      strip(app, { name: name("v"), index: [head, key, null], values: value, largest, where: "handed on" }),
      el("span", { class: "column" }, "weight × v"),
      strip(app, {
        name: name("heads"),
        index: [head, token, null],
        values: value.map((x) => x * weight),
        largest,
        where: "a part of",
        describe: (i) => `weight × v[${i}]:`,
      }),
    ),
  );
}
