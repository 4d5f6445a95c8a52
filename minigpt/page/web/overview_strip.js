// The stream as strips of colour in the picture of the whole model.

import { colour } from "./heatmap.js";

/** The value of full colour: a few huge numbers would leave the others without any. */
function fullColour(values) {
  const sizes = values.map(Math.abs).sort();
  return sizes[Math.floor(0.97 * (sizes.length - 1))] || 1;
}

/** Paint the cells of the rows that the layout shows; 0 is transparent, so that a strip suits a light and a dark page. */
export function paintStrip(canvas, { values, shape: [, cells] }, { rows, step }) {
  const scale = fullColour(values);
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
