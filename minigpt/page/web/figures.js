// Single numbers and vectors of numbers that answer a click with where they come from.

import { el, number, place as placeName, tokenText } from "./dom.js";
import { heatmap } from "./heatmap.js";

const HEIGHT = 24; // pixels of a strip

/** A number as a button: four digits, and a click asks where it comes from. where: tells two of the same number apart. */
export function figure(app, name, index, value, { where = "", text = number(value), tabindex = null, more = {} } = {}) {
  const asked = app.place.why;
  const marked = asked?.name === name && String(asked.index) === String(index);
  return el(
    "button",
    {
      type: "button",
      class: `figure${marked ? " marked" : ""}`,
      id: `${where} ${placeName(name, index)}`,
      tabindex,
      title: `${placeName(name, index)} = ${value}`,
      dataset: { name, index: index.join(","), value: String(value) },
      onclick: () => app.why(name, index, more),
    },
    text,
  );
}

/**
 * A vector as a strip of coloured cells. index: that of the vector, null where its numbers run, such as
 * [head, token, null]. values: its numbers. largest: the value of full colour. onhover(i): which number is looked at, null for none.
 * describe(i): other words than the number's name. more: what else about the place changes with a click.
 */
export function strip(
  app,
  { name, index, values, largest = largestOf(values), where = "", onhover = null, describe = null, more = {} },
) {
  const at = (i) => index.map((part) => part ?? i);
  const asked = app.place.why;
  const chosen = index.indexOf(null);
  const marked =
    asked?.name === name && index.every((part, axis) => part === null || part === asked.index[axis])
      ? [0, asked.index[chosen]]
      : null;
  const picture = heatmap({
    values,
    rows: 1,
    columns: values.length,
    largest,
    cellWidth: "fill",
    cellHeight: HEIGHT,
    marked,
    label: `${where} ${placeName(
      name,
      index.map((part) => part ?? "all"),
    )}`.trim(),
    describe: (_, i) => (describe ? describe(i) : placeName(name, at(i))),
    onpick: (_, i) => app.why(name, at(i), more),
    onhover: onhover && ((_, i) => onhover(i)),
  });
  Object.assign(picture.dataset, { name, index: index.map((part) => part ?? "").join(",") });
  return picture;
}

/** The largest absolute value among finite numbers. */
export function largestOf(...vectors) {
  let largest = 0;
  for (const vector of vectors)
    for (const x of vector) if (Number.isFinite(x)) largest = Math.max(largest, Math.abs(x));
  return largest;
}

/** A token in running text, such as “␣time”, cut if it is long. */
export function quoted(text) {
  const visible = tokenText(text);
  return el("bdi", { class: "token quoted" }, visible.length > 20 ? `${visible.slice(0, 19)}…` : visible);
}
