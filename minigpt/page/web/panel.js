// The panel at the right: the arithmetic of the number that was asked for, and the activation it belongs to: what it
// means, and the line that made it.

import { el, fill } from "./dom.js";
import { renderWhy } from "./why_panel.js";

/** Draw the panel for the present place. */
export function renderPanel(app, element) {
  const step = app.step(app.place.name ?? "");
  const { why } = app.place;
  const asked = JSON.stringify(why ?? null);
  const isOther = element.dataset.asked !== asked;
  element.dataset.asked = asked;
  fill(element,
    why && el("div", { class: "bar ask" },
      app.start.live && el("button", { id: "change-number", onclick: () => app.go({ ...app.place, view: "changes" }) },
        "Change this number"),
      el("button", {
        id: "close-why", title: "close the arithmetic (Escape)",
        onclick: () => app.go({ ...app.place, why: undefined }),
      }, "Close")),
    why && renderWhy(app, why.name, why.index),
    step && el("section", { class: "details" },
      el("h2", {}, el("code", {}, step.name)),
      el("p", { class: "shape" }, `[${step.shape.join(", ")}]`),
      el("p", { class: "formula" }, "= ", step.formula),
      el("p", {}, step.meaning),
      el("p", { class: "origin" }, `${step.file}:${step.line}`),
      el("pre", {}, el("code", {}, step.source))),
    !why && el("p", { class: "hint" },
      "Click a number or a guess to see where it comes from. ← and → step through the activations, Space adds the next token."));
  if (isOther) element.scrollTop = 0;
}
