// A layer norm, for one token: the mean taken away, divided by the standard deviation, times a weight, plus a bias.

import { layerOf } from "./choose.js";
import { el, fill, number } from "./dom.js";
import { figure, largestOf, quoted, strip } from "./figures.js";
import { heatmap } from "./heatmap.js";
import { histogram } from "./histogram.js";
import { positionOf, tokenStrip } from "./token_strip.js";

export const view = {
  id: "norm",
  title: "Layer norm",
  shows: (app, place) => {
    const name = normOf(app, place);
    return [readBy(app, name), name];
  },
  async render(app, place) {
    const name = normOf(app, place);
    const source = readBy(app, name);
    const token = positionOf(app, place);
    const [before, after] = (await Promise.all([source, name].map((one) => app.numbers(one, [token, null])))).map(
      ({ data }) => data,
    );
    const [weight, bias] = await Promise.all(["weight", "bias"].map((part) => parameter(app, `${name}.${part}`)));
    const D = before.length;
    const { mean, variance } = statistics(before);
    const epsilon = app.config.layer_norm_epsilon;
    const s = Math.sqrt(variance + epsilon);
    const centred = Float64Array.from(before, (x) => x - mean);
    const scaled = centred.map((x) => x / s);
    const stay = { norm: name }; // a click on a number of the stream must not lead to another layer norm
    const asked = place.why;
    const chosen =
      asked && [name, source].includes(asked.name) && asked.index[0] === token ? asked.index[1] : furthest(scaled);
    const line = el("div", { class: "arithmetic", id: "norm-arithmetic" });
    let shown = null;
    function look(i) {
      const d = i ?? chosen;
      if (d === shown) return; // a button that is being clicked must not be replaced
      shown = d;
      const computed = weight && scaled[d] * weight[d] + bias[d];
      const changed = weight && Math.abs(computed - after[d]) > 1e-3 * Math.max(1, Math.abs(computed));
      const result = figure(app, name, [token, d], after[d], { where: "line", more: stay });
      fill(
        line,
        el("p", {}, `Number ${d} of ${D}, counted from 0:`),
        el(
          "p",
          { class: "sum" },
          "(",
          figure(app, source, [token, d], before[d], { where: "line", more: stay }),
          ` − ${inBrackets(mean)}) / ${number(s)}`,
          ` = ${number(scaled[d])}`,
        ),
        el(
          "p",
          { class: "sum" },
          weight
            ? `${number(scaled[d])} × ${inBrackets(weight[d])} + ${inBrackets(bias[d])}`
            : `${number(scaled[d])} × weight + bias`,
          changed ? ", but a change made it " : " = ",
          result,
        ),
      );
    }
    look(null);
    const size = (values) => el("span", { class: "column" }, `± ${number(largestOf(values))}`);
    const part = (values, label, title, words) => [
      el("div", { class: "what" }, title, el("span", { class: "column" }, words)),
      strip(app, {
        name,
        index: [token, null],
        values,
        where: label,
        describe: (i) => `${label}[${i}]:`,
        onhover: look,
        more: stay,
      }),
      size(values),
    ];
    const learnt = (values, label) =>
      values && [
        el("div", { class: "what" }, label, el("span", { class: "column" }, "learnt")),
        heatmap({
          values,
          rows: 1,
          columns: D,
          largest: largestOf(values),
          cellWidth: "fill",
          cellHeight: 12,
          label: `${name}.${label}`,
          describe: (_, i) => `${name}.${label}[${i}]`,
          onhover: (_, i) => look(i),
        }),
        size(values),
      ];
    const result = statistics(after);
    return el(
      "section",
      { class: "norm", dataset: { name, token } },
      el("div", { class: "bar" }, el("h2", {}, "Layer norm"), chooseNorm(app, name)),
      el(
        "p",
        {},
        "Every block adds to a token’s vector, so that its numbers grow. Before attention, the MLP or the head ",
        "reads it, a layer norm brings the numbers to the same size: mean 0 and variance 1. Then each is multiplied by ",
        "a learnt weight, and a learnt bias is added.",
      ),
      tokenStrip(app, place, "the token whose vector is shown"),
      el(
        "div",
        { class: "flow with-size" },
        el("div", { class: "what" }, el("code", {}, source), el("span", { class: "column" }, "x, before")),
        strip(app, { name: source, index: [token, null], values: before, onhover: look, more: stay }),
        size(before),
        part(centred, "x − mean", "x − mean", `mean = ${number(mean)}`),
        part(scaled, "(x − mean) / s", "(x − mean) / s", `s = ${number(s)}`),
        learnt(weight, "weight"),
        learnt(bias, "bias"),
        el("div", { class: "what" }, el("code", {}, name), el("span", { class: "column" }, "× weight + bias")),
        strip(app, { name, index: [token, null], values: after, onhover: look, more: stay }),
        size(after),
      ),
      line,
      el("h3", {}, "Mean, variance and s of ", quoted(app.run.tokens[token])),
      el(
        "dl",
        { class: "statistics" },
        statistic("mean", mean, `sum of the ${D} numbers / ${D} = ${number(mean * D)} / ${D}`),
        statistic("variance", variance, `mean of the squares of x − mean = ${number(variance * D)} / ${D}`),
        statistic("s", s, `√(variance + ${epsilon}); the ${epsilon} keeps s from being 0`),
      ),
      el(
        "div",
        { class: "pictures histograms" },
        histogram({ values: before, mean, deviation: Math.sqrt(variance), title: `before: ${source}` }),
        histogram({ values: after, mean: result.mean, deviation: Math.sqrt(result.variance), title: `after: ${name}` }),
      ),
      el(
        "p",
        { class: "legend" },
        "How many of the numbers lie where. The shaded band is one standard deviation to both sides of the mean. ",
        "In the strips blue is above 0 and red below; ± says what full colour is. ",
        "Weight and bias change mean and variance once more.",
      ),
    );
  },
};

/** The layer norm of a place: the one it names, or the one that reads or feeds what it names. */
export function normOf(app, place) {
  const names = normNames(app);
  const wanted = place.norm ?? place.name ?? "";
  if (names.includes(wanted)) return wanted;
  const layer = layerOf(wanted) ?? (place.layer < app.config.n_layer ? place.layer : 0) ?? 0;
  if (wanted === "logits") return "ln_f";
  if (/\.resid$/.test(wanted)) return layer + 1 < app.config.n_layer ? `h.${layer + 1}.ln_1` : "ln_f";
  return /mlp|resid_mid|attn\.out/.test(wanted) ? `h.${layer}.ln_2` : `h.${layer}.ln_1`;
}

function normNames(app) {
  return app.steps.map((step) => step.name).filter((name) => /(^|\.)ln_(1|2|f)$/.test(name));
}

/** The activation that a layer norm reads. */
function readBy(app, name) {
  const layer = layerOf(name);
  if (name.endsWith("ln_2")) return `h.${layer}.resid_mid`;
  const last = (layer ?? app.config.n_layer) - 1;
  return last < 0 ? "embed" : `h.${last}.resid`;
}

function chooseNorm(app, chosen) {
  const change = (event) => {
    const name = event.target.value;
    const layer = layerOf(name);
    app.go({ ...app.place, ...(layer === null ? {} : { layer }), name, norm: undefined, why: undefined });
  };
  return el(
    "select",
    { id: "choose-norm", "aria-label": "layer norm", onchange: change },
    normNames(app).map((name) => el("option", { value: name, selected: name === chosen }, name)),
  );
}

/** A vector of the parameters; null where a file holds the numbers of a run and not the model's parameters. */
async function parameter(app, name) {
  if (app.start.has_parameters === false) return null;
  return app.parameter(name, [null]).then(
    ({ data }) => data,
    () => null,
  );
}

function statistics(values) {
  const D = values.length;
  const mean = values.reduce((sum, x) => sum + x, 0) / D;
  return { mean, variance: values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / D };
}

function furthest(values) {
  return values.reduce((best, x, i) => (Math.abs(x) > Math.abs(values[best]) ? i : best), 0);
}

function inBrackets(x) {
  return x < 0 ? `(${number(x)})` : number(x);
}

function statistic(name, value, words) {
  return [
    el("dt", {}, name),
    el("dd", { dataset: { statistic: name, value: String(value) } }, el("strong", {}, number(value)), " = ", words),
  ];
}
