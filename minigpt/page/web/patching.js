// Activation patching, as in minigpt/looking/patching.py: how much of the second text's answer do copied activations
// bring into this text?  effect = (difference now - difference without) / (difference of the second text - without),
// where difference = logit(answer) - logit(wrong): 0 is this text's own answer, 1 is the second text's.

import { isChanged, runWith, withoutCopies } from "./changes.js";
import { el, fill, number, token, tokenText } from "./dom.js";
import { heatmap } from "./heatmap.js";
import { askable, lastLogits, nextTokens } from "./outcome.js";
import { topIndices } from "./sampling.js";

/** The two answers that are weighed: the second text's and this one's likeliest, unless the place names others. */
export async function answersOf(app, place, base, other) {
  const { rows, logits: [own, second] } = await nextTokens(app, base, other);
  const known = (id) => rows.some((row) => row.id === id);
  const answer = known(place.answer) ? place.answer : topIndices(second, 1)[0];
  const ownBest = topIndices(own, Math.min(2, own.length));
  const wrong = known(place.wrong) ? place.wrong : ownBest.find((id) => id !== answer) ?? answer;
  return { rows, answer, wrong, without: own[answer] - own[wrong], second: second[answer] - second[wrong] };
}

/** From 0, this text's own answer, to 1, the second text's. */
function effectOf(difference, { without, second }) {
  return (difference - without) / (second - without);
}

/** Where the answer stands between the two texts, as a scale and in numbers. */
export async function movedAnswer(app, place, base, answers) {
  const { rows, answer, wrong, without, second } = answers;
  const logits = await lastLogits(app, app.run);
  const now = logits[answer] - logits[wrong];
  const T = app.run.ids.length;
  const choose = (id, label, chosen, key) => el("label", {}, `${label} `, el("select", {
    id, onchange: (event) => app.replace({ ...app.place, [key]: Number(event.target.value) }),
  }, rows.map((row) => el("option", { value: row.id, selected: row.id === chosen }, tokenText(row.text).slice(0, 24)))));
  const text = (id) => token(rows.find((row) => row.id === id)?.text ?? `id ${id}`);
  const choice = el("div", { class: "bar" },
    choose("patch-answer", "Answer", answer, "answer"), choose("patch-wrong", "against", wrong, "wrong"));
  if (answer === wrong) {
    return [choice, el("p", { class: "hint" }, "Choose two different tokens to weigh against each other.")];
  }
  const effect = effectOf(now, answers);
  const hasEffect = Number.isFinite(effect);
  // The scale reaches a quarter beyond both texts.
  const left = (position) => `${100 * Math.max(0, Math.min(1, (position + 0.25) / 1.5))}%`;
  const line = (label, difference, position, kind) => el("tr", {}, el("th", { scope: "row" }, label),
    el("td", { class: "number", dataset: { value: difference } }, number(difference)),
    el("td", { class: "effect" },
      el("span", { class: `dot ${kind}`, "aria-hidden": "true", style: { left: left(position) } })));
  const logitOf = (id) => [text(id), " ", askable(app, "logits", [T - 1, id], number(logits[id]), logits[id])];
  return [
    choice,
    el("table", { class: "numbers moved" },
      el("thead", {}, el("tr", {}, el("td", {}), el("th", { scope: "col" }, "logit difference"),
        el("th", { scope: "col" }, el("span", { class: "sr-only" }, "on a scale from this text to the second")))),
      el("tbody", {},
        line("second text", second, 1, "end"),
        line("this text, now", now, hasEffect ? effect : 0, "now"),
        line("without changes", without, 0, "end"))),
    el("p", { id: "patch-effect", dataset: { value: effect } },
      "now: ", logitOf(answer), " − ", logitOf(wrong), ` = ${number(now)}. `,
      !hasEffect ? "Both texts have the same difference: there is nothing to restore."
        : el("strong", {}, !app.run.changes.length ? "Nothing is copied yet: 0 % of the way."
          : `The changes go ${Math.round(100 * effect)} % of the way to the second text's answer.`)),
  ];
}

const maps = new Map(); // {effects, done, isFinished, show} by the two runs, the activation and the answers
let turn = 0; // a map that is being made stops as soon as another begins

/** The effect of every block and position: as many runs of the model, made when the button is pressed. */
export function patchingMap(app, place, base, name, answers) {
  const part = /^h\.\d+\.(.*)$/.exec(name)?.[1] ?? "resid";
  const { n_layer: L } = app.config;
  const T = base.ids.length;
  const { other } = app;
  const key = JSON.stringify([base.run, other.run, part, answers.answer, answers.wrong]);
  // Before the first token that differs the runs are the same, and a copy changes nothing: the effect is 0.
  const first = base.ids.findIndex((id, t) => id !== other.ids[t]);
  const count = first < 0 ? 0 : L * (T - first);
  const body = el("div", { class: "patching-map" });
  const copyOf = (row, position) => ({ kind: "copy", name: `h.${L - 1 - row}.${part}`, position, run: other.run });

  const picture = (effects) => [
    el("p", { class: "legend" }, "Blue: towards the second text's answer, full colour is all the way or more; red: away ",
      "from it. A click makes the change."),
    heatmap({
      values: effects, rows: L, columns: T, largest: 1, cellHeight: 22,
      cellWidth: Math.max(6, Math.min(40, Math.floor((document.getElementById("view").clientWidth - 150) / T))),
      rowLabels: Array.from({ length: L }, (_, row) => `h.${L - 1 - row}.${part}`),
      columnLabels: app.run.tokens.map((text, t) => (base.ids[t] === other.ids[t] ? text : `${text}/${other.tokens[t]}`)),
      label: `effect of ${part}`,
      describe: (row, t) => `h.${L - 1 - row}.${part}, token ${t} ${tokenText(app.run.tokens[t])}: effect`,
      onpick: async (row, t) => {
        await pick(app, copyOf(row, t));
        app.once("shown", () => document.getElementById("patch-effect")?.scrollIntoView({ block: "center" }));
      },
    })];
  const show = () => {
    const map = maps.get(key);
    if (map?.isFinished) fill(body, picture(map.effects));
    else if (map) fill(body, el("p", {}, "Measuring … ", el("progress", { max: count, value: map.done, "aria-label": "runs" })));
    else {
      const disabled = !count || answers.second === answers.without;
      fill(body, el("button", { id: "patch-all", disabled, onclick: start }, `Try every block and token: ${count} runs`));
    }
  };
  const start = async () => {
    if (maps.size > 20) maps.clear();
    const map = { effects: new Float32Array(L * T), done: 0, isFinished: false, show };
    maps.set(key, map);
    show();
    try {
      await measure(map);
      map.isFinished = true;
      app.say(`${count} runs measured`);
    } catch (error) {
      maps.delete(key);
      app.say(error.message, true);
    }
    map.show();
  };
  const measure = async (map) => {
    const mine = ++turn;
    for (let row = 0; row < L; row++) {
      for (let t = first; t < T; t++) {
        const run = await app.source.ask({ ask: "run", ids: base.ids, changes: [copyOf(row, t)], model: base.model });
        const of = [answers.answer, answers.wrong].map((id) => ["logits", [T - 1, id]]);
        const { arrays: [answer, wrong] } = await app.source.ask({ ask: "numbers", run: run.run, of });
        // The run that is shown may be one of these; the others are done with.
        if (run.run !== app.run.run) app.source.ask({ ask: "forget", run: run.run }).catch(() => {});
        if (mine !== turn || app.place.view !== "compare") throw new Error("the measurement was stopped");
        map.effects[row * T + t] = effectOf(answer.data[0] - wrong.data[0], answers);
        map.done++;
        map.show();
      }
    }
  };
  // The view may have been drawn anew while the map is being made: it goes on in the new one.
  if (maps.has(key)) maps.get(key).show = show;
  show();
  return [
    el("h3", {}, "Where is the difference kept?"),
    el("p", {}, "For every block and every token: copy ", el("code", {}, part), " there, and nowhere else, and see how far ",
      "the answer moves."),
    body,
  ];
}

/** Make this copy the only one, or take it back. */
function pick(app, change) {
  const kept = withoutCopies(app.run.changes);
  return runWith(app, isChanged(app, change) ? kept : [...kept, change]);
}
