// One head's attention as arcs over the text: from a token back to the tokens it takes from, as thick as the weight.

import { tokenRadio } from "./choose.js";
import { el, fill, percent } from "./dom.js";
import { figure } from "./figures.js";
import { scrolledBefore, scrollToShow } from "./sight.js";

const THICKEST = 14; // pixels, of a weight of 1
const FAINTEST = 0.01; // smaller weights have no arc
const ROOM = 44; // pixels above each line of a text in several lines
const LONG = 40; // tokens from which on the text is broken into lines; a shorter one scrolls sideways

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
  const isLine = T <= LONG;
  const frame = el(
    "div",
    { class: `arcs${isLine ? " one-line" : ""}`, onpointerleave: () => draw(token) },
    curves,
    el("div", { class: "places", role: "radiogroup", "aria-label": "the token that looks back" }, words),
  );
  const scroller = el("div", { class: "arcs-scroll" }, frame);
  let before = scrolledBefore("arcs-scroll");
  let spots = [];

  /** Find where the tokens stand. A line that is too long stays where it was, if the chosen token is in sight. */
  function measure() {
    spots = words.map((word) => ({
      x: word.offsetLeft + word.offsetWidth / 2,
      width: word.offsetWidth,
      top: word.offsetTop,
      bottom: word.offsetTop + word.offsetHeight,
    }));
    scrollToShow(scroller, words[token], before ?? scroller.scrollLeft);
    before = null;
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
    const room = isLine ? spots[0].top - 6 : ROOM;
    const drawn = Array.from(row.subarray(0, t + 1), (weight, s) => s).filter((s) => row[s] > FAINTEST);
    // Arcs from other lines end side by side on the token, or they would be one lump.
    const above = drawn.filter((s) => spots[s].top !== spots[t].top).sort((a, b) => spots[a].x - spots[b].x);
    const landing = (s) => {
      const i = above.indexOf(s);
      return i < 0 ? spots[t].x : spots[t].x + ((i + 0.5) / above.length - 0.5) * (spots[t].width - 8);
    };
    fill(
      curves,
      Array.from(
        row.subarray(0, t + 1),
        (weight, s) =>
          weight > FAINTEST &&
          el("path", {
            d: curve({ ...spots[t], x: landing(s) }, spots[s], room, s === t),
            "stroke-width": (1 + (THICKEST - 1) * weight).toFixed(2),
            dataset: { from: t, to: s, value: weight },
          }),
      ),
    );
  }

  new ResizeObserver(measure).observe(scroller);
  return scroller;
}

/** The path of an arc from one token to another: over the words of a line, or up to a line above. */
function curve(from, to, room, isItself) {
  if (isItself) return `M ${from.x - 9} ${from.top} c -12 -34 30 -34 18 0`;
  if (from.top !== to.top)
    return `M ${from.x} ${from.top} C ${from.x} ${from.top - 22}, ${to.x} ${to.bottom + 22}, ${to.x} ${to.bottom}`;
  // A curve rises to three quarters of its handles.
  const height = Math.min(room * 1.3, 16 + 0.35 * Math.abs(from.x - to.x));
  return `M ${from.x} ${from.top} C ${from.x} ${from.top - height}, ${to.x} ${to.top - height}, ${to.x} ${to.top}`;
}

function share(weight) {
  return percent(weight).replace(" %", "%").replace("< ", "<");
}
