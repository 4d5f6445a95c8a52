// How the numbers of a vector are spread: a histogram, with the mean and one standard deviation to both sides.

import { el, number } from "./dom.js";

const BINS = 41,
  WIDTH = 400,
  HEIGHT = 120,
  FOOT = 22; // units of the picture, but for BINS

/** values: the numbers; mean, deviation: their mean and standard deviation; title: the words above the picture. */
export function histogram({ values, mean, deviation, title }) {
  const finite = Array.from(values).filter(Number.isFinite);
  const low = Math.min(...finite, mean - deviation),
    high = Math.max(...finite, mean + deviation);
  const span = high - low || 1;
  const counts = new Array(BINS).fill(0);
  for (const x of finite) counts[Math.min(BINS - 1, Math.floor(((x - low) / span) * BINS))] += 1;
  const most = Math.max(...counts, 1);
  const x = (value) => ((value - low) / span) * WIDTH;
  const floor = HEIGHT - FOOT;
  const bars = counts.map(
    (count, i) =>
      count > 0 &&
      el(
        "rect",
        {
          x: (i / BINS) * WIDTH + 0.5,
          width: WIDTH / BINS - 1,
          y: floor - (count / most) * (floor - 6),
          height: (count / most) * (floor - 6),
        },
        el(
          "title",
          {},
          `${count} of ${values.length} from ${number(low + (i / BINS) * span)} to ${number(low + ((i + 1) / BINS) * span)}`,
        ),
      ),
  );
  const label = (value, anchor) =>
    el("text", { x: x(value), y: HEIGHT - 6, "text-anchor": anchor }, number(Number(value.toPrecision(3))));
  const words = `mean ${rounded(mean)}, standard deviation ${rounded(deviation)}`;
  const middle = Math.abs(x(mean) - WIDTH / 2) < WIDTH / 2 - 70; // the mean's label has room between the other two
  return el(
    "figure",
    { class: "histogram" },
    el("figcaption", {}, title, el("br"), words),
    el(
      "svg",
      {
        viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
        role: "img",
        "aria-label": `${values.length} numbers from ${number(low)} to ${number(high)}, ${words}`,
      },
      el("rect", {
        class: "band",
        x: x(mean - deviation),
        width: x(mean + deviation) - x(mean - deviation),
        y: 0,
        height: floor,
      }),
      bars,
      el("line", { class: "axis", x1: 0, x2: WIDTH, y1: floor, y2: floor }),
      el("line", { class: "mean", x1: x(mean), x2: x(mean), y1: 0, y2: floor }),
      label(low, "start"),
      middle && el("text", { x: x(mean), y: HEIGHT - 6, "text-anchor": "middle" }, "mean"),
      label(high, "end"),
    ),
  );
}

/** A statistic as text: what is 0 but for rounding is 0. */
function rounded(x) {
  return number(Math.abs(x) < 1e-6 ? 0 : x);
}
