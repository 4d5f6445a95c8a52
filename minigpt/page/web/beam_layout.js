// Where the nodes of a beam search stand, as in minigpt/looking/beam_tree.py.

/**
 * Heights for every node of a tree: children are ordered like their parents, and among brothers by score, so that no
 * lines cross. nodes: [{parent: index or null, step, score}]. Returns {heights: a Map from index to height, null being
 * the text before; rows: the nodes of the fullest step; steps}. Height 0 is the middle, and 1 is the distance of two.
 */
export function beamLayout(nodes) {
  const heights = new Map([[null, 0]]);
  const steps = nodes.reduce((most, node) => Math.max(most, node.step), 0);
  let rows = 1;
  for (let step = 1; step <= steps; step++) {
    const column = nodes.map((_, index) => index).filter((index) => nodes[index].step === step);
    column.sort((a, b) => heights.get(nodes[a].parent) - heights.get(nodes[b].parent) || nodes[a].score - nodes[b].score);
    column.forEach((index, rank) => heights.set(index, rank - (column.length - 1) / 2));
    rows = Math.max(rows, column.length);
  }
  return { heights, rows, steps };
}
