// The whole model in one picture, with the text flowing through it from left to right: a row for each token, a column
// for each part of the model. The line of a row is its residual stream; every block adds to it what attention gathers
// from earlier rows and what the MLP makes of it. At the right stands what each row says about the next token.

import { el, fill, number, percent, place as placeText, token, tokenText } from "./dom.js";
import { arcs, arcTitle, connections } from "./overview_arcs.js";
import { layoutOf } from "./overview_layout.js";
import { guessesSoFar, lastGuesses, nextTokens, once, sizesOf } from "./overview_numbers.js";
import { paintStrip } from "./overview_strip.js";
import { cellOf } from "./picture.js";

const WAIT = 200; // milliseconds for the first numbers; later ones are drawn into the picture as they come
const LOW = 520; // pixels of the window, below which what the model says stands above the picture
const HEADING = 170; // pixels that "guess for the next token" takes, with some room beside it
const UNFOLDED = 18; // tokens that are shown at most before the reader unfolds the others

let unfolded = null; // the run whose folded tokens the reader wants to see
let scrolled = 0; // how far the picture is scrolled to the right: kept when it is drawn anew

export const view = {
  id: "overview",
  title: "Overview",
  shows: () => ["embed", "h.*.attn.weights", "h.*.attn.out", "h.*.mlp.out", "h.*.resid", "ln_f", "logits"],
  async render(app, place) {
    const section = el("section", { class: "overview" });
    const filled = draw(app, place, section, widthOf(document.getElementById("view")));
    watchWidth(app, place, section);
    await Promise.race([filled, new Promise((resolve) => setTimeout(resolve, WAIT))]);
    return section;
  },
};

function widthOf(main) {
  const { paddingLeft, paddingRight } = getComputedStyle(main);
  return main.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
}

/** Draw the picture again when its width changes: the window's, or that of the columns beside it. */
function watchWidth(app, place, section) {
  let width = null;
  const observer = new ResizeObserver(([entry]) => {
    if (!section.isConnected) return observer.disconnect();
    const now = Math.round(entry.contentRect.width);
    if (width !== null && Math.abs(now - width) > 4) draw(app, place, section, now);
    width = now;
  });
  requestAnimationFrame(() => observer.observe(section));
}

/** Draw everything that needs no numbers at once; the promise returned is kept when all numbers are in the picture. */
function draw(app, place, section, width) {
  const { run, config } = app;
  const T = run.ids.length;
  const chosen = Math.min(place.token ?? T - 1, T - 1);
  const layout = layoutOf({ T, chosen, L: config.n_layer, width, limit: unfolded === run.run ? Infinity : UNFOLDED, isLow: innerHeight <= LOW });
  const part = (name, { width: wide }) => el("div", { class: name, style: { width: `${wide}px`, height: `${layout.height}px` } });
  const board = part("board", layout.middle), left = part("tokens", layout.left), right = part("guesses", layout.right);
  const scroller = el("div", {
    class: "scroller", tabindex: layout.scrolls ? "0" : null, role: "group", "aria-label": "the blocks of the model",
  }, board);
  const kind = `${layout.isNarrow ? " narrow" : ""}${layout.isDeep ? " deep" : ""}`;
  const whole = el("div", { class: `whole${kind}`, style: { "--stuck": `${layout.left.width}px` } }, left, scroller, right);
  const moving = layout.isNarrow ? whole : scroller;
  moving.addEventListener("scroll", () => { scrolled = moving.scrollLeft; });
  const { why } = place;
  const isAsked = (name, index) => why?.name === name && String(why.index) === String(index);
  const box = layout.isAbove ? el("div", { class: "next-box above" })
    : el("div", { class: "next-box", style: { left: `${layout.right.nextX}px`, width: `${layout.right.nextWidth}px`, top: `${layout.nextTop}px` } });
  const picture = { app, run, layout, board, left, right, box, chosen, place, isAsked };

  const under = el("svg", { class: "under", width: layout.middle.width, height: layout.height, "aria-hidden": "true" });
  const arcLayer = el("g"), dotLayer = el("g");
  under.append(...streams(picture), arcLayer, dotLayer);
  board.append(under, ...headers(picture));
  left.append(...tokenRows(picture));
  if (!layout.isAbove) right.append(box);
  if (layout.right.width) right.append(el("button", {
    class: "column", style: { left: "0", width: `${layout.right.width}px`, top: "22px" },
    onclick: () => app.go({ view: "next", token: place.token }),
  }, layout.right.width < HEADING ? "next token" : "guess for the next token"));
  fill(section, layout.isAbove && box, introduction(app, chosen), legend(), whole, el("p", { class: "sr-only", id: "overview-words" }));
  requestAnimationFrame(() => { moving.scrollLeft = scrolled; });

  const words = section.querySelector("#overview-words");
  return Promise.all([
    strips(picture),
    drawArcs(picture, arcLayer, words),
    dots(picture, dotLayer),
    predictions(picture),
  ].map((work) => work.catch((error) => app.say(error.message, true))));
}

function introduction(app, chosen) {
  const { config, run } = app;
  return el("p", { class: "lead" },
    run.ids.length === 1 ? "One token goes" : `${run.ids.length} tokens go`, " in at the left, a row for each",
    `. ${config.n_layer === 1 ? "The one block" : `Each of the ${config.n_layer} blocks`} lets every row `,
    el("b", { class: "is-attention" }, "gather from earlier rows"), " (attention) and ",
    el("b", { class: "is-mlp" }, "work on what it has"), " (MLP)",
    ". At the right, each row guesses its next token; click a guess to see which words it came from. ",
    "Arcs and more guesses: those of “", token(run.tokens[chosen]), "”, the chosen token.");
}

function legend() {
  const key = (name, text) => el("span", {}, el("i", { class: `key ${name}` }), text);
  return el("p", { class: "legend" },
    key("key-arc", "attention: wider is more"), key("key-dot", "what attention adds"),
    key("key-square", "what the MLP adds"), key("key-strip", "stream: blue above 0, red below"),
    el("span", { class: "keys" }, el("kbd", {}, "←"), " ", el("kbd", {}, "→"), " go through the activations, ",
      el("kbd", {}, "Space"), " adds a token"));
}

/** The streams: a line for each row, and a band behind the chosen one; the frames of the blocks. */
function streams({ layout, chosen }) {
  const { rows, blocks, middle, top, bottom } = layout;
  const band = layout.yOf(chosen);
  return [
    ...blocks.map(({ x, width }) => el("rect", { class: "block-frame", x, y: top - 6, width, height: bottom - top + 12, rx: 8 })),
    el("rect", { class: "band", x: 0, y: band - layout.step / 2, width: middle.width, height: layout.step }),
    ...rows.map(({ y, position }) => el("line", {
      class: `stream${position === chosen ? " chosen" : ""}${position === null ? " folded" : ""}`, x1: 0, x2: middle.width, y1: y, y2: y,
    })),
  ];
}

/** The names of the columns: buttons that open the views. */
function headers({ app, layout, place }) {
  const { blocks } = layout;
  const kept = { token: place.token };
  const at = (x, width, y) => ({ left: `${x}px`, width: `${width}px`, top: `${y}px` });
  const open = (label, to, title, style, kind = "") => el("button", {
    class: `column ${kind}`, title, "aria-label": title, style, onclick: () => app.go({ ...kept, ...to }),
  }, label);
  const list = [
    open("embed", { view: "activation", name: "embed" }, "the vectors that the tokens start with",
      at(layout.embed.x + layout.embed.width / 2 - 24, 48, 22)),
    open("ln_f", { view: "norm", name: "ln_f" }, "the last layer norm", at(layout.final.x + layout.final.width / 2 - 18, 36, 22)),
  ];
  for (const [layer, { x, width, isWide, half }] of blocks.entries()) {
    list.push(
      open(layout.isDeep ? String(layer) : `block ${layer}`, { view: "stream", layer }, `the stream through block ${layer}`,
        at(x, width, 0), "of-block"),
      open(isWide ? "attention" : "attn", { view: "attention", layer, head: 0 }, `the attention of block ${layer}`,
        at(x, half, 22), "is-attention"),
      open("MLP", { view: "mlp", layer }, `the MLP of block ${layer}`, at(x + half, width - half, 22), "is-mlp"));
  }
  return list;
}

/** The tokens at the left, as buttons: the chosen one's arcs and guesses are shown. The arrow keys go from one to the next. */
function tokenRows({ app, run, layout, chosen, place }) {
  const choose = (position) => {
    document.getElementById(`overview-token-${position}`)?.focus({ preventScroll: true });
    app.go({ ...app.place, token: position });
  };
  const move = (event) => {
    const to = { ArrowUp: chosen - 1, ArrowDown: chosen + 1, Home: 0, End: run.ids.length - 1 }[event.key];
    if (to === undefined || to < 0 || to >= run.ids.length) return;
    event.preventDefault();
    event.stopPropagation();
    choose(to);
  };
  const buttons = layout.rows.map(({ y, position, folded }) => {
    const style = { top: `${y - layout.step / 2}px`, height: `${layout.step}px`, width: `${layout.left.width}px` };
    if (position === null) {
      return el("button", { class: "row fold", style, onclick: () => { unfolded = run.run; app.replace({ ...place }); } },
        `… ${folded} more`);
    }
    return el("button", {
      class: "row", id: `overview-token-${position}`, role: "radio", "aria-checked": String(position === chosen),
      tabindex: position === chosen ? "0" : "-1", style, onclick: () => choose(position),
      title: `position ${position}, id ${run.ids[position]}`,
    }, token(run.tokens[position]), el("span", { class: "id" }, String(run.ids[position])));
  });
  return [
    layout.isDeep && el("span", { class: "heading", style: { top: "0", width: `${layout.left.width}px` } }, "block"),
    el("span", { class: "heading", style: { top: "22px", width: `${layout.left.width}px` } }, "token", el("span", { class: "id" }, "id")),
    el("div", { role: "radiogroup", "aria-label": "token that is shown in full", onkeydown: move }, buttons),
    el("span", { class: "heading", style: { top: `${layout.bottom + 12}px`, width: `${layout.left.width}px` } }, "guess so far"),
  ].filter(Boolean);
}

/** The stream before and after every block, pooled to a few cells: a hovered cell names its largest number. */
async function strips({ app, run, layout, board, place: { why } }) {
  const columns = [
    { x: layout.embed.x, width: layout.embed.width, name: "embed" },
    ...layout.blocks.map(({ strip }, layer) => ({ ...strip, name: `h.${layer}.resid` })),
    { x: layout.final.x, width: layout.final.width, name: "ln_f" },
  ];
  const made = columns.map(({ x, width, name }) => {
    const canvas = el("canvas", { class: "strip", role: "img", "aria-label": `${name} as colours`, dataset: { name },
      style: { left: `${x}px`, top: `${layout.top}px`, width: `${width}px`, height: `${layout.bottom - layout.top}px` } });
    board.append(canvas);
    return canvas;
  });
  const pooled = await app.pooled(columns.map(({ name }) => [name, null]), layout.cells, run);
  columns.forEach(({ name }, i) => {
    const { values, where, shape: [, cells] } = pooled[i];
    paintStrip(made[i], pooled[i], layout);
    if (why?.name === name) markCell(made[i], why.index, cells, app, layout);
    const under = (event) => {
      const box = made[i].getBoundingClientRect();
      const row = layout.rowAt(event.clientY - box.top + layout.top);
      if (!row || row.position === null) return null;
      const cell = Math.max(0, Math.min(cells - 1, Math.floor(((event.clientX - box.left) / box.width) * cells)));
      return row.position * cells + cell;
    };
    const indexOf = (at) => [Math.floor(at / cells), where[at]];
    made[i].addEventListener("pointermove", (event) => {
      const at = under(event);
      made[i].title = at === null ? "" : `${placeText(name, indexOf(at))} = ${number(values[at])}, the largest here`;
    });
    made[i].addEventListener("click", (event) => {
      const at = under(event);
      if (at !== null) app.why(name, indexOf(at));
    });
  });
}

/** Mark the cell of a strip that has the number whose arithmetic the panel shows. */
function markCell(strip, [position, column], cells, app, { step, yOf }) {
  const width = parseFloat(strip.style.width) / cells;
  const cell = cellOf(column, app.config.n_embd, cells);
  const left = parseFloat(strip.style.left) + cell * width, top = yOf(position) - step / 2 + 2;
  strip.after(el("div", { class: "asked-cell",
    style: { left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${step - 4}px` } }));
}

/** How much attention and the MLP add to each row: the length of it, as a share of the stream’s, is the mark’s area. */
async function dots({ app, run, layout, chosen }, layer) {
  const sizes = await once(run, "sizes", () => sizesOf(app, run));
  const marks = [];
  for (const [block, { attentionX, mlpX }] of layout.blocks.entries()) {
    for (const { y, position } of layout.rows) {
      if (position === null) continue;
      for (const [kind, x] of [["attention", attentionX], ["mlp", mlpX]]) {
        const { length, share } = sizes[kind][block][position];
        const radius = layout.dot * Math.min(1, Math.max(0.22, Math.sqrt(share)));
        const title = el("title", {}, `${kind === "mlp" ? "the MLP" : "attention"} of block ${block} adds a vector of length `
          + `${number(length)} to the stream of “${tokenText(run.tokens[position])}”: ${percent(share)} of the stream’s length`);
        const common = { class: `${kind} mark${position === chosen ? " chosen" : ""}`,
          onclick: () => app.go({ view: kind, layer: block, ...(kind === "attention" ? { head: 0 } : {}), token: position }) };
        marks.push(kind === "mlp"
          ? el("rect", { ...common, x: x - radius, y: y - radius, width: 2 * radius, height: 2 * radius, rx: 1.5 }, title)
          : el("circle", { ...common, cx: x, cy: y, r: radius }, title));
      }
    }
  }
  fill(layer, marks);
}

/** The strongest attention of the chosen row, in every block. */
async function drawArcs({ app, run, layout, chosen }, layer, words) {
  const perBlock = await Promise.all(layout.blocks.map((_, block) => connections(app, run, block, chosen)));
  fill(layer, perBlock.flatMap((links, block) => arcs(layout, block, chosen, links).map(({ path, link, width }) =>
    el("path", {
      class: "arc", d: path, "stroke-width": width, style: { opacity: String(0.35 + 0.6 * link.weight) },
      dataset: { name: `h.${block}.attn.weights`, index: [link.head, chosen, link.source].join(","), value: String(link.weight) },
      onclick: () => app.go({ view: "attention", layer: block, head: link.head, token: chosen }),
    }, el("title", {}, arcTitle(run, block, chosen, link))))));
  words.textContent = perBlock.map(([strongest], block) => arcTitle(run, block, chosen, strongest)).join(". ");
}

/** At the right the guess of every row, and all the best ones of the chosen row; below, its guess after every block. */
async function predictions({ app, run, layout, board, right, box, chosen, isAsked }) {
  const { rowGuessWidth } = layout.right;
  const below = el("div", { class: "so-far" });
  board.append(below);
  const [best, soFar, rows] = await Promise.all([
    nextTokens(app, run, chosen), guessesSoFar(app, run, chosen), rowGuessWidth && lastGuesses(app, run)]);
  fill(box,
    el("p", {}, "after “", token(run.tokens[chosen]), "”"),
    best.map(({ id, text, probability, logit }) => el("button", {
      class: `candidate${isAsked("logits", [chosen, id]) ? " asked" : ""}`,
      dataset: { name: "logits", index: `${chosen},${id}`, value: String(logit) },
      title: `logit ${number(logit)}: ask which words it came from`, onclick: () => app.why("logits", [chosen, id]),
    }, el("i", { style: { "--share": `${100 * probability}%` } }), token(text), el("span", {}, percent(probability)))));
  // The last guess of a row is a logit of the run, so it can be asked; the guesses on the way have a view of their own.
  const asks = (position, { id, text }) => ({
    title: `“${tokenText(text)}” after “${tokenText(run.tokens[position])}”: ask which words it came from`,
    onclick: () => app.why("logits", [position, id], { token: position }),
  });
  if (soFar) {
    const last = layout.lensColumns.length - 1;
    fill(below,
      layout.lensColumns.map(({ x, width }, i) => el("button", {
        class: "guess-so-far", style: { left: `${x}px`, width: `${width}px`, top: `${layout.bottom + 12}px` },
        ...(i === last ? asks(chosen, soFar[i]) : {
          title: `if the model ended ${i ? `after block ${i - 1}` : "before the first block"}: `
            + `“${tokenText(soFar[i].text)}” with ${percent(soFar[i].probability)}`,
          onclick: () => app.go({ view: "lens", token: chosen, layer: i - 1 }),
        }),
      }, token(soFar[i].text), el("span", {}, percent(soFar[i].probability)))));
  }
  if (rows) {
    right.append(...layout.rows.filter(({ position }) => position !== null).map(({ y, position }) => el("button", {
      class: `row-guess${position === chosen ? " chosen" : ""}${isAsked("logits", [position, rows[position].id]) ? " asked" : ""}`,
      style: { width: `${rowGuessWidth}px`, top: `${y - layout.step / 2}px`, height: `${layout.step}px` },
      ...asks(position, rows[position]),
    }, token(rows[position].text), el("span", {}, percent(rows[position].probability)))));
  }
}
