// The stream as strips of colour in the picture of the whole model.

import { colour } from "./heatmap.js";

/** Each row's numbers in `count` cells: of all the numbers that share a cell, the one of largest absolute value. */
export function pooled(data, rows, columns, count) {
  const values = new Float64Array(rows * count), where = new Int32Array(rows * count);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const cell = row * count + Math.floor((column * count) / columns);
      const x = data[row * columns + column];
      if (Math.abs(x) >= Math.abs(values[cell])) [values[cell], where[cell]] = [x, column];
    }
  }
  const sizes = Array.from(values, Math.abs).sort((a, b) => a - b);
  return { values, where, scale: sizes[Math.floor(0.97 * (sizes.length - 1))] || 1 };
}

/** Paint the cells of the rows that the layout shows; 0 is transparent, so that a strip suits a light and a dark page. */
export function paintStrip(canvas, { values, scale }, { rows, step, cells }) {
  const ratio = Math.max(1, globalThis.devicePixelRatio ?? 1);
  const width = parseFloat(canvas.style.width), height = parseFloat(canvas.style.height);
  Object.assign(canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  for (const [i, { position }] of rows.entries()) {
    if (position === null) continue;
    for (let cell = 0; cell < cells; cell++) {
      const x = values[position * cells + cell];
      const [red, green, blue, alpha] = colour(x / scale);
      context.fillStyle = `rgba(${red}, ${green}, ${blue}, ${(alpha / 255).toFixed(3)})`;
      context.fillRect((cell * width) / cells, i * step + 3, width / cells, step - 6);
    }
  }
}
