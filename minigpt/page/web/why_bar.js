// A term's value, as text with its sign and as a bar.

import { el, number } from "./dom.js";

export function signed(x) {
  return x > 0 ? `+${number(x)}` : number(x);
}

/** A bar to the right of the middle for what adds, to the left for what takes away. share: of the largest, -1 to 1. */
export function bar(share) {
  const width = `${Math.min(1, Math.abs(share) || 0) * 50}%`;
  return el("span", { class: "why-bar", "aria-hidden": "true" },
    el("i", { class: share < 0 ? "minus" : "plus", style: share < 0 ? { right: "50%", width } : { left: "50%", width } }));
}
