// The model as a column, from the tokens below to the next token above: every part opens its view.

import { spot } from "./choose.js";
import { el, fill } from "./dom.js";
import { normOf } from "./view_norm.js";

const MAX_HIGH = 6; // blocks that are drawn with a line for each part; of more, each is one line

/** Draw the map of the model into an element; the present place is marked. */
export function renderMap(app, element) {
  const place = wholePlace(app);
  const L = app.config.n_layer;
  const many = L > MAX_HIGH;
  const button = (label, to, title, isHere = matches(place, to)) =>
    el("button", {
      class: "part", title, "aria-label": many ? title : null, "aria-current": isHere ? "location" : "false",
      onclick: () => app.go(to),
    }, label);
  const blocks = Array.from({ length: L }, (_, i) => L - 1 - i).map((layer) => {
    const head = place.layer === layer ? (place.head ?? 0) : 0;
    const here = layerOf(place) === layer;
    // The model is read from below to above, and in a line of its own from left to right.
    const mlp = button("MLP", { view: "mlp", layer }, `the MLP of block ${layer}`, here && isOf(place, ["mlp"], /\.mlp\.|\.ln_2$/));
    const attention = button(
      many ? "attn" : "attention", { view: "attention", layer, head }, `the attention of block ${layer}`,
      here && isOf(place, ["attention", "vectors"], /\.attn\.|\.ln_1$/));
    return el("div", { class: "block", role: "group", "aria-label": `block ${layer}`, dataset: { layer } },
      el("span", { class: "name" }, many ? layer : `block ${layer}`), many ? [attention, mlp] : [mlp, attention]);
  });
  const T = app.run.tokens.length;
  const scrolled = [element.scrollLeft, element.scrollTop];
  fill(element, el("div", { class: `parts${many ? " many" : ""}` },
    button("next token", { view: "next" }, "the probabilities of the next token"),
    button("logits", { view: "activation", name: "logits" }, "logits: a number for every token of the vocabulary"),
    button("ln_f", { view: "norm", name: "ln_f" }, "ln_f: the last layer norm"),
    el("div", { class: "blocks" }, blocks),
    button("embed", { view: "activation", name: "embed" }, "embed: a vector for every token"),
    button(`${T} ${T === 1 ? "token" : "tokens"}`, { view: "overview" }, "the tokens: the text and the whole model")));
  [element.scrollLeft, element.scrollTop] = scrolled;
  reveal(element.querySelector('[aria-current="location"]'), element);
}

function matches(place, to) {
  return Object.entries(to).every(([key, value]) => place[key] === value);
}

const OF_NAMES = ["activation", "norm"]; // views of one activation

/** The place with what its view shows if it does not say: the embedding, block 0 ... */
function wholePlace(app) {
  const { place } = app;
  if (place.view === "activation") return { ...place, name: place.name ?? "embed" };
  if (place.view === "norm") return { ...place, name: normOf(app, place) };
  return ["attention", "vectors", "mlp"].includes(place.view) ? { ...place, layer: spot(app, place).layer } : place;
}

/** The block where the reader is: from the name of an activation, or the layer of the view. */
function layerOf({ view, name, layer }) {
  const block = /^h\.(\d+)\./.exec(name ?? "");
  return OF_NAMES.includes(view) && block ? Number(block[1]) : (layer ?? null);
}

/** Whether the place is one of a part's own views, or one of the part's activations; its layer norm is read by it alone. */
function isOf({ view, name }, own, names) {
  return own.includes(view) || (OF_NAMES.includes(view) && names.test(name ?? ""));
}

/** Scroll the map, and nothing else, so that the part can be seen. */
function reveal(part, map) {
  if (!part) return;
  const [inner, outer] = [part.getBoundingClientRect(), map.getBoundingClientRect()];
  if (inner.top < outer.top || inner.bottom > outer.bottom) map.scrollTop += inner.top - outer.top - outer.height / 2;
  if (inner.left < outer.left || inner.right > outer.right) map.scrollLeft += inner.left - outer.left - outer.width / 2;
}
