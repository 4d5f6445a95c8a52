// The panel at the right: the activation that is looked at, the line that made it, and the arithmetic of one number.

import { el, fill } from "./dom.js";
import { renderWhy } from "./why_panel.js";

/** Draw the panel for the present place. */
export function renderPanel(app, element) {
  const step = app.step(app.place.name ?? "");
  const why = app.place.why;
  fill(element,
    step && el("section", { class: "details" },
      el("h2", {}, el("code", {}, step.name)),
      el("p", { class: "shape" }, `[${step.shape.join(", ")}]`),
      el("p", { class: "formula" }, "= ", step.formula),
      el("p", {}, step.meaning),
      el("p", { class: "origin" }, `${step.file}:${step.line}`),
      el("pre", {}, el("code", {}, step.source))),
    why ? renderWhy(app, why.name, why.index)
      : el("p", { class: "hint" }, "Click a number to see where it comes from. ← and → step through the activations, Space adds the next token."));
}
