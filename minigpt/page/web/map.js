// The model as a column, from the tokens below to the next token above: every part opens its view.

import { el, fill } from "./dom.js";

/** Draw the map of the model into an element; the present place is marked. */
export function renderMap(app, element) {
  const { place } = app;
  const L = app.config.n_layer;
  const button = (label, to, title) => {
    const here = Object.entries(to).every(([key, value]) => place[key] === value);
    return el("button", { class: "part", title, "aria-current": here ? "location" : "false", onclick: () => app.go(to) }, label);
  };
  const blocks = Array.from({ length: L }, (_, i) => L - 1 - i).map((layer) =>
    el("div", { class: "block", role: "group", "aria-label": `block ${layer}` },
      el("span", { class: "name" }, `block ${layer}`),
      button("MLP", { view: "mlp", layer }, `the MLP of block ${layer}`),
      button("attention", { view: "attention", layer, head: place.layer === layer ? (place.head ?? 0) : 0 }, `the attention of block ${layer}`)));
  fill(element,
    button("next token", { view: "next" }, "the probabilities of the next token"),
    button("logits", { view: "activation", name: "logits" }, "a number for every token of the vocabulary"),
    button("ln_f", { view: "norm", name: "ln_f" }, "the last layer norm"),
    el("div", { class: "blocks" }, blocks),
    button("embed", { view: "activation", name: "embed" }, "a vector for every token"),
    button(`${app.run.tokens.length} tokens`, { view: "overview" }, "the text and the whole model"));
}
