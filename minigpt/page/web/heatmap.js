// A matrix as coloured cells: hover or keys read a number, a click or Enter asks where it comes from.

import { el, number, tokenText } from "./dom.js";

const LABEL = 11; // pixels of height that a name needs
const MAX_COLUMNS = 1024; // pixels a picture is wide at most; more columns share one, the largest absolute value wins

/**
 * values: typed array, rows * columns, row by row. rowLabels, columnLabels: texts (tokens) or null. largest: the value of
 * full colour. signed: blue above 0, red below; else from 0 upwards. cell(row, column): hides a cell if it
 * returns false. onpick(row, column): click or Enter. describe(row, column): the words before the number. cellWidth: in
 * pixels, or "fill" for a picture as wide as the place it is put in. write(row, column): a text to stand in the cell.
 */
export function heatmap({
  values, rows, columns, rowLabels = null, columnLabels = null, largest, signed = true, cell = null,
  cellWidth = null, cellHeight = null, onpick = null, describe, label, marked = null, onhover = null, write = null,
}) {
  const fill = cellWidth === "fill";
  const width = cellWidth ?? Math.max(1, Math.min(22, Math.floor(560 / columns)));
  const height = cellHeight ?? Math.max(4, Math.min(22, Math.floor(440 / rows)));
  const shown = Math.min(columns, MAX_COLUMNS);
  const canvas = el("canvas", { width: shown, height: rows, "aria-hidden": "true" });
  Object.assign(canvas.style, { width: fill ? "100%" : `${Math.min(columns * width, 900)}px`, height: `${rows * height}px` });
  paint(canvas, { values, rows, columns, shown, largest: largest || 1, signed, cell });

  const cursor = el("div", { class: "cursor", hidden: true });
  const tip = el("div", { class: "tip", hidden: true });
  const spoken = el("span", { class: "sr-only", "aria-live": "polite" });
  let at = marked ?? null;

  // The cursor is placed in percent, so that it stays at its cell when the picture changes its width.
  const percent = (part, whole) => `${(100 * part) / whole}%`;
  function point(row, column) {
    at = [row, column];
    cursor.hidden = false;
    Object.assign(cursor.style, {
      left: percent(column, columns), top: percent(row, rows), width: `max(3px, ${percent(1, columns)})`, height: percent(1, rows),
    });
  }
  function show(row, column, speak) {
    point(row, column);
    const hidden = cell && !cell(row, column);
    const words = `${describe ? `${describe(row, column)} ` : ""}${hidden ? "hidden by the mask" : number(values[row * columns + column])}`;
    tip.textContent = words;
    tip.hidden = false;
    putAbove(tip, canvas.getBoundingClientRect(), (column + 0.5) / columns, row / rows, 1 / rows);
    if (speak) spoken.textContent = words;
    onhover?.(row, column);
  }
  const find = (event) => {
    const box = canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
    const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
    return row >= 0 && row < rows && column >= 0 && column < columns ? [row, column] : null;
  };
  const hide = () => {
    tip.hidden = true;
    cursor.hidden = !marked;
    if (marked) point(...marked);
    onhover?.(null, null);
  };
  const keys = (event) => {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const [row, column] = at ?? [rows - 1, 0];
    if (event.key in moves) {
      const [down, right] = moves[event.key];
      show(Math.max(0, Math.min(rows - 1, row + down)), Math.max(0, Math.min(columns - 1, column + right)), true);
    } else if ((event.key === "Enter" || event.key === " ") && at && onpick) onpick(row, column);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const field = el(
    "div",
    {
      id: label ? `field ${label}` : null, class: `field${onpick ? " pickable" : ""}`, tabindex: "0",
      role: "application", "aria-roledescription": "matrix of numbers",
      "aria-label": `${label ?? "numbers"}: ${rows} by ${columns}. Arrow keys read the numbers${onpick ? ", Enter asks where one comes from" : ""}.`,
      onpointermove: (event) => { const place = find(event); place ? show(...place) : hide(); },
      onpointerleave: hide, onkeydown: keys,
      // What the reader has gone to with the keys stays, so that Tab leads on to what the view says about it.
      onblur: () => { tip.hidden = true; },
      onclick: (event) => { const place = find(event); if (place && onpick) onpick(...place); },
    },
    canvas, write && written({ values, rows, columns, largest: largest || 1, cell, write }), cursor, tip, spoken,
  );
  if (marked) point(...marked);

  const rowNames = rowLabels && el("div", { class: "rows", style: { height: `${rows * height}px` } }, namesOfRows(rowLabels, height));
  const everyColumn = fill ? 1 : Math.ceil(LABEL / width);
  const columnNames = columnLabels && (!fill || columns * 14 <= 900) && el("div", { class: "columns", style: { width: `${Math.min(columns * width, 900)}px` } },
    columnLabels.map((text, i) => el("span", {}, i % everyColumn === 0 && el("bdi", { class: "token" }, short(text)))));
  return el("div", { class: `heatmap${rowNames ? "" : " bare"}${fill ? " fill" : ""}` }, columnNames && el("div", { class: "corner" }), columnNames, rowNames, field);
}

/** The names of the rows; where rows are lower than a line of text, only every second one is named, or every third ... */
function namesOfRows(labels, height) {
  const every = Math.ceil(LABEL / height);
  if (every === 1) return labels.map((text) => el("bdi", { class: "token" }, short(text)));
  return labels.map((text, i) => i % every === 0 &&
    el("bdi", { class: "token", style: { flexGrow: String(Math.min(every, labels.length - i)), alignItems: "flex-start" } }, short(text)));
}

/** Put a tip above a cell, or below it where there is no room, inside the window. */
function putAbove(tip, box, across, down, height) {
  const { offsetWidth, offsetHeight } = tip;
  const left = box.left + across * box.width - offsetWidth / 2;
  const top = box.top + down * box.height - offsetHeight - 4;
  tip.style.left = `${Math.max(4, Math.min(left, document.documentElement.clientWidth - offsetWidth - 4))}px`;
  tip.style.top = `${top > 4 ? top : box.top + (down + height) * box.height + 4}px`;
}

/** The numbers that stand in the cells; those on full colour are dark on a dark page, too. */
function written({ values, rows, columns, largest, cell, write }) {
  const texts = Array.from({ length: rows * columns }, (_, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    if (cell && !cell(row, column)) return el("span");
    return el("span", { class: Math.abs(values[i] / largest) > 0.8 ? "strong" : null }, write(row, column));
  });
  return el("div", { class: "written", "aria-hidden": "true", style: { gridTemplateColumns: `repeat(${columns}, 1fr)` } }, texts);
}

function short(text) {
  const visible = tokenText(text);
  return visible.length > 12 ? `${visible.slice(0, 11)}…` : visible;
}

function paint(canvas, { values, rows, columns, shown, largest, signed, cell }) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(shown, rows);
  for (let row = 0; row < rows; row++) {
    for (let pixel = 0; pixel < shown; pixel++) {
      const first = Math.floor((pixel * columns) / shown), last = Math.max(first + 1, Math.floor(((pixel + 1) * columns) / shown));
      let best = 0;
      for (let column = first; column < last; column++) {
        const x = values[row * columns + column];
        if (Number.isFinite(x) && Math.abs(x) > Math.abs(best)) best = x;
      }
      const hidden = cell && !cell(row, first);
      image.data.set(hidden ? [128, 128, 128, 40] : colour(best / largest, signed), 4 * (row * shown + pixel));
    }
  }
  context.putImageData(image, 0, 0);
}

const PLUS = [58, 130, 214], MINUS = [214, 80, 68]; // seen on white and on black

/** The colour of a share of the largest value, -1 to 1: red, none, blue. None is transparent, so that it suits a light and a dark page. */
export function colour(share, signed = true) {
  return [...(share < 0 && signed ? MINUS : PLUS), Math.round(255 * Math.min(1, Math.abs(share)))];
}
