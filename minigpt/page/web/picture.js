// The numbers of an activation for a picture: all of them, or where they are too many, those that stand out.

const MAX_NUMBERS = 1e5; // of one picture
const CELL = 2; // pixels of width that a cell has at least, if not every number has a cell

/**
 * A promise of the numbers of rows as a heatmap takes them: {values, columns, columnOf(row, cell),
 * cellOf(column), isPooled}.
 * index: null for the rows and columns that are drawn. room: the pixels of width for each picture. If the numbers are too
 * many and have not even a pixel each, several share a cell: the one of largest absolute value is shown. most: how many
 * are too many. minus: a run whose numbers are subtracted.
 */
export async function picture(app, name, index, { room, most = MAX_NUMBERS, run = app.run, minus = null }) {
  const sizes = app.step(name, run).shape.filter((_, axis) => index[axis] === null);
  const columns = sizes.at(-1), rows = sizes.slice(0, -1).reduce((product, n) => product * n, 1);
  const isPooled = columns > room && rows * columns > most;
  // For each cell, a number and its column are sent.
  const cells = isPooled ? Math.max(1, Math.floor(Math.min(room / CELL, most / rows / 2))) : columns;
  if (!isPooled && !minus) {
    const { data } = await app.numbers(name, index, run);
    return { values: data, columns, columnOf: (row, cell) => cell, cellOf: (column) => column, isPooled };
  }
  const [{ values, where }] = await app.pooled([[name, index]], cells, run, minus);
  return {
    values, columns: cells, columnOf: (row, cell) => where[row * cells + cell], cellOf: (column) => cellOf(column, columns, cells),
    isPooled,
  };
}

/** Which of the cells that `columns` numbers are pooled to has a column: cell c begins at column floor(c columns / cells). */
export function cellOf(column, columns, cells) {
  return Math.ceil(((column + 1) * Math.min(cells, columns)) / columns) - 1;
}

/** A sentence about a picture with fewer cells than numbers, or "". */
export function pooledInWords({ columns, isPooled }, size) {
  return isPooled ? ` ${size} numbers of a row share ${columns} cells: each shows the one of largest absolute value.` : "";
}
