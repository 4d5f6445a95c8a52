// The arcs of attention in the picture of the whole model: from which rows the chosen row takes most, in each block.

import { percent, tokenText } from "./dom.js";

const MAX_ARCS = 5; // in a block
const LEAST_ARCS = 2, SMALLEST = 0.08; // weights below this are not drawn, unless there are no larger ones

/** The strongest connections of a row in a block, [{source, head, weight}]: of each source, the head that takes most. */
export async function connections(app, run, block, chosen) {
  const { data, shape: [H, T] } = await app.numbers(`h.${block}.attn.weights`, [null, chosen, null], run);
  const links = Array.from({ length: chosen + 1 }, (_, source) => {
    let head = 0;
    for (let h = 1; h < H; h++) if (data[h * T + source] > data[head * T + source]) head = h;
    return { source, head, weight: data[head * T + source] };
  });
  links.sort((a, b) => b.weight - a.weight);
  return links.filter((link, i) => i < LEAST_ARCS || link.weight >= SMALLEST).slice(0, MAX_ARCS);
}

/** The arcs as paths: they leave the stream of their source before the block and end at the chosen row's attention. */
export function arcs(layout, block, chosen, links) {
  const { arcX, attentionX } = layout.blocks[block];
  const y = layout.yOf(chosen);
  return links.map((link) => {
    const from = layout.yOf(link.source), middle = (arcX + attentionX) / 2;
    const width = 1.2 + 5 * link.weight;
    const path = link.source === chosen ? `M ${arcX} ${y} L ${attentionX} ${y}`
      : `M ${arcX} ${from} C ${middle + 8} ${from}, ${middle - 4} ${y}, ${attentionX} ${y}`;
    return { path, link, width };
  }).reverse(); // the strongest is drawn last, on top
}

export function arcTitle(run, block, chosen, { source, head, weight }) {
  const word = (t) => `“${tokenText(run.tokens[t])}”`;
  return `block ${block}, head ${head}: ${word(chosen)} takes ${percent(weight)} from ${source === chosen ? "itself" : word(source)}`;
}
