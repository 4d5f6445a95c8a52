// The activation function of the MLP as a curve, with a token's numbers as dots on it.

import { ACTIVATION_FUNCTIONS } from "./activation_functions.js";
import { el, number } from "./dom.js";

const WIDTH = 440,
  HEIGHT = 250,
  MARGIN = 34; // units of the picture
const STEPS = 120; // of the curve

/** Round numbers between two others, at most so many: multiples of 1, 2 or 5 times a power of ten. */
function ticks(low, high, most) {
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const first = Math.ceil(low / step),
    count = Math.floor(high / step) - first + 1;
  return Array.from({ length: count }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/**
 * kind: a key of ACTIVATION_FUNCTIONS. pre, act: a dot for each of their numbers. onhover(i): the nearest dot, null for
 * none. onpick(i): a click. Returns {element, mark(i)}; mark draws a ring around a dot.
 */
export function activationCurve({ kind, pre, act, onhover, onpick }) {
  const { at } = ACTIVATION_FUNCTIONS[kind];
  const finite = (values) => Array.from(values).filter(Number.isFinite);
  const xs = finite(pre),
    ys = finite(act);
  const left = xs.reduce((least, x) => Math.min(least, x), -3) - 0.2,
    right = xs.reduce((most, x) => Math.max(most, x), 3) + 0.2;
  const top = ys.reduce((most, y) => Math.max(most, y), at(right)),
    bottom = ys.reduce((least, y) => Math.min(least, y), -0.4);
  const x = (value) => MARGIN + ((value - left) / (right - left)) * (WIDTH - 2 * MARGIN);
  const y = (value) => HEIGHT - MARGIN - ((value - bottom) / (top - bottom || 1)) * (HEIGHT - 2 * MARGIN);
  const curve = Array.from({ length: STEPS + 1 }, (_, i) => left + ((right - left) * i) / STEPS).map(
    (value) => `${x(value)},${y(at(value))}`,
  );
  // All dots are one path: a line of no length with round ends is a dot.
  const dots = Array.from(pre, (value, i) =>
    Number.isFinite(value) && Number.isFinite(act[i]) ? `M ${x(value).toFixed(1)} ${y(act[i]).toFixed(1)} h 0` : "",
  );
  const ring = el("circle", { class: "ring", r: 6 });
  const picture = el(
    "svg",
    {
      class: "activation-curve",
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      role: "img",
      "aria-label": `The curve of ${kind} with ${pre.length} dots; those right of 0 pass, those left of it are held near 0.`,
    },
    el("line", { class: "axis", x1: MARGIN, x2: WIDTH - MARGIN, y1: y(0), y2: y(0) }),
    el("line", { class: "axis", x1: x(0), x2: x(0), y1: MARGIN / 2, y2: HEIGHT - MARGIN + 6 }),
    ticks(left, right, 9).map((tick) => el("text", { x: x(tick), y: HEIGHT - 8, "text-anchor": "middle" }, number(tick))),
    ticks(0, top, 5)
      .filter((tick) => tick > 0)
      .map((tick) => el("text", { x: x(0) - 5, y: y(tick) + 4, "text-anchor": "end" }, number(tick))),
    el("text", { x: WIDTH - 4, y: y(0) - 6, "text-anchor": "end" }, "mlp.pre"),
    el("text", { x: x(0) + 6, y: MARGIN / 2 + 8 }, "mlp.act"),
    el("polyline", { class: "curve", points: curve.join(" ") }),
    el("path", { class: "dots", d: dots.join("") }),
    ring,
  );
  const nearest = (event) => {
    const box = picture.getBoundingClientRect();
    const [px, py] = [
      ((event.clientX - box.left) / box.width) * WIDTH,
      ((event.clientY - box.top) / box.height) * HEIGHT,
    ];
    let best = 0,
      distance = Infinity;
    for (let i = 0; i < pre.length; i++) {
      const far = (x(pre[i]) - px) ** 2 + (y(act[i]) - py) ** 2;
      if (far < distance) [best, distance] = [i, far];
    }
    return best;
  };
  picture.addEventListener("pointermove", (event) => onhover(nearest(event)));
  picture.addEventListener("pointerleave", () => onhover(null));
  picture.addEventListener("click", (event) => onpick(nearest(event)));
  return {
    element: picture,
    mark(i) {
      const shown = Number.isFinite(pre[i]) && Number.isFinite(act[i]);
      ring.setAttribute("cx", shown ? x(pre[i]) : -99);
      ring.setAttribute("cy", shown ? y(act[i]) : -99);
    },
  };
}
