// One head's attention as arcs over the text: from a token back to the tokens it takes from, as thick as the weight.

import { tokenRadio } from "./choose.js";
import { el, fill, percent } from "./dom.js";
import { figure } from "./figures.js";

const THICKEST = 14; // pixels, of a weight of 1
const FAINTEST = 0.01; // smaller weights have no arc

/**
 * name: "h.2.attn.weights". weights: T * T, row by row. token: the position whose row is drawn while no other is
 * hovered. onchoose(position): a token was chosen.
 */
export function arcs(app, { name, head, weights, token, onchoose }) {
  const { tokens } = app.run;
  const T = tokens.length;
  const curves = el("svg", { class: "curves", "aria-hidden": "true" });
  const shares = tokens.map((_, s) =>
    el(
      "span",
      { class: "share" },
      s <= token
        ? figure(app, name, [head, token, s], weights[token * T + s], {
            where: "arc",
            text: share(weights[token * T + s]),
            tabindex: -1, // the matrix below has these numbers for the keyboard
          })
        : null,
    ),
  );
  const words = tokens.map((text, position) =>
    el(
      "div",
      { class: "place", onpointerenter: () => draw(position), onfocusin: () => draw(position) },
      tokenRadio({ id: "arc-token", text, position, chosen: position === token, change: onchoose }),
      shares[position],
    ),
  );
  const frame = el(
    "div",
    { class: "arcs", onpointerleave: () => draw(token) },
    curves,
    el("div", { class: "places", role: "radiogroup", "aria-label": "the token that looks back" }, words),
  );
  let spots = [];

  /** Find where the tokens stand: one line, or several if the text is long. */
  function measure() {
    const lines = new Set(words.map((word) => word.offsetTop)).size;
    frame.classList.toggle("one-line", lines === 1);
    spots = words.map((word) => ({
      x: word.offsetLeft + word.offsetWidth / 2,
      top: word.offsetTop,
      bottom: word.offsetTop + word.offsetHeight,
    }));
    draw(token);
  }

  function draw(t) {
    const row = weights.subarray(t * T, (t + 1) * T);
    words.forEach((word, s) => {
      word.style.setProperty("--weight", s <= t ? row[s] : 0);
      word.classList.toggle("from", s === t);
      word.classList.toggle("faint", s > t);
      // The buttons belong to the chosen token's row; while another row is hovered, its weights stand there as text.
      const text = shares[s].firstElementChild ?? shares[s];
      text.textContent = s <= t ? share(row[s]) : "";
    });
    if (!spots.length) return;
    const room = spots[0].top - 6;
    fill(
      curves,
      Array.from(
        row.subarray(0, t + 1),
        (weight, s) =>
          weight > FAINTEST &&
          el("path", {
            d: curve(spots[t], spots[s], room),
            "stroke-width": (1 + (THICKEST - 1) * weight).toFixed(2),
            dataset: { from: t, to: s, value: weight },
          }),
      ),
    );
  }

  new ResizeObserver(measure).observe(frame);
  return frame;
}

/** The path of an arc from one token to another: over the words of a line, or up to a line above. */
function curve(from, to, room) {
  if (from === to) return `M ${from.x - 9} ${from.top} c -12 -34 30 -34 18 0`;
  if (from.top !== to.top)
    return `M ${from.x} ${from.top} C ${from.x} ${from.top - 26}, ${to.x} ${to.bottom + 26}, ${to.x} ${to.bottom}`;
  // A curve rises to three quarters of its handles.
  const height = Math.min(room * 1.3, 16 + 0.35 * Math.abs(from.x - to.x));
  return `M ${from.x} ${from.top} C ${from.x} ${from.top - height}, ${to.x} ${to.top - height}, ${to.x} ${to.top}`;
}

function share(weight) {
  return percent(weight).replace(" %", "%").replace("< ", "<");
}
