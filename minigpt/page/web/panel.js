// The panel at the right: the arithmetic of the number that was asked for, and every activation that the view shows:
// what it means, and the line that made it.

import { el, fill } from "./dom.js";
import { viewOf } from "./views.js";
import { renderWhy } from "./why_panel.js";

/** Draw the panel for the present place. */
export function renderPanel(app, element) {
  const { why } = app.place;
  const asked = JSON.stringify([why, viewOf(app.place).id]);
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
    !why && el("p", { class: "hint" }, "Click a number or a guess to see where it comes from. ",
      "← and → step through the activations, Space adds the next token."),
    activationsOf(app).map((name) => details(app, name)));
  if (isOther) element.scrollTop = 0;
}

/** The activations of the number that was asked and of the view. "h.*.attn.q" stands for that of every block. */
function activationsOf(app) {
  const { why } = app.place;
  const shown = (viewOf(app.place).shows?.(app, app.place) ?? []).filter((name) => stepOf(app, name));
  if (!why) return shown;
  const ofAllBlocks = why.name.replace(/^h\.\d+/, "h.*");
  return [why.name, ...shown.filter((name) => name !== why.name && name !== ofAllBlocks)];
}

/** The step of an activation, if the run has it: a replaced attention may tap no scores. Of "h.*.attn.q", one block's. */
function stepOf(app, name) {
  return app.step(name.replace("*", Math.max(0, app.place.layer ?? 0)));
}

/** What an activation is, and where it was made. The blocks are made by the same lines. */
function details(app, name) {
  const last = app.config.n_layer - 1;
  const step = stepOf(app, name);
  const names = name.includes("*") && last > 0 ? `${name.replace("*", 0)} to ${name.replace("*", last)}` : step.name;
  return el("section", { class: "details", dataset: { activation: name } },
    el("h2", {}, el("button", {
      class: "link", title: `show the numbers of ${step.name}`,
      onclick: () => app.go({ view: "activation", name: step.name }),
    }, el("code", {}, names)), " ", el("span", { class: "shape" }, `[${step.shape.join(", ")}]`)),
    el("p", { class: "formula" }, "= ", step.formula),
    el("p", {}, step.meaning),
    el("p", { class: "origin" }, `${step.file}:${step.line}`),
    el("pre", {}, el("code", {}, step.source)));
}
