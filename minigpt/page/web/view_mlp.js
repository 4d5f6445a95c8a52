// The MLP of a block, for one token: widened to F numbers, through the activation function, narrowed again.

import { activationCurve } from "./activation_curve.js";
import { ACTIVATION_FUNCTIONS } from "./activation_functions.js";
import { chooseBlock, spot } from "./choose.js";
import { el, fill, number, percent } from "./dom.js";
import { figure, quoted, strip } from "./figures.js";
import { tokenStrip } from "./token_strip.js";

const MOST_NEURONS = 10; // listed
const PARTS = ["ln_2", "mlp.pre", "mlp.act", "mlp.out"];

export const view = {
  id: "mlp",
  title: "MLP",
  shows: (app, place) => PARTS.map((part) => `h.${spot(app, place).layer}.${part}`),
  async render(app, place) {
    const { layer, token } = spot(app, place);
    const name = (part) => `h.${layer}.${part}`;
    const [normed, pre, act, out] = (
      await Promise.all(PARTS.map((part) => app.numbers(name(part), [token, null])))
    ).map(({ data }) => data);
    const { activation_function: kind, n_embd: D } = app.config;
    const F = pre.length;
    const order = Array.from(act.keys())
      .sort((a, b) => Math.abs(act[b]) - Math.abs(act[a]) || a - b)
      .slice(0, MOST_NEURONS);
    const writes = await Promise.all(order.map((f) => written(app, layer, f, act[f], out)));

    const asked = place.why;
    const chosen =
      ["mlp.pre", "mlp.act"].some((part) => asked?.name === name(part)) && asked.index[0] === token
        ? asked.index[1]
        : order[0];
    const line = el("p", { class: "sum", id: "neuron-arithmetic" });
    const curve = activationCurve({
      kind,
      pre,
      act,
      onhover: look,
      onpick: (f) => app.why(name("mlp.act"), [token, f]),
    });
    let shown = null;
    function look(neuron) {
      const f = neuron ?? chosen;
      if (f === shown) return; // a button that is being clicked must not be replaced
      shown = f;
      curve.mark(f);
      const changed = Math.abs(ACTIVATION_FUNCTIONS[kind].at(pre[f]) - act[f]) > 1e-3 * Math.max(1, Math.abs(act[f]));
      fill(
        line,
        `Neuron ${f}: ${kind}(`,
        figure(app, name("mlp.pre"), [token, f], pre[f], { where: "neuron" }),
        changed ? "), but a change made it " : ") = ",
        figure(app, name("mlp.act"), [token, f], act[f], { where: "neuron" }),
      );
    }
    look(null);
    const row = (part, values, words, onhover) => [
      el("div", { class: "what" }, el("code", {}, part), el("span", { class: "column" }, `${values.length} numbers`)),
      strip(app, { name: name(part), index: [token, null], values, onhover }),
      el("p", { class: "hint words-below" }, words),
    ];
    const open = pre.reduce((count, x) => count + (x > 0), 0);
    return el(
      "section",
      { class: "mlp", dataset: { layer, token } },
      el("div", { class: "bar" }, el("h2", {}, `The MLP of block ${layer}`), chooseBlock(app, layer)),
      el(
        "p",
        {},
        "Attention moves information between tokens; the MLP then works on each token by itself. It looks for ",
        `${F} patterns in the token’s vector, one for each of its neurons, and for every pattern it finds `,
        "it adds something to the vector.",
      ),
      tokenStrip(app, place, "the token whose numbers are shown"),
      el(
        "div",
        { class: "flow" },
        row("ln_2", normed, "What the MLP reads. Times the matrix c_fc, plus a bias:"),
        row("mlp.pre", pre, ["How well each neuron’s pattern fits. Each number goes through ", kind, ":"], look),
      ),
      el(
        "div",
        { class: "curve-row" },
        curve.element,
        el(
          "div",
          { class: "arithmetic" },
          el("p", {}, el("span", { class: "formula" }, `${kind}(x) = ${ACTIVATION_FUNCTIONS[kind].formula}`)),
          el(
            "p",
            {},
            `Each dot is a neuron. Numbers above 0 pass, numbers below are ${kind === "relu" ? "set to 0" : "held near 0"}: `,
            `here ${open} of ${F} are above.`,
          ),
          line,
        ),
      ),
      el(
        "div",
        { class: "flow" },
        row("mlp.act", act, "How active each neuron is. Times the matrix c_proj, plus a bias:", look),
        row("mlp.out", out, "What the MLP adds to the token’s vector."),
      ),
      el("h3", {}, "The most active neurons at ", quoted(app.run.tokens[token])),
      neurons({ app, layer, token, pre, act, order, writes, name, look }),
      writes[0] &&
        el(
          "p",
          { class: "hint" },
          `A neuron writes its row of c_proj (${D} numbers) times its activity. Length: the length of that vector. `,
          "Share: how much of mlp.out it accounts for; the shares of all neurons and the bias add up to 100 %, ",
          "and one that writes against the others is below 0.",
        ),
    );
  },
};

/** What a neuron adds to mlp.out: its length, and its share of mlp.out. Null if the parameters are not at hand. */
async function written(app, layer, f, activity, out) {
  if (app.start.has_parameters === false) return null;
  try {
    const { data } = await app.parameter(`h.${layer}.mlp.c_proj.weight`, [f, null]);
    let along = 0,
      squares = 0,
      total = 0;
    data.forEach((weight, d) => {
      along += activity * weight * out[d];
      squares += (activity * weight) ** 2;
      total += out[d] ** 2;
    });
    return { length: Math.sqrt(squares), share: total ? along / total : 0 };
  } catch {
    return null; // a file may hold the numbers of a run and not the model's parameters
  }
}

function neurons({ app, token, pre, act, order, writes, name, look }) {
  const withWrites = Boolean(writes[0]);
  const head = (text, title) => el("th", { scope: "col", title }, text);
  return el(
    "div",
    { class: "scroll" },
    el(
      "table",
      { class: "numbers neurons" },
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          head("neuron"),
          head("mlp.pre"),
          head("mlp.act"),
          withWrites && head("length"),
          withWrites && head("share", "of mlp.out"),
        ),
      ),
      el(
        "tbody",
        {},
        order.map((f, i) =>
          el(
            "tr",
            {
              onpointerenter: () => look(f),
              onpointerleave: () => look(null),
              onfocusin: () => look(f),
              dataset: { neuron: f },
            },
            el("th", { scope: "row" }, f),
            el("td", {}, figure(app, name("mlp.pre"), [token, f], pre[f], { where: "list" })),
            el("td", {}, figure(app, name("mlp.act"), [token, f], act[f], { where: "list" })),
            withWrites && el("td", {}, writes[i] && number(writes[i].length)),
            withWrites && el("td", {}, writes[i] && shareText(writes[i].share)),
          ),
        ),
      ),
    ),
  );
}

function shareText(share) {
  return share < 0 ? `−${percent(-share)}` : percent(share);
}
