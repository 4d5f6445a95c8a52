// A sum as a picture: each bar begins where the one before ended, and the last ends at the sum.

import { el, fill, number } from "./dom.js";

const HEIGHT = 100; // units of the picture, whatever its size on the screen

/**
 * values: what is added up, from left to right. onhover(i): the bar that is looked at, null for none. onpick(i): a click.
 * Returns {element, mark(i)}; mark shows which bar is meant.
 */
export function waterfall({ values, onhover, onpick, label }) {
  const ends = [];
  values.forEach((x, i) => ends.push((ends[i - 1] ?? 0) + x));
  const top = Math.max(0, ...ends),
    bottom = Math.min(0, ...ends);
  const size = top - bottom || 1;
  const y = (x) => ((top - x) / size) * HEIGHT;
  const total = ends.at(-1) ?? 0;
  const bars = Array.from(values, (x, i) => {
    const from = ends[i] - x;
    return el("rect", {
      class: x < 0 ? "minus" : "plus",
      x: i + 0.1,
      width: 0.8,
      y: Math.min(y(from), y(ends[i])),
      height: Math.max(0.4, Math.abs(y(from) - y(ends[i]))),
      dataset: { index: i, value: String(x) },
    });
  });
  const picture = el(
    "svg",
    { viewBox: `0 0 ${values.length} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    el("line", { class: "zero", x1: 0, x2: values.length, y1: y(0), y2: y(0) }),
    el("line", { class: "total", x1: 0, x2: values.length, y1: y(total), y2: y(total) }),
    bars,
  );
  const find = (event) => {
    const box = picture.getBoundingClientRect();
    return Math.max(
      0,
      Math.min(values.length - 1, Math.floor(((event.clientX - box.left) / box.width) * values.length)),
    );
  };
  picture.addEventListener("pointermove", (event) => onhover(find(event)));
  picture.addEventListener("pointerleave", () => onhover(null));
  picture.addEventListener("click", (event) => onpick(find(event)));
  const scale = el("div", { class: "scale", "aria-hidden": "true" });
  // The words “sum” and “0” stand beside their lines, unless they would stand on each other.
  const far = Math.abs(y(0) - y(total)) > 14;
  fill(
    scale,
    far && el("span", { style: { top: `${y(0)}%` } }, "0"),
    el("span", { style: { top: `${y(total)}%` } }, number(total)),
  );
  return {
    element: el("div", { class: "waterfall" }, picture, scale),
    mark: (i) => bars.forEach((bar, at) => bar.classList.toggle("marked", at === i)),
  };
}
