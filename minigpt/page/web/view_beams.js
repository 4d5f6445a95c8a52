// A beam search as a tree: every text that was considered, which ones went on, and which one won.

import { attempt } from "./attempt.js";
import { beamLayout } from "./beam_layout.js";
import { el, fill, number, token, tokenText } from "./dom.js";

const MAX_BEAMS = 8, MAX_STEPS = 20; // as in minigpt/page/analyses.py
const PATIENCE = 150; // milliseconds after which the page says that the model is at work
const ROW = 2, COLUMN = 9.2, NODE = 7.3, ROOT = 6; // rem: heights and widths of the picture
const STATES = { kept: "goes on", finished: "finished", dropped: "dropped" };

const settings = { num_beams: 3, steps: 5 };
const answers = new WeakMap(); // by run, then by settings

export const view = {
  id: "beams",
  title: "Beams",
  async render(app) {
    const result = el("div", { class: "beams-result" });
    const element = el("section", { class: "beams" },
      el("h2", {}, "Which text is the most probable?"),
      el("p", {}, "Taking the best token at every step need not give the best text. Beam search goes on with a few texts " +
        "at a time, the beams: each is continued by its best tokens, and the texts with the highest scores stay. The " +
        "score is the sum of the logarithms of the probabilities."),
      app.start.live && controls(app, () => search(app, result)),
      result);
    await search(app, result);
    return element;
  },
};

function controls(app, change) {
  const field = (name, label, low, high) => {
    const input = el("input", {
      id: name, type: "number", min: low, max: high, step: 1, value: settings[name],
      onchange: () => {
        const value = Math.round(Number(input.value));
        settings[name] = Number.isFinite(value) ? Math.max(low, Math.min(high, value)) : settings[name];
        input.value = String(settings[name]);
        change();
      },
    });
    return el("label", {}, `${label} `, input);
  };
  return el("div", { class: "bar" }, field("num_beams", "beams", 2, MAX_BEAMS), field("steps", "steps", 1, MAX_STEPS));
}

/** Search, and draw what was found. Returns when it is drawn, or when the model takes its time and will be drawn later. */
async function search(app, result) {
  const { num_beams, steps } = app.start.live ? settings : app.source.beamOptions;
  result.dataset.search = `${num_beams} ${steps}`;
  const obstacle = whyNot(app, steps);
  if (obstacle) return fill(result, el("p", { id: "no-beams" }, obstacle));
  const answer = askOnce(app, num_beams, steps);
  const current = () => result.dataset.search === `${num_beams} ${steps}`;
  const draw = answer.then(
    (tree) => current() && fill(result, picture(app, tree)),
    (error) => current() && fill(result, el("p", { class: "bad" }, error.message)));
  const waiting = new Promise((resolve) => setTimeout(resolve, PATIENCE, "waiting"));
  if ((await Promise.race([draw, waiting])) === "waiting" && !result.children.length) {
    fill(result, el("p", { role: "status" }, "The model searches …"));
  }
}

/** Why this run cannot be searched on, in a sentence; null if it can. */
function whyNot(app, steps) {
  if (app.run.changes.length) return "A beam search runs the model as it is: undo the changes, and it is made.";
  const room = app.config.n_positions - app.run.ids.length;
  if (steps <= room) return null;
  return `The model has ${app.config.n_positions} positions, of which the text takes ${app.run.ids.length}: `
    + (room ? `there is room for ${room} ${room === 1 ? "step" : "steps"}.` : "there is no room for another token.");
}

function askOnce(app, num_beams, steps) {
  const { run } = app;
  if (!answers.has(run)) answers.set(run, new Map());
  const kept = answers.get(run), key = `${num_beams} ${steps}`;
  if (!kept.has(key)) {
    const answer = app.source.ask({ ask: "beams", run: run.run, num_beams, steps });
    kept.set(key, answer);
    answer.catch(() => kept.delete(key));
  }
  return kept.get(key);
}

function picture(app, tree) {
  const { nodes } = tree;
  const best = new Set(tree.best);
  const { heights, rows, steps } = beamLayout(nodes);
  const x = (step) => (step ? ROOT + (step - 1) * COLUMN + COLUMN - NODE : 0);
  const y = (index) => ((rows - 1) / 2 - heights.get(index)) * ROW; // the best of a column stands highest
  const details = el("div", { class: "beam-details", role: "status" }, hint(app));
  const show = (index) => fill(details, describe(app, tree, index));

  const unit = (length) => length * 16; // the lines are drawn in pixels of a text size of 16; the picture is scaled to rem
  const lines = nodes.map((node, index) => {
    const from = node.parent === null ? ROOT - 1 : x(node.step - 1) + NODE, to = x(node.step);
    const [y1, y2] = [y(node.parent), y(index)].map((top) => unit(top + ROW / 2));
    const bend = unit((to - from) / 2);
    return el("path", {
      class: best.has(index) ? "best" : node.state,
      d: `M ${unit(from)} ${y1} C ${unit(from) + bend} ${y1}, ${unit(to) - bend} ${y2}, ${unit(to)} ${y2}`,
    });
  });
  const [width, height] = [x(steps) + NODE + 0.3, rows * ROW];
  const buttons = nodes.map((node, index) => el("button", {
    id: `beam-${index}`, type: "button", class: `beam ${node.state}${best.has(index) ? " best" : ""}`,
    tabindex: index === tree.best.at(-1) ? "0" : "-1",
    style: { left: `${x(node.step)}rem`, top: `${y(index) + 0.15}rem`, width: `${NODE}rem`, height: `${ROW - 0.3}rem` },
    dataset: { node: index, value: String(node.score), p: String(Math.exp(node.logprob)) },
    "aria-label": label(node, best.has(index)),
    onpointerenter: () => show(index), onfocus: () => show(index), onclick: () => take(app, node),
  }, token(node.token), el("span", { class: "p" }, shortProbability(Math.exp(node.logprob)))));
  const root = el("span", {
    class: "root", title: tokenText(app.run.text), style: { top: `${y(null)}rem`, width: `${ROOT - 1.1}rem`, height: `${ROW}rem` },
  }, app.run.tokens.length > 1 && "… ", token(app.run.tokens.at(-1)));
  const names = Array.from({ length: steps }, (_, i) => el("span", {
    class: "step", "aria-hidden": "true", style: { left: `${x(i + 1)}rem`, top: `${height}rem`, width: `${NODE}rem` },
  }, `step ${i + 1}`));
  return [
    el("p", { class: "legend beam-legend" },
      el("span", { class: "beam best" }, "the result"), el("span", { class: "beam kept" }, "goes on"),
      el("span", { class: "beam finished" }, "finished"), el("span", { class: "beam dropped" }, "dropped"),
      el("span", {}, "The number is p(token).")),
    details,
    el("div", { class: "tree-frame" },
      el("div", {
        class: "tree", role: "group", "aria-label": "beam search; arrow keys go through the tree",
        style: { width: `${width}rem`, height: `${height + 1.6}rem` }, onkeydown: (event) => keys(event, nodes, heights),
      },
      el("svg", {
        viewBox: `0 0 ${unit(width)} ${unit(height)}`, style: { width: `${width}rem`, height: `${height}rem` }, "aria-hidden": "true",
      }, lines),
      root, buttons, names)),
    el("p", {}, "The result: ", el("strong", {}, token(tree.text)), ` with the score ${number(nodes[tree.best.at(-1)].score)}, `,
      `${number(nodes[tree.best.at(-1)].score / tree.best.length)} for each token.`),
    el("details", {}, el("summary", {}, "The tree as a list"), list(app, tree, null, best)),
  ];
}

function shortProbability(p) {
  return p >= 0.005 ? p.toFixed(2) : "< .01";
}

function hint(app) {
  return `Point at a token for its whole text and score${app.start.live ? "; a click makes it the text of the page" : ""}.`;
}

function textOf(app, node, nodes) {
  const parts = [];
  for (let at = node; at; at = at.parent === null ? null : nodes[at.parent]) parts.unshift(token(at.token));
  return parts;
}

function describe(app, tree, index) {
  const node = tree.nodes[index];
  return [
    el("div", { class: "text" }, "… ", token(app.run.tokens.at(-1)), el("strong", {}, textOf(app, node, tree.nodes))),
    el("div", {}, `score ${number(node.score)}: the log p of ${node.step} new ${node.step === 1 ? "token" : "tokens"} added up, `,
      `the last log ${number(Math.exp(node.logprob))} = ${number(node.logprob)}; `,
      `${number(node.score / node.step)} for each token; ${STATES[node.state]}`),
  ];
}

function label(node, isBest) {
  const numbers = `probability ${number(Math.exp(node.logprob))}, score ${number(node.score)}`;
  return `step ${node.step}: ${tokenText(node.token)}, ${numbers}, ${node.state}${isBest ? ", in the result" : ""}`;
}

async function take(app, node) {
  if (!app.start.live) return app.say("a saved page holds one text; `minigpt step --open` goes on from here");
  const { ids } = app.run;
  app.place = { ...app.place, token: undefined, why: undefined };
  return attempt(app, () => app.newRun({ ids: [...ids, ...node.ids], changes: app.run.changes }));
}

/** Up and down stay in a step; left goes to the token before, right to the best token after. */
function keys(event, nodes, heights) {
  const index = Number(event.target.dataset.node);
  if (Number.isNaN(index)) return;
  const downwards = (test) => nodes.map((_, i) => i).filter((i) => test(nodes[i])).sort((a, b) => heights.get(b) - heights.get(a));
  const column = downwards((node) => node.step === nodes[index].step);
  const at = column.indexOf(index);
  const children = downwards((node) => node.parent === index);
  const moves = { ArrowUp: column[at - 1], ArrowDown: column[at + 1], ArrowLeft: nodes[index].parent, ArrowRight: children[0] };
  if (!(event.key in moves)) return;
  event.preventDefault();
  event.stopPropagation();
  document.getElementById(`beam-${moves[event.key] ?? index}`)?.focus();
}

function list(app, tree, parent, best) {
  const children = tree.nodes.map((_, index) => index).filter((index) => tree.nodes[index].parent === parent);
  return children.length > 0 && el("ol", {}, children.map((index) => {
    const node = tree.nodes[index];
    return el("li", { class: best.has(index) ? "best" : null }, token(node.token),
      ` p = ${number(Math.exp(node.logprob))}, score ${number(node.score)}, ${node.state}${best.has(index) ? ", in the result" : ""}`,
      list(app, tree, index, best));
  }));
}
