// What the views of a block have in common: the place they show, and the controls that choose a block, a head, a token.

import { el, token as tokenElement } from "./dom.js";
import { positionOf } from "./token_strip.js";

/** The layer, head and token of a place; what it does not say is block 0, head 0, the last token. T: the number of tokens. */
export function spot(app, place) {
  const within = (value, size) => (Number.isInteger(value) && value >= 0 && value < size ? value : 0);
  const layer = within(place.layer ?? layerOf(place.name), app.config.n_layer);
  return {
    layer,
    head: within(place.head, app.config.n_head),
    token: positionOf(app, place),
    T: app.run.tokens.length,
  };
}

/** The position of the key that a place looks at; if it does not say, the one with the largest weight of the row. */
export function keyOf(place, row, T = row.length) {
  if (Number.isInteger(place.key) && place.key >= 0 && place.key < T) return place.key;
  return row.reduce((best, weight, s) => (weight > row[best] ? s : best), 0);
}

/** The activations of the attention of a place's block, up to what the heads gather. */
export function attentionNames(app, place) {
  const { layer } = spot(app, place);
  return ["q", "k", "v", "scores", "weights", "heads"].map((part) => `h.${layer}.attn.${part}`);
}

/** The layer of a name such as "h.2.attn.q", or null. */
export function layerOf(name) {
  return name?.startsWith("h.") ? Number(name.split(".")[1]) : null;
}

/** The same activation in another block. */
export function inBlock(name, layer) {
  return name?.replace(/^h\.\d+\./, `h.${layer}.`);
}

/** A list to choose the block from. */
export function chooseBlock(app, layer) {
  const change = (event) => {
    const to = Number(event.target.value);
    app.go({ ...app.place, layer: to, name: inBlock(app.place.name, to), why: undefined });
  };
  return chooser("block", app.config.n_layer, layer, change);
}

/** A list to choose the head from. */
export function chooseHead(app, head) {
  return chooser("head", app.config.n_head, head, (event) =>
    app.go({ ...app.place, head: Number(event.target.value), why: undefined }),
  );
}

function chooser(what, count, chosen, onchange) {
  const options = Array.from({ length: count }, (_, i) => el("option", { value: i, selected: i === chosen }, i));
  return el("label", { class: "choose" }, `${what} `, el("select", { id: `choose-${what}`, onchange }, options));
}

/** One token as a radio button. */
export function tokenRadio({ id, text, position, chosen, change, faint = false }) {
  return el(
    "label",
    { class: `word${faint ? " faint" : ""}`, title: `position ${position}` },
    el("input", {
      type: "radio",
      class: "sr-only",
      name: id,
      id: `${id}-${position}`,
      value: position,
      checked: chosen,
      onchange: () => change(position),
    }),
    tokenElement(text),
  );
}

/** A few stages as a radio group in one row: [{id, title}]. */
export function chooseStage({ id, label, stages, chosen, onchange }) {
  return el(
    "div",
    { class: "stages", role: "radiogroup", "aria-label": label },
    stages.map((stage) =>
      el(
        "label",
        { class: "stage" },
        el("input", {
          type: "radio",
          class: "sr-only",
          name: id,
          id: `${id}-${stage.id}`,
          checked: stage.id === chosen,
          onchange: () => onchange(stage.id),
        }),
        el("span", {}, stage.title),
      ),
    ),
  );
}
