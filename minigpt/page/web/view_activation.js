// Any activation as a picture of its numbers: one row for each token, one picture for each head.

import { el, number, place as placeName } from "./dom.js";
import { heatmap } from "./heatmap.js";
import { picture, pooledInWords } from "./picture.js";

/** The view that shows an activation in more than its numbers. */
function richerView(name) {
  const layer = name.startsWith("h.") ? Number(name.split(".")[1]) : null;
  const part = layer === null ? name : name.split(".").slice(2).join(".");
  if (["attn.scores", "attn.weights", "attn.heads"].includes(part)) return { view: "attention", layer, head: 0 };
  if (["attn.q", "attn.k", "attn.v"].includes(part)) return { view: "vectors", layer, head: 0 };
  if (part.startsWith("mlp.")) return { view: "mlp", layer };
  if (["ln_1", "ln_2", "ln_f"].includes(part)) return { view: "norm", name };
  if (["resid", "resid_mid", "embed", "attn.out"].includes(part)) return { view: "stream" };
  if (part === "logits") return { view: "next" };
  return null;
}

export const view = {
  id: "activation",
  title: "Activations",
  shows: (app, place) => [nameOf(app, place)],
  async render(app, place) {
    const name = nameOf(app, place);
    const step = app.step(name);
    const { shape } = step;
    const heads = shape.length === 3 ? shape[0] : 1;
    const [rows, columns] = shape.slice(-2);
    const square = step.axes?.endsWith("TS") ?? (heads > 1 && rows === columns);
    const steps = app.steps.map((s) => el("option", { value: s.name, selected: s.name === name }, s.name));
    // As wide as there is room for: a cell of some pixels if that fits, else all columns share the width.
    const room = (document.getElementById("view")?.clientWidth ?? 800) - 130;
    const cell = Math.min(18, Math.floor(Math.min(room, heads > 1 ? 240 : 560) / columns));
    const drawn = await picture(app, name, shape.map(() => null), { room: square ? Infinity : heads > 1 ? 240 : room });
    const size = rows * drawn.columns; // of one head
    const pictures = Array.from({ length: heads }, (_, head) => {
      const values = drawn.values.subarray(head * size, (head + 1) * size);
      const index = (row, cell) => [...(shape.length === 3 ? [head] : []), row, drawn.columnOf(head * rows + row, cell)];
      const isHere = place.why?.name === name && (heads === 1 || place.why.index[0] === head);
      const [askedRow, askedColumn] = isHere ? place.why.index.slice(-2) : [];
      return el("figure", { class: cell >= 1 ? "head" : "head wide" },
        heads > 1 && el("figcaption", {}, `head ${head}`),
        heatmap({
          values, rows, columns: drawn.columns, largest: step.largest, signed: step.signed,
          cellWidth: cell >= 1 ? cell : "fill",
          rowLabels: app.run.tokens,
          columnLabels: square ? app.run.tokens : null,
          cell: square ? (row, column) => column <= row : null,
          label: `${name}${heads > 1 ? `, head ${head}` : ""}`,
          describe: (row, cell) => placeName(name, index(row, cell)),
          onpick: (row, cell) => app.why(name, index(row, cell)),
          marked: isHere ? [askedRow, drawn.cellOf(askedColumn)] : null,
        }));
    });
    const richer = richerView(name);
    return el("section", {},
      el("div", { class: "bar" },
        el("label", {}, "Activation ", el("select", {
          id: "activation", onchange: (event) => app.go({ view: "activation", name: event.target.value }),
        }, steps)),
        el("button", { onclick: () => stepBy(app, -1), title: "the activation before (←)" }, "←"),
        el("button", { onclick: () => stepBy(app, 1), title: "the next activation (→)" }, "→"),
        richer && el("button", { onclick: () => app.go(richer) }, "Open it")),
      el("h2", {}, el("code", {}, name), " ", el("span", { class: "shape" }, `[${step.shape.join(", ")}]`)),
      el("p", { class: "formula" }, "= ", step.formula),
      el("p", {}, step.meaning),
      el("p", { class: "legend" },
        step.signed ? `Blue is above 0, red below; full colour is ${number(step.largest ?? NaN)}.` : "From no colour, 0, to blue, 1.",
        " One row for each token.", pooledInWords(drawn, columns), " Click a number to see where it comes from."),
      el("div", { class: "pictures" }, pictures));
  },
};

function nameOf(app, place) {
  return app.step(place.name)?.name ?? "embed";
}

/** Go to the next activation in the order of the forward pass, or with -1 to the one before. */
export function stepBy(app, by) {
  const names = app.steps.map((step) => step.name);
  const at = names.indexOf(app.place.name ?? "");
  const to = at < 0 ? (by > 0 ? 0 : names.length - 1) : Math.max(0, Math.min(names.length - 1, at + by));
  app.go({ view: "activation", name: names[to] });
}
