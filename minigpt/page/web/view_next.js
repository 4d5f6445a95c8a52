// The next token: the logits after one position become probabilities; filters take tokens away; one token is drawn.

import { attempt } from "./attempt.js";
import { withoutCopies } from "./changes.js";
import { codeBlock } from "./code_block.js";
import { el, fill, number, percent, place as placeName, token, tokenText } from "./dom.js";
import { pythonLines } from "./next_python.js";
import { samplingControls, samplingOptions, settings } from "./next_settings.js";
import { mostOpenPosition } from "./open_choice.js";
import { uniforms } from "./random.js";
import { applyFilters, drawToken, greedy, softmax, topIndices } from "./sampling.js";
import { positionOf, tokenStrip } from "./token_strip.js";
import { vocabularyTexts } from "./vocabulary.js";

const SHOWN = 20; // tokens that get a bar of their own
const CERTAIN = 0.95; // a probability beyond which there is little to choose
const FULL_BARS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]; // what a bar of full width may mean
const REASONS = { top_k: "top-k", top_p: "top-p", min_p: "min-p", greedy: "greedy" };

export const view = {
  id: "next",
  title: "Next token",
  shows: () => ["logits"],
  async render(app, place) {
    const position = positionOf(app, place);
    const { data: logits } = await app.numbers("logits", [position, null]);
    const intro = [
      el("h2", {}, "Which token comes next?"),
      el("p", {}, "At every position the model gives each token of its vocabulary a score, the logit; softmax turns the " +
        "scores into probabilities. Sampling draws one token by chance, with these probabilities. The sliders change them " +
        "before the draw: some tokens are struck out, and the others share what those had."),
      el("p", { class: "hint", }, "The next token after:"),
      tokenStrip(app, place, "the position whose next token is shown"),
    ];
    if (!logits.every(Number.isFinite)) {
      const sentence = "Some logits are not finite numbers: there are no probabilities.";
      return el("section", { class: "next" }, intro, el("p", { class: "bad" }, sentence));
    }
    const tokens = tokensWithBars(app, place, logits, position);
    const texts = await vocabularyTexts(app, tokens);
    return el("section", { class: "next" }, intro, certainty(app, place, logits, position),
      bars(app, place, { logits, position, tokens, texts }));
  },
};

/** Where one token has nearly everything, no slider changes much: a line that says so, and leads to where one does. */
function certainty(app, place, logits, position) {
  const line = el("p", { class: "certain", id: "certain" });
  if (softmax(logits).reduce((most, p) => Math.max(most, p), 0) <= CERTAIN) return line; // its place is kept
  mostOpenPosition(app).then((open) => {
    if (open.position === position || open.best > CERTAIN) return;
    fill(line, "Here one token has nearly everything, and the sliders change little. Try them ",
      el("button", { id: "try-open", type: "button", onclick: () => app.go({ ...app.place, token: open.position }) },
        "after “", token(app.run.tokens[open.position]), "”"), ".");
  }).catch(() => {});
  return line;
}

/** The most probable tokens, the one that follows in the text, and the one whose logit is being explained. */
function tokensWithBars(app, place, logits, position) {
  const tokens = topIndices(logits, Math.min(SHOWN, logits.length));
  const asked = place.why?.name === "logits" && place.why.index[0] === position ? place.why.index[1] : undefined;
  for (const extra of [app.run.ids[position + 1], asked]) {
    if (extra !== undefined && !tokens.includes(extra)) tokens.push(extra);
  }
  return tokens;
}

function bars(app, place, { logits, position, tokens, texts }) {
  const V = logits.length;
  const probs = softmax(logits);
  const rows = tokens.map((id, i) => tokenRow(app, place, { id, text: texts[i], logit: logits[id], p: probs[id], position }));
  const body = el("tbody", {}, rows.map((row) => row.element));
  const rest = el("td", { colspan: "5", class: "rest" });
  const scale = el("th", { scope: "col", class: "scale" });
  const python = codeBlock(app, "The same in Python:");
  // A token that is drawn and has no bar yet gets one.
  const extra = (id, text) => {
    const row = tokenRow(app, place, { id, text, logit: logits[id], p: probs[id], position });
    body.append(row.element);
    return row;
  };
  const draw = drawing(app, { tokens, texts, position, rows, extra, changed: () => controls.changed() });
  const marked = tokens.includes(place.why?.index?.[1]) && place.why.name === "logits" ? place.why.index[1] : tokens[0];

  function update() {
    const options = samplingOptions();
    const { scores, reasons } = options.do_sample ? applyFilters(logits, options) : onlyBest(logits);
    const after = softmax(scores);
    const largest = tokens.reduce((most, id) => Math.max(most, probs[id], after[id]), 0);
    const full = FULL_BARS.find((share) => share >= largest) ?? 1;
    scale.textContent = `0 to ${percent(full)}`;
    rows.forEach((row) => row.update(after[row.id], reasons[row.id], full));
    const [before, then] = [probs, after].map((p) => Math.max(0, 1 - tokens.reduce((sum, id) => sum + p[id], 0)));
    const left = scores.reduce((count, x) => count + (x > -Infinity), 0);
    const others = `${count(V - tokens.length, "more token")}, together ${percent(before)} → ${percent(then)}. `;
    fill(rest, V > tokens.length && others, `${left} of ${V} tokens stay.`);
    controls.show(reasons);
    python.set(pythonLines(app, position));
    draw.update({ scores, after, options, reasons, full });
  }
  const controls = samplingControls(V, update);
  update();

  const table = el("table", { class: "next-bars" },
    el("caption", { class: "sr-only" }, "the most probable next tokens, before and after the filters"),
    el("thead", {}, el("tr", {},
      el("th", { scope: "col" }, "token"), scale,
      el("th", { scope: "col", title: "softmax of the logits: what the model says" }, "model’s p"),
      el("th", { scope: "col", title: "the probability with which it is drawn, after the sliders" }, "drawn with p"),
      el("th", { scope: "col" }, "logit"), el("th", { scope: "col" }, el("span", { class: "sr-only" }, "add to the text")))),
    body,
    el("tfoot", {}, el("tr", {}, el("td"), rest)));
  return [
    controls.element,
    el("p", { class: "hint" }, "p is a probability. At the left, and as a frame: what the model says. At the right, and as " +
      "a full bar: with what probability the token is drawn, after the sliders."),
    el("div", { class: "wide" }, table),
    arithmetic(logits, probs, marked, texts[tokens.indexOf(marked)], position),
    draw.element,
    python.element,
  ];
}

/** Temperature 0, which generate calls do_sample=False: the best token stays, all others fall. */
function onlyBest(logits) {
  const best = greedy(logits);
  return {
    scores: logits.map((x, i) => (i === best ? x : -Infinity)),
    reasons: Array.from(logits, (_, i) => (i === best ? "" : "greedy")),
  };
}

function tokenRow(app, place, { id, text, logit, p, position }) {
  const name = placeName("logits", [position, id]);
  const follows = app.run.ids[position + 1] === id;
  const asked = place.why?.name === "logits" && place.why.index[0] === position && place.why.index[1] === id;
  const isLast = position === app.run.ids.length - 1;
  const before = el("span", { class: "before" });
  const now = el("span", { class: "now" });
  const chance = el("td", { class: "chance" });
  const add = isLast ? `add ${tokenText(text)} to the text` : `continue the text after position ${position} with ${tokenText(text)}`;
  const element = el("tr", { dataset: { token: id }, class: follows ? "follows" : null },
    el("th", { scope: "row", title: `token ${id}${follows ? "; it comes next in the text" : ""}` },
      token(text), follows && el("span", { class: "note" }, " in the text")),
    el("td", { class: "bars", "aria-hidden": "true" }, before, now),
    el("td", { dataset: { value: String(p) }, title: String(p) }, percent(p)),
    chance,
    el("td", {}, el("button", {
      id: `logit-${id}`, type: "button", class: `value${asked ? " marked" : ""}`, "aria-pressed": String(asked),
      title: `${name} = ${logit}: where does it come from?`,
      dataset: { name: "logits", index: `${position},${id}`, value: String(logit) },
      onclick: () => app.why("logits", [position, id]),
    }, number(logit))),
    el("td", {}, el("button", {
      id: `add-${id}`, type: "button", class: "plus", title: add, "aria-label": add, onclick: () => addTo(app, position, id),
    }, "+")));
  function update(after, reason, full) {
    const width = (share) => `${(100 * share) / full}%`;
    before.style.width = width(p);
    now.style.width = width(after);
    element.classList.toggle("fallen", Boolean(reason));
    chance.dataset.value = String(after);
    chance.title = reason ? "" : String(after);
    chance.textContent = reason ? `out: ${REASONS[reason]}` : percent(after);
  }
  return { id, element, update };
}

/** How the probability of one token follows from the logits. */
function arithmetic(logits, probs, id, text, position) {
  const best = logits[greedy(logits)];
  const sum = logits.reduce((total, x) => total + Math.exp(x - best), 0);
  return el("p", { class: "softmax" }, "p(", token(text), ") = ",
    el("code", {}, "exp(logit − largest) / sum = ",
      `exp(${number(logits[id])} − ${number(best)}) / ${number(sum)} = ${number(probs[id])}`),
    el("span", { class: "hint" },
      ` — the sum is over exp(logit − largest) of all ${logits.length} tokens at position ${position}.`));
}

/** Draw one token: the random number, where it falls among the probabilities, and the token. changed(): calls update. */
function drawing(app, { tokens, texts, position, rows, extra, changed }) {
  let last = null; // what update() was given
  let added = null; // the row of a token that is not among the most probable
  // Asking for a logit draws this view anew: what was drawn stays.
  const here = `${app.run.run} ${position}`;
  const drawn = () => settings.drawnAt === here;
  const seed = el("input", {
    id: "seed", type: "number", min: "0", step: "1", value: settings.seed, oninput: () => setSeed(Number(seed.value)),
  });
  const button = el("button", { id: "draw", type: "button", onclick: () => drawOne() }, "Draw one");
  const result = el("div", { class: "result", role: "status" });
  const line = el("div", { class: "line", "aria-hidden": "true" });

  function setSeed(value) {
    if (!Number.isSafeInteger(value) || value < 0) return;
    settings.seed = value;
    changed();
  }
  function drawOne() {
    if (drawn() && last.options.do_sample) seed.value = String(settings.seed + 1); // a second click is another draw
    settings.drawnAt = here;
    setSeed(Number(seed.value));
  }
  async function update(now) {
    const { scores, after, options } = last = now;
    const u = options.do_sample ? uniforms([settings.seed, 0], 1)[0] : null;
    const id = options.do_sample ? drawToken(scores, u) : greedy(scores);
    fill(line, slices(after, tokens, texts, drawn() ? id : null),
      drawn() && u !== null && el("span", { class: "mark", style: { left: `${100 * u}%` } }));
    rows.forEach((row) => row.element.classList.toggle("drawn", drawn() && row.id === id));
    added?.element.remove();
    added = null;
    if (!drawn()) {
      return fill(result, el("span", { class: "hint" }, "The line is all probabilities side by side, in the order of the " +
        "vocabulary; a random number falls on one of them."));
    }
    const [text] = await vocabularyTexts(app, [id]);
    if (last !== now) return null;
    if (!tokens.includes(id)) {
      added = extra(id, text);
      added.update(after[id], now.reasons[id], now.full);
      added.element.classList.add("drawn");
    }
    const draw = `Seed ${settings.seed} gives the random number ${number(u ?? 0)}, which falls on `;
    return fill(result, u === null ? "Greedy, nothing is random: " : draw,
      token(text), el("span", { class: "nowrap" }, ` (${percent(after[id])}). `),
      el("button", { id: "add-drawn", type: "button", onclick: () => addTo(app, position, id) }, "Add it"));
  }
  const element = el("div", { class: "draw" },
    el("div", { class: "bar" }, button, el("label", {}, "seed ", seed)), line, result);
  return { element, update };
}

/** The tokens with a bar as pieces of a line from 0 to 1, at their places in the order of the vocabulary. */
function slices(after, tokens, texts, drawn) {
  const order = tokens.map((id, i) => [id, texts[i]]).filter(([id]) => after[id] > 0.002).sort((a, b) => a[0] - b[0]);
  let sum = 0, next = 0;
  return order.map(([id, text]) => {
    while (next < id) sum += after[next++];
    return el("span", {
      class: `slice${id === drawn ? " drawn" : ""}`, title: `${tokenText(text)} ${percent(after[id])}`,
      style: { left: `${100 * sum}%`, width: `${100 * after[id]}%` },
    }, after[id] > 0.08 && token(text));
  });
}

/** Continue the text after a position with this token, and look at the new end. */
async function addTo(app, position, id) {
  const { ids, changes } = app.run;
  app.place = { ...app.place, token: undefined, why: undefined }; // the new run is drawn at its last position
  await attempt(app, () => app.newRun({ ids: [...ids.slice(0, position + 1), id], changes: withoutCopies(changes) }));
}

function count(n, word) {
  return `${n} ${word}${n === 1 ? "" : "s"}`;
}
