// Where a number comes from, as a panel: the sum that made it, largest term first. Every term that was computed in this
// pass is asked in turn by a click, until the way ends at numbers that were learnt.

import { el, fill, number, place as placeText, token } from "./dom.js";
import { why } from "./why.js";
import { bar, signed } from "./why_bar.js";
import { labelOf } from "./why_numbers.js";
import { renderTokens } from "./why_tokens.js";
import { sentence } from "./why_words.js";

const SHOWN = 12; // terms at first
const MORE = 200; // terms that one click adds

const answered = new WeakMap(); // run -> Map(place -> [answer, sentence]): Back and crumbs show them at once
let height = 320; // of the last panel, so that what is below does not jump while the next one is computed

/** The panel for one number: an element at once, filled as soon as the numbers are there. */
export function renderWhy(app, name, index) {
  const panel = el("section", {
    class: "why", "aria-label": `Where ${placeText(name, index)} comes from`, "aria-busy": "true",
    dataset: { name, index: index.join(",") }, style: { minHeight: `${height}px` },
  });
  const title = el("h2", { id: "why-title", tabindex: "-1" }, el("code", {}, placeText(name, index)));
  const value = el("output", { class: "why-value" }, "…");
  const body = el("div", { class: "why-body" });
  // Of a logit, the words that it came from are the first answer.
  const words = name === "logits" && renderTokens(app, ...index, ask);
  panel.append(...[trail(app, name, index), words, el("div", { class: "why-number" }, title, value), body].filter(Boolean));

  const show = ([answer, words]) => {
    fill(value, `= ${number(answer.value)}`);
    value.dataset.value = String(answer.value);
    fill(body, contents(app, answer, words));
    panel.setAttribute("aria-busy", "false");
    panel.style.minHeight = "";
    requestAnimationFrame(() => { if (panel.isConnected) height = panel.offsetHeight; });
  };
  const known = answersOf(app.run), key = placeText(name, index);
  if (known.has(key)) show(known.get(key));
  else {
    Promise.all([why(app, name, index), sentence(app, name, index)]).then((answer) => {
      known.set(key, answer);
      show(answer); // if the reader is elsewhere by now, this panel is no longer on the page
    }).catch((error) => {
      fill(body, el("p", { class: "bad" }, error.message));
      panel.setAttribute("aria-busy", "false");
    });
  }
  return panel;
}

function answersOf(run) {
  if (!answered.has(run)) answered.set(run, new Map());
  return answered.get(run);
}

function contents(app, answer, words) {
  const { terms } = answer;
  const largest = terms.find((term) => asked(term));
  const positions = new Set(terms.map((term) => term.position).filter((position) => position !== null));
  const rows = el("ol", { class: "terms", "aria-label": "terms, the largest first" });
  const rest = el("div", { class: "rest" });
  const scale = Math.max(...terms.map((term) => Math.abs(term.value)).filter(Number.isFinite), 0) || 1;
  let count = 0;
  const more = (n) => {
    rows.append(...terms.slice(count, count + n).map((term) => row(app, answer, term, scale, positions.size > 1)));
    count = Math.min(terms.length, count + n);
    const hidden = terms.slice(count);
    const next = Math.min(hidden.length, MORE);
    fill(rest, hidden.length > 0 && [
      el("span", { class: "value" }, signed(hidden.reduce((sum, term) => sum + term.value, 0))),
      bar(hidden.reduce((sum, term) => sum + term.value, 0) / scale),
      el("span", {}, `${hidden.length} more, together`),
      el("button", { id: "why-more", onclick: () => more(MORE) },
        next === hidden.length ? `show all ${terms.length}` : `show ${next} more`),
    ]);
  };
  more(SHOWN);
  const total = terms.reduce((sum, term) => sum + term.value, 0);
  return [
    el("p", { class: "say" }, words),
    answer.note && el("p", { class: "note", role: "note" }, answer.note),
    el("p", { class: "formula" }, answer.formula),
    answer.numbers && el("pre", { class: "in-numbers" }, answer.numbers.replaceAll(" * ", " × ")),
    terms.length > 0 && [
      el("div", { class: "terms-head" },
        el("h3", {}, terms.length === 1 ? "Made of" : `Sum of ${terms.length} terms`),
        largest && el("button", {
          id: "why-follow", title: `ask where ${placeText(asked(largest).name, asked(largest).index)} comes from`,
          onclick: () => ask(app, asked(largest)),
        }, "Follow the largest")),
      rows, rest,
      terms.length > 1 && el("p", { class: "total" }, el("span", { class: "value" }, `= ${number(total)}`), " all terms together"),
      !largest && el("p", { class: "end" },
        "Here the way ends. These numbers were not computed from the text: they were learnt in training."),
    ],
    also(app, answer),
  ];
}

/** The factor of a term that a click asks: the last one that was computed. */
function asked(term) {
  return term.factors.findLast((factor) => factor.kind === "activation");
}

/** One term. If all terms stand at the same token, it says nothing new, and the factors' values have its place. */
function row(app, answer, term, scale, tokensDiffer) {
  const target = asked(term);
  const prefix = /^h\.\d+\./.exec(answer.name)?.[0] ?? "";
  const isStream = /^(resid|resid_mid)$/.test(answer.name.slice(prefix.length));
  const factors = term.factors.map((factor, i) => {
    const label = labelOf(factor, isStream ? "" : prefix);
    const title = `${factor.kind === "parameter" ? "learnt: " : ""}${number(factor.value)}`;
    const text = isGate(factor) ? el("span", { title }, `the share that ${app.config.activation_function} lets pass`)
      : el("code", { title }, label);
    const shown = factor.kind !== "activation" ? text
      : el("button", {
        class: `factor${factor === target ? " main" : ""}`, title: `${number(factor.value)}: ask where it comes from`,
        "aria-label": `${label}, ${number(factor.value)}: ask where it comes from`,
        onclick: (event) => { event.stopPropagation(); ask(app, factor); },
      }, el("code", {}, label));
    return i ? [" × ", shown] : shown;
  });
  const isWeight = term.label.startsWith("exp(");
  const values = term.factors.length > 1 && !isWeight
    && el("span", { class: "values" }, term.factors.map((factor) => bracketed(factor.value)).join(" × "));
  const isShort = term.factors.length < 3;
  const showToken = term.token !== null && (tokensDiffer || isWeight || term.factors[0]?.name === "wte.weight");
  return el("li", {
    class: target ? "term askable" : "term", dataset: { value: String(term.value) },
    onclick: target && (() => ask(app, target)),
  },
  el("span", { class: "value" }, signed(term.value)), bar(term.value / scale),
  el("span", { class: "at" },
    showToken ? token(term.token) : isShort && values,
    !target && term.factors.length > 0 && el("em", {}, " learnt")),
  el("span", { class: "what" },
    el("span", {}, isWeight ? ["exp(", factors[0], " − max) / sum"] : factors.length ? factors : term.label),
    (showToken || !isShort) && values));
}

/** The activation function as a factor: "(gelu_new(x) / x)" in Python. */
function isGate({ kind, name }) {
  return kind === "constant" && name.endsWith("(x) / x)");
}

function bracketed(x) {
  return x < 0 ? `(${number(x)})` : number(x);
}

/** The numbers that this one depends on without adding them. */
function also(app, { also: factors, name }) {
  if (!factors.length) return null;
  const constants = factors.filter((factor) => factor.kind === "constant");
  const numbers = factors.filter((factor) => factor.kind === "activation");
  numbers.sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
  const prefix = /^h\.\d+\./.exec(name)?.[0] ?? "";
  const isScore = (factor) => /scores$/.test(factor.name);
  const list = (shown) => shown.map((factor) => el("li", {},
    el("button", { class: "factor main", onclick: () => ask(app, factor) }, el("code", {}, labelOf(factor, prefix))),
    ` ${number(factor.value)} `, isScore(factor) && token(app.run.tokens[factor.index[2]])));
  const words = constants.map((c) => `${c.name} ${number(c.value)}`).join(", ");
  const items = el("ul", {}, list(numbers.slice(0, SHOWN)));
  return el("details", { class: "also" },
    el("summary", {}, "It also depends on ",
      words ? `${words}, of ${numbers.length} numbers` : `${numbers.length} other number${numbers.length === 1 ? "" : "s"}`),
    items,
    numbers.length > SHOWN && el("button", {
      onclick: (event) => { items.append(...list(numbers.slice(SHOWN))); event.target.remove(); },
    }, `show all ${numbers.length}`));
}

/** Ask where a factor comes from: the view shows its activation, and the trail grows by the number asked before. */
function ask(app, { name, index }) {
  const { why: before, ...place } = app.place;
  const trail = [...(before?.trail ?? []), { ...place, why: { name: before.name, index: before.index } }];
  app.asked = { name, index };
  focusAfter();
  app.go({ ...viewFor(name, index), why: { name, index, trail } });
  app.sayAsked();
}

/** Whoever goes on by the keyboard finds the focus at the same button, or else at the title of the next number. */
function focusAfter() {
  const { id } = document.activeElement ?? {};
  if (!document.activeElement?.closest?.(".why")) return;
  const same = () => document.getElementById(id) ?? document.getElementById("why-title");
  setTimeout(() => same()?.focus({ preventScroll: true }), 150);
}

/** The view that shows an activation; the number asked is marked in it. */
function viewFor(name, index) {
  const layer = /^h\.(\d+)\./.exec(name)?.[1];
  const place = { view: "activation", name, token: index.length === 3 ? index[1] : index[0] };
  if (layer !== undefined) place.layer = Number(layer);
  if (index.length === 3) place.head = index[0];
  if (/attn\.(scores|weights)$/.test(name)) Object.assign(place, { view: "attention", key: index[2] });
  return place;
}

/** The numbers asked on the way here; each goes back to its number and its view. */
function trail(app, name, index) {
  const before = app.place.why?.trail ?? [];
  if (!before.length) return null;
  const crumb = (place, i) => el("li", {}, el("button", {
    class: "crumb", onclick: () => app.go({ ...place, why: { ...place.why, trail: before.slice(0, i) } }),
  }, el("code", {}, placeText(place.why.name, place.why.index))));
  const list = el("ol", {}, before.map(crumb), el("li", { "aria-current": "step" }, el("code", {}, placeText(name, index))));
  requestAnimationFrame(() => { list.scrollTop = list.scrollHeight; });
  return el("nav", { class: "trail", "aria-label": "The numbers asked so far" }, list);
}
