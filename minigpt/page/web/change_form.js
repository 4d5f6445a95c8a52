// The form for any change: which activation, which head, which token, and what becomes of it.

import { toggleChange } from "./changes.js";
import { el, fill, number, place as placeName, tokenText } from "./dom.js";

const KINDS = [
  ["zero", "switch off"], ["scale", "multiply"], ["copy", "copy from the second text"], ["set", "set one number"],
];

// What the reader has chosen so far; it outlives the drawing of the view.
const draft = { kind: "scale", name: null, head: null, position: null, factor: 2, index: "", value: 0, from: "" };

/** The form as an element. A number that was clicked is filled in. */
export function changeForm(app, place) {
  const asked = place.why ?? app.asked;
  const from = JSON.stringify(asked);
  if (asked && draft.from !== from) {
    const hasHeads = asked.index.length === 3;
    Object.assign(draft, {
      from, name: asked.name, kind: place.why ? "set" : draft.kind, index: asked.index.join(", "), value: 0,
      head: hasHeads ? asked.index[0] : null, position: asked.index[hasHeads ? 1 : 0],
    });
  }
  if (!app.step(draft.name)) {
    Object.assign(draft, { name: `h.${app.config.n_layer - 1}.mlp.out`, head: null, position: null, index: "0, 0" });
  }
  if (draft.position >= app.run.ids.length) draft.position = null;
  if (draft.head >= app.config.n_head) draft.head = null;

  const details = el("div", { class: "fields" });
  const redraw = () => fill(details, fieldsOf(app, redraw));
  const kinds = el("fieldset", {}, el("legend", {}, "What to do"), KINDS.map(([kind, words]) => el("label", {},
    el("input", {
      type: "radio", name: "change-kind", id: `change-${kind}`, value: kind, checked: draft.kind === kind,
      onchange: () => {
        draft.kind = kind;
        redraw();
      },
    }), " ", words)));
  const name = el("label", {}, "Activation ", activationSelect(app, "change-name", draft.name, (value) => {
    draft.name = value;
    draft.index = app.step(value).shape.map(() => 0).join(", ");
    redraw();
  }));
  redraw();
  return el("form", {
    class: "change-form", onsubmit: (event) => {
      event.preventDefault();
      const change = changeOf(app);
      if (change) toggleChange(app, change);
    },
  }, kinds, el("div", { class: "fields" }, name), details);
}

/** A select with all activations of the run, by block. */
export function activationSelect(app, id, chosen, onchange) {
  const option = ({ name }) => el("option", { value: name, selected: name === chosen }, name);
  const inBlock = (layer) => app.steps.filter(({ name }) => name.startsWith(`h.${layer}.`)).map(option);
  const others = app.steps.filter(({ name }) => !name.startsWith("h."));
  return el("select", { id, onchange: (event) => onchange(event.target.value) },
    others.slice(0, 1).map(option),
    Array.from({ length: app.config.n_layer }, (_, layer) => el("optgroup", { label: `block ${layer}` }, inBlock(layer))),
    others.slice(1).map(option));
}

/** A select with the tokens of the run, and "all tokens" first if that is asked for. */
export function tokenSelect(app, id, chosen, onchange, all = true) {
  const names = app.run.tokens.map((text, t) => `${t} ${tokenText(text).slice(0, 24)}`);
  return numberSelect(id, names, all && "all tokens", chosen, onchange);
}

/** A select with the heads, and "all heads" first if that is asked for. */
export function headSelect(app, id, chosen, onchange, all = true) {
  const names = Array.from({ length: app.config.n_head }, (_, head) => `head ${head}`);
  return numberSelect(id, names, all && "all heads", chosen, onchange);
}

/** A select whose options are numbered from 0; before them one for null, if it has a name. */
function numberSelect(id, names, nameOfAll, chosen, onchange) {
  const change = (event) => onchange(event.target.value === "" ? null : Number(event.target.value));
  return el("select", { id, onchange: change },
    nameOfAll && el("option", { value: "", selected: chosen === null }, nameOfAll),
    names.map((name, i) => el("option", { value: i, selected: chosen === i }, name)));
}

/** A field for a number of the draft. */
function numberField(id, key) {
  return el("input", {
    id, type: "number", step: "any", required: true, value: draft[key],
    oninput: (event) => { draft[key] = event.target.valueAsNumber; },
  });
}

/** The fields that depend on what is chosen. */
function fieldsOf(app, redraw) {
  const step = app.step(draft.name);
  if (draft.kind === "set") return setFields(app, step);
  if (draft.kind === "copy" && !canCopy(app)) return copyHint(app);
  return [
    step.shape.length === 3 &&
      el("label", {}, "Head ", headSelect(app, "change-head", draft.head, (head) => { draft.head = head; })),
    el("label", {}, "Token ", tokenSelect(app, "change-token", draft.position, (t) => { draft.position = t; })),
    draft.kind === "scale" && el("label", {}, "Factor ", numberField("change-factor", "factor")),
    el("button", { id: "change-do" }, "Change"),
  ];
}

function setFields(app, step) {
  const now = el("span", { class: "hint", id: "change-now" });
  const tell = async () => {
    const index = indexOf(step);
    if (!index) return fill(now, `${step.shape.length} whole numbers, below ${step.shape.join(", ")}`);
    const value = await app.one(step.name, index);
    return fill(now, `${placeName(step.name, index)} is ${number(value)}`);
  };
  tell().catch((error) => fill(now, error.message));
  return [
    el("label", {}, `Index [${step.shape.length === 3 ? "head, " : ""}token, number] `,
      el("input", {
        id: "change-index", type: "text", size: "9", value: draft.index, "aria-describedby": "change-now",
        oninput: (event) => { draft.index = event.target.value; tell().catch((error) => fill(now, error.message)); },
      })),
    el("label", {}, "New value ", numberField("change-value", "value")),
    el("button", { id: "change-do" }, "Change"), now,
  ];
}

/** The index that is typed in, or null if it is none of this activation. */
function indexOf(step) {
  const index = draft.index.split(",").map((part) => (part.trim() === "" ? NaN : Number(part)));
  const isWithin = (i, axis) => Number.isInteger(i) && i >= 0 && i < step.shape[axis];
  return index.length === step.shape.length && index.every(isWithin) ? index : null;
}

function canCopy(app) {
  return app.other?.ids.length === app.run.ids.length;
}

function copyHint(app) {
  return [
    el("p", {}, app.other
      ? `The second text has ${app.other.ids.length} tokens, this one ${app.run.ids.length}: copying needs equally many.`
      : "There is no second text yet to copy from."),
    el("button", { type: "button", onclick: () => app.go({ view: "compare", name: draft.name }) },
      app.other ? "Change the second text" : "Enter a second text"),
  ];
}

/** The change that the form describes, or null with a word in the status line. */
function changeOf(app) {
  const { kind, name } = draft;
  const step = app.step(name);
  if (kind === "set") {
    const index = indexOf(step);
    if (!index) app.say(`${name} has the shape [${step.shape.join(", ")}]: there is no [${draft.index}]`, true);
    return index && { kind, name, index, value: draft.value };
  }
  if (kind === "copy" && !canCopy(app)) return null;
  const head = step.shape.length === 3 ? draft.head : null;
  const change = { kind, name, head, position: draft.position };
  if (kind === "scale") change.factor = draft.factor;
  if (kind === "copy") change.run = app.other.run;
  return change;
}
