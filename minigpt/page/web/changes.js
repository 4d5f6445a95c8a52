// Changes of a run: switch something off, scale it, copy it from another text, set a number. A change is what the
// program takes as JSON: {kind: "zero" | "scale" | "copy" | "set", name, head, position, index, factor, value, run}.

import { attempt } from "./attempt.js";
import { el, number, place as placeName, tokenText } from "./dom.js";

/** The change that switches a head off, at all positions. */
export function headOff(layer, head) {
  return { kind: "zero", name: `h.${layer}.attn.heads`, head };
}

/** The change that switches the MLP of a block off. */
export function mlpOff(layer) {
  return { kind: "zero", name: `h.${layer}.mlp.out` };
}

/** Whether two changes are the same one; a field that is null counts as missing. */
function sameChange(a, b) {
  return asKey(a) === asKey(b);
}

function asKey(change) {
  const fields = Object.entries(change).filter(([, value]) => (value ?? null) !== null);
  return JSON.stringify(fields.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Whether the present run has this change. */
export function isChanged(app, change) {
  return app.run.changes.some((present) => sameChange(present, change));
}

/** Run the same text with these changes. */
export function runWith(app, changes) {
  return attempt(app, () => app.newRun({ ids: app.run.ids, changes }));
}

/** Make a change, or take it back if the present run has it. Of one number only the last value counts. */
export function toggleChange(app, change) {
  const { changes } = app.run;
  if (isChanged(app, change)) return runWith(app, changes.filter((present) => !sameChange(present, change)));
  return runWith(app, [...changes.filter((present) => !replaces(change, present)), change]);
}

/** Whether a change makes an earlier one pointless: the same numbers, set to something else. */
function replaces(change, present) {
  const target = ({ name, head, position, index }) => JSON.stringify([name, head ?? null, position ?? null, index ?? null]);
  return change.kind !== "scale" && target(change) === target(present);
}

/** Without the activations copied from another text: they fit one pair of texts only. */
export function withoutCopies(changes) {
  return changes.filter((change) => change.kind !== "copy");
}

/**
 * A button that makes a change, pressed while the run has it; null where the page cannot run the model.
 * changeButton(app, headOff(2, 0), "switch this head off")
 */
export function changeButton(app, change, label, attributes = {}) {
  if (!app.start.live) return null;
  return el("button", {
    type: "button", class: "change", "aria-pressed": String(isChanged(app, change)), title: inWords(app, change),
    dataset: { change: asKey(change) }, onclick: () => toggleChange(app, change), ...attributes,
  }, label);
}

/** A change in words: "switch off h.2.attn.heads, head 1, at token 3 ␣time". */
export function inWords(app, change) {
  const { kind, name, head, position, index, factor, value } = change;
  if (kind === "set") return `set ${placeName(name, index)} to ${number(value)}`;
  const part = `${name}${(head ?? null) === null ? "" : `, head ${head}`}`;
  const where = (position ?? null) === null ? "" : `, at token ${position} ${tokenText(app.run.tokens[position] ?? "")}`;
  if (kind === "zero") return `switch off ${part}${where}`;
  if (kind === "scale") return `multiply ${part}${where} by ${number(factor)}`;
  return `copy ${part}${where} from the second text`;
}

const bases = new Map(); // the runs without changes, by model and ids

/** The same run without changes: a promise of it. */
export function baseRun(app) {
  const { ids, changes, model } = app.run;
  const key = JSON.stringify([model, ids]);
  if (!changes.length) bases.set(key, Promise.resolve(app.run));
  if (!bases.has(key)) {
    const base = app.source.ask({ ask: "run", ids, changes: [], model });
    base.catch(() => bases.delete(key));
    bases.set(key, base);
  }
  if (bases.size > 20) bases.delete(bases.keys().next().value);
  return bases.get(key);
}
