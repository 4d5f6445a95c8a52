// Elements, tokens and numbers as text. Nothing on this page is parsed as HTML: text is always a text node.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "g", "path", "line", "rect", "circle", "text", "title", "polyline"]);

/** Create an element. attributes: {class, title, onclick: function, dataset: {...}, style: {...}, ...}; false and null leave one out. */
export function el(tag, attributes = {}, ...children) {
  const element = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name === "style") setStyle(element.style, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

function setStyle(style, values) {
  for (const [name, value] of Object.entries(values)) {
    if (name.startsWith("--")) style.setProperty(name, value); // a variable for the style sheet
    else style[name] = value;
  }
}

/** Replace everything in an element. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const VISIBLE = { " ": "␣", "\n": "↵", "\r": "↵", "\t": "⇥" };

/** A token's text with visible signs for white space; characters that change others or cannot be seen become escapes. */
export function tokenText(text) {
  const signs = text.replaceAll("\r\n", "\n").replace(/[ \n\r\t]/g, (space) => VISIBLE[space]);
  const hidden = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Zl}\p{Zp}]|(?!\u2423)[\p{Zs}]/gu;
  return signs.replace(hidden, (c) => `\\u{${c.codePointAt(0).toString(16)}}`) || "∅";
}

/** A token as an element that no other text can run into. */
export function token(text, attributes = {}) {
  return el("bdi", { ...attributes, class: `token ${attributes.class ?? ""}`.trim() }, tokenText(text));
}

/** A number as text with four significant digits. */
export function number(x) {
  if (x === 0) return "0";
  if (!Number.isFinite(x)) return Number.isNaN(x) ? "NaN" : x > 0 ? "∞" : "−∞";
  const size = Math.abs(x);
  const text = size >= 1e5 || size < 1e-4 ? x.toExponential(3) : String(Number(x.toPrecision(4)));
  return text.replace("-", "−").replace("e−", "e-");
}

/** A probability as a percentage. */
export function percent(p) {
  if (p >= 0.995 && p < 1) return "> 99 %";
  return p >= 0.0995 ? `${(100 * p).toFixed(0)} %` : p >= 0.00095 ? `${(100 * p).toFixed(1)} %` : p > 0 ? "< 0.1 %" : "0 %";
}

/** The name of a single number: h.2.attn.scores[1, 5, 3]. */
export function place(name, index) {
  return index?.length ? `${name}[${index.join(", ")}]` : name;
}
