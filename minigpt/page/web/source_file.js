// The numbers of a self-contained file: the same answers as from a program, about the one run that the file holds.
// minigpt/page/file.py describes the data.

import { lengths, pooled, uncertainty, visible } from "./rows.js";

const ELSEWHERE = "this file holds one run: for another text, model or change run `minigpt step TEXT --open`";
const MISSING = "this file does not hold the answer: run `minigpt step TEXT --open`";

export class FileSource {
  /** The source of the data in this page. */
  static async open() {
    const text = (id) => document.getElementById(id).textContent;
    return new FileSource(JSON.parse(text("data")), text("numbers"));
  }

  constructor(data, numbers) {
    this.data = data;
    this.numbers = numbers; // base64 of all arrays
    this.decoded = new Map();
  }

  async ask(question) {
    const answers = {
      start: () => this.data.start,
      run: () => this.#run(question),
      numbers: () => ({ arrays: this.#activations(question).map(({ array }) => array) }),
      pooled: () => ({ arrays: this.#activations(question).flatMap((place) => this.#pooled(place, question.columns)) }),
      lengths: () => ({ arrays: this.#activations(question).map(({ array }) => lengths(array)) }),
      parameters: () => ({ arrays: question.of.map(([name, index]) => this.#parameter(name, index)) }),
      tokens: () => ({ texts: this.#inVocabulary(question.ids).map((id) => this.data.vocabulary[id]) }),
      lens: () => this.#lens(question),
      uncertainty: () => ({ arrays: uncertainty(this.#cut("logits", this.#tokensOf(question.run))) }),
      beams: () => this.#beams(question),
      attribution: () => this.#attribution(question),
      forget: () => ({}),
    };
    if (!Object.hasOwn(answers, question.ask)) throw new Error(`ask must be one of ${Object.keys(answers).join(", ")}`);
    return { arrays: [], ...structuredClone(answers[question.ask]()) };
  }

  /** The answer to "run" for the first n tokens; what depends on n is put in. */
  #run({ text, ids, changes = [], model }) {
    const whole = this.data.run;
    const n = ids ? this.#lengthOf(ids) : this.#lengthOfText(text);
    if (!n || changes.length || (model ?? whole.model) !== whole.model) throw new Error(ELSEWHERE);
    const steps = whole.steps.map((step) => {
      const { shape, data } = this.#cut(step.name, n);
      return { ...step, shape, largest: largest(data) };
    });
    return { ...whole, ...this.data.prefixes[n - 1], ids: whole.ids.slice(0, n), tokens: whole.tokens.slice(0, n), steps };
  }

  /** The token that follows the first n tokens in this file. */
  nextToken(n) {
    return this.data.run.ids[n];
  }

  #lengthOf(ids) {
    return ids.every((id, i) => id === this.data.run.ids[i]) ? ids.length : 0;
  }

  #lengthOfText(text) {
    if (text === this.data.start.text) return this.data.n_text;
    return this.data.prefixes.findIndex((prefix) => prefix.text === text) + 1;
  }

  /** The number of tokens of a run by its id. */
  #tokensOf(run) {
    const n = this.data.prefixes.findIndex((prefix) => prefix.run === run) + 1;
    if (!n) throw new Error(ELSEWHERE);
    return n;
  }

  /** The arrays at some places, [{name, index, array}]. */
  #activations({ run, of, minus = null }) {
    const n = this.#tokensOf(run);
    if (minus !== null) throw new Error(ELSEWHERE);
    return of.map(([name, index]) => {
      if (!Object.hasOwn(this.data.arrays.activations, name)) throw new Error(`this model has no activation ${name}`);
      return { name, index, array: part(this.#cut(name, n), index, name) };
    });
  }

  #pooled({ name, index, array }, columns) {
    return pooled(name.endsWith("attn.scores") ? visible(array, index.at(-2)) : array, columns);
  }

  #parameter(name, index) {
    if (!this.data.start.has_parameters) throw new Error("the parameters of this model are not in this file");
    if (!Object.hasOwn(this.data.arrays.parameters, name)) throw new Error(`this model has no parameter ${name}`);
    return part(this.#array("parameters", name), index, name);
  }

  #lens({ run, position, last = false, k = 5 }) {
    const n = this.#tokensOf(run);
    const { lens } = this.data;
    if (k > lens.ids[0][0].length) throw new Error(MISSING);
    const [from, to] = position === undefined || position === null ? [0, n] : [requirePosition(position, n), position + 1];
    const cut = (rows) => (last ? rows.slice(-1) : rows).map((row) => row.slice(from, to).map((best) => best.slice(0, k)));
    return Object.fromEntries(Object.entries(lens).map(([name, rows]) => [name, cut(rows)]));
  }

  #beams({ run, ids, num_beams = 3, steps = 5 }) {
    const n = ids ? this.#lengthOf(ids) : this.#tokensOf(run);
    const answer = this.data.beams[n];
    if (!answer || num_beams !== this.data.beam_options.num_beams || steps !== this.data.beam_options.steps) throw new Error(MISSING);
    return answer;
  }

  #attribution({ run, position, token, other = null }) {
    const n = this.#tokensOf(run);
    const answers = this.data.attribution[requirePosition(position, n)];
    const found = answers[token], subtracted = other === null ? null : answers[other];
    if (!found || subtracted === undefined) throw new Error(MISSING);
    // Every part of a difference is the difference of the parts.
    const answer = subtracted ? { ...difference(found, subtracted), token: found.token, other: subtracted.token } : found;
    const byToken = answer.by_token.map((heads) => heads.map((reads) => reads.slice(0, n)));
    return { ...answer, position, tokens: found.tokens.slice(0, n), by_token: byToken };
  }

  #inVocabulary(ids) {
    const bad = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= this.data.vocabulary.length);
    if (bad !== undefined) throw new Error(`ids must be integers from 0 to ${this.data.vocabulary.length - 1}, not ${bad}`);
    return ids;
  }

  /** An activation of the first n tokens, {shape, data}. */
  #cut(name, n) {
    const whole = this.#array("activations", name);
    const { axes } = this.data.run.steps.find((step) => step.name === name);
    const starts = [...axes].map((axis) => ("TS".includes(axis) ? range(n) : null));
    return part(whole, starts, name);
  }

  /** An array as it is stored, {shape, data}. */
  #array(kind, name) {
    const key = `${kind} ${name}`;
    if (!this.decoded.has(key)) {
      const { shape, dtype, start, length } = this.data.arrays[kind][name];
      this.decoded.set(key, { shape, data: decode(this.numbers.slice(start, start + length), dtype) });
    }
    return this.decoded.get(key);
  }
}

function requirePosition(position, n) {
  if (Number.isInteger(position) && position >= 0 && position < n) return position;
  throw new Error(`position must be an integer from 0 to ${n - 1}, not ${position}`);
}

/** a - b, number by number, of numbers, lists and objects of the same form. */
function difference(a, b) {
  if (typeof a === "number") return a - b;
  if (Array.isArray(a)) return a.map((x, i) => difference(x, b[i]));
  if (a === null || typeof a !== "object") return a;
  return Object.fromEntries(Object.entries(a).map(([name, value]) => [name, difference(value, b[name])]));
}

const range = (n) => Array.from({ length: n }, (_, i) => i);

/**
 * A part of an array, {shape, data}. index: for each axis a number, a list of numbers, or null for all. As in NumPy, an
 * axis with a number is left out of the shape.
 */
function part({ shape, data }, index, name) {
  if (!Array.isArray(index) || index.length !== shape.length) {
    throw new Error(`${name} has ${shape.length} axes, [${shape.join(", ")}], but the index has ${index?.length}`);
  }
  const chosen = index.map((i, axis) => (i === null ? range(shape[axis]) : Array.isArray(i) ? i : [i]));
  chosen.forEach((indices, axis) => {
    const bad = indices.find((i) => !Number.isInteger(i) || i < 0 || i >= shape[axis]);
    if (bad !== undefined) throw new Error(`${name} has the shape [${shape.join(", ")}]: ${bad} is no index of an axis of ${shape[axis]}`);
  });
  const result = new data.constructor(chosen.reduce((product, indices) => product * indices.length, 1));
  let at = 0;
  const copy = (axis, offset) => {
    if (axis === shape.length) {
      result[at++] = data[offset];
      return;
    }
    for (const i of chosen[axis]) copy(axis + 1, offset * shape[axis] + i);
  };
  copy(0, 0);
  return { shape: chosen.flatMap((indices, axis) => (typeof index[axis] === "number" ? [] : [indices.length])), data: result };
}

/** Base64 of little-endian numbers as a typed array; float16 becomes float32. */
function decode(base64, dtype) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  if (dtype === "float64") return new Float64Array(bytes.buffer);
  if (dtype === "float32") return new Float32Array(bytes.buffer);
  return Float32Array.from(new Uint16Array(bytes.buffer), halfToNumber);
}

/** A float16, given as its 16 bits, as a number. */
function halfToNumber(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** The largest absolute value, or null if it is not a finite number. */
function largest(data) {
  let most = 0;
  for (const x of data) {
    if (!Number.isFinite(x)) return null;
    most = Math.max(most, Math.abs(x));
  }
  return most;
}
