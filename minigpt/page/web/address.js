// Where the reader is, as the part of the page's address behind #: a link, a reload, and the browser's Back and Forward
// lead there. It looks like view=attention&layer=2&why=h.2.attn.scores-1-5-3&text=Once+upon+a+time. An address comes
// from anyone, so nothing in it is taken that is not expected.

import { STOPS } from "./tour_stops.js";
import { VIEWS, viewOf } from "./views.js";

const NUMBERS = ["layer", "head", "token", "key", "entry", "pushed", "against", "answer", "wrong"];
const WORDS = ["name", "norm", "stage"];
const KEYS = ["view", ...NUMBERS, ...WORDS, "why", "from", "text", "ids", "model", "changes", "second", "stop"];
const MAX_TRAIL = 100; // numbers that were asked on the way

/** The address of what the page shows: the place, the run, the second text, and the stop of the tour, counted from 1. */
export function addressOf({ place, run, other, start, stop }) {
  const { text, ids, model, changes } = questionOf(run);
  const fields = fieldsOf(place);
  for (const { why, ...before } of place.why?.trail ?? []) {
    fields.append("from", fieldsOf({ ...before, why: { name: why.name, index: why.index } }).toString());
  }
  if (text === undefined) fields.set("ids", ids.join("-"));
  else fields.set("text", text);
  if (model !== start.model) fields.set("model", model);
  if (changes.length) fields.set("changes", JSON.stringify(changes));
  if (other) fields.set("second", other.text);
  if (stop !== null) fields.set("stop", stop + 1);
  return fields.toString();
}

/** The question whose answer is a run; by its text, if the tokenizer makes the run's ids of it. */
export function questionOf({ text, ids, encodes, model, changes }) {
  return { ...(encodes ? { text } : { ids }), model, changes };
}

/** What an address says: {place, question, second, stop}; second and stop are null if it has none. An Error says what is wrong. */
export function readAddress(address, start) {
  const fields = new URLSearchParams(address);
  const unknown = [...fields.keys()].find((key) => !KEYS.includes(key));
  if (unknown !== undefined) throw new Error(`it has a part that is called “${unknown.slice(0, 20)}”`);
  const place = address ? readPlace(fields) : { view: VIEWS[0].id };
  const trail = fields.getAll("from");
  if (trail.length > MAX_TRAIL) throw new Error(`it has more than ${MAX_TRAIL} numbers on the way`);
  if (trail.length && place.why) place.why.trail = trail.map((text) => readPlace(new URLSearchParams(text)));
  if (place.why?.trail?.some(({ why }) => !why)) throw new Error("a number on the way is missing");
  const model = fields.get("model") ?? start.model;
  if (![start.model, ...start.models].includes(model)) throw new Error("it names a model that is not here");
  const asked = fields.has("ids") ? { ids: integers(fields.get("ids").split("-"), "ids") }
    : { text: fields.get("text") ?? start.text };
  const question = { ...asked, model, changes: readChanges(fields.get("changes")) };
  return { place, question, second: fields.get("second"), stop: readStop(fields.get("stop")) };
}

function fieldsOf(place) {
  const fields = new URLSearchParams({ view: viewOf(place).id });
  for (const key of [...NUMBERS, ...WORDS]) {
    if ((place[key] ?? null) !== null) fields.set(key, place[key]);
  }
  if (place.why) fields.set("why", [place.why.name, ...place.why.index].join("-"));
  return fields;
}

function readPlace(fields) {
  const view = fields.get("view");
  if (!VIEWS.some(({ id }) => id === view)) throw new Error("it names no view of this page");
  const place = { view };
  for (const key of NUMBERS) if (fields.has(key)) [place[key]] = integers([fields.get(key)], key);
  for (const key of WORDS) if (fields.has(key)) place[key] = word(fields.get(key), key);
  if (fields.has("why")) {
    const [name, ...index] = fields.get("why").split("-");
    place.why = { name: word(name, "why"), index: integers(index, "why") };
  }
  return place;
}

/** The stop of the tour, counted from 0; null if there is none. */
function readStop(text) {
  if (text === null) return null;
  const [stop] = integers([text], "stop");
  if (stop < 1 || stop > STOPS.length) throw new Error("it names no stop of the tour");
  return stop - 1;
}

/** The embedding is the layer -1, to the logit lens. */
function integers(texts, key) {
  const pattern = key === "layer" ? /^(-1|\d{1,9})$/ : /^\d{1,9}$/;
  if (!texts.every((text) => pattern.test(text))) throw new Error(`its ${key} is no whole number`);
  return texts.map(Number);
}

function word(text, key) {
  if (!/^[\w.]{1,80}$/.test(text)) throw new Error(`its ${key} is no name`);
  return text;
}

/** The changes of a run; what they are, the program checks. */
function readChanges(text) {
  if (text === null) return [];
  try {
    const changes = JSON.parse(text);
    if (Array.isArray(changes)) return changes;
  } catch { /* no JSON */ }
  throw new Error("its changes are no list");
}
