// The numbers of a self-contained file: the same answers as from a program, about the one run that the file holds.
// minigpt/page/file.py describes the data.

import { lengths, pooled, uncertainty, visible } from "./rows.js";

const ELSEWHERE = "this file holds one run: for another text, model or change run `minigpt step TEXT --open`";
const MISSING = "this file does not hold the answer: run `minigpt step TEXT --open`";

const NOT_SPLIT = "this file answers this for the most probable tokens alone: run `minigpt step TEXT --open` for others";

export class FileSource {
  /** The source of the data in this page. */
  static async open() {
    const text = (id) => document.getElementById(id).textContent;
    return new FileSource(JSON.parse(text("data")), text("numbers"));
  }

  constructor(data, numbers) {
    this.data = data;
    this.numbers = numbers; // base64 of all arrays, packed
    this.unpacked = new Map(); // by place, promises of {shape, data}
  }

  async ask(question) {
    const answers = {
      start: () => this.data.start,
      run: () => this.#run(question),
      numbers: async () => ({ arrays: (await this.#activations(question)).map(({ array }) => array) }),
      pooled: async () => ({
        arrays: (await this.#activations(question)).flatMap((place) => this.#pooled(place, question.columns)),
      }),
      lengths: async () => ({ arrays: (await this.#activations(question)).map(({ array }) => lengths(array)) }),
      parameters: async () => ({
        arrays: await Promise.all(question.of.map(([name, index]) => this.#parameter(name, index))),
      }),
      tokens: () => ({ texts: this.#inVocabulary(question.ids).map((id) => this.data.vocabulary[id]) }),
      lens: () => this.#lens(question),
      uncertainty: async () => ({ arrays: uncertainty(await this.#cut("logits", this.#tokensOf(question.run))) }),
      beams: () => this.#beams(question),
      attribution: () => this.#attribution(question),
      token_attribution: () => this.#tokenAttribution(question),
      forget: () => ({}),
    };
    if (!Object.hasOwn(answers, question.ask)) throw new Error(`ask must be one of ${Object.keys(answers).join(", ")}`);
    return { arrays: [], ...structuredClone(await answers[question.ask]()) };
  }

  /** The answer to "run" for the first n tokens; what depends on n is put in. */
  #run({ text, ids, changes = [], model }) {
    const whole = this.data.run;
    const n = ids ? this.#lengthOf(ids) : this.#lengthOfText(text);
    if (!n || changes.length || (model ?? whole.model) !== whole.model) throw new Error(ELSEWHERE);
    const { largest, ...prefix } = this.data.prefixes[n - 1];
    const steps = whole.steps.map((step, i) => {
      const shape = step.shape.map((size, axis) => ("TS".includes(step.axes[axis]) ? n : size));
      return { ...step, shape, largest: largest[i] };
    });
    return { ...whole, ...prefix, ids: whole.ids.slice(0, n), tokens: whole.tokens.slice(0, n), steps };
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
    return Promise.all(of.map(async ([name, index]) => {
      if (!Object.hasOwn(this.data.arrays.activations, name)) throw new Error(`this model has no activation ${name}`);
      return { name, index, array: part(await this.#cut(name, n), index, name) };
    }));
  }

  #pooled({ name, index, array }, columns) {
    return pooled(name.endsWith("attn.scores") ? visible(array, index.at(-2)) : array, columns);
  }

  async #parameter(name, index) {
    if (!this.data.start.has_parameters) throw new Error("the parameters of this model are not in this file");
    if (!Object.hasOwn(this.data.arrays.parameters, name)) throw new Error(`this model has no parameter ${name}`);
    return part(await this.#array(this.data.arrays.parameters[name]), index, name);
  }

  #lens({ run, position, last = false, k = 5 }) {
    const n = this.#tokensOf(run);
    const { lens } = this.data;
    if (k > lens.ids[0][0].length) throw new Error(MISSING);
    const [from, to] = position === undefined || position === null ? [0, n] : [requirePosition(position, n), position + 1];
    const cut = (rows) => (last ? rows.slice(-1) : rows).map((row) => row.slice(from, to).map((best) => best.slice(0, k)));
    return Object.fromEntries(Object.entries(lens).map(([name, rows]) => [name, cut(rows)]));
  }

  /** The settings of the beam searches in this file: {num_beams, steps}. */
  get beamOptions() {
    return this.data.beam_options;
  }

  #beams({ run, ...options }) {
    const answer = this.data.beams[this.#tokensOf(run)];
    const isHeld = Object.entries(this.beamOptions).every(([name, value]) => (options[name] ?? value) === value);
    if (!answer || !isHeld) throw new Error(MISSING);
    return answer;
  }

  async #attribution({ run, position, token, other = null }) {
    const n = this.#tokensOf(run);
    const ids = this.data.attribution[requirePosition(position, n)];
    if (!ids.includes(token) || (other !== null && !ids.includes(other))) throw new Error(MISSING);
    const fields = await Promise.all(Object.entries(this.data.arrays.attribution[position]).map(async ([name, place]) => {
      const whole = await this.#array(place);
      const rest = whole.shape.slice(1).map(() => null);
      if (name === "by_token") rest[rest.length - 1] = range(n);
      const of = (id) => part(whole, [ids.indexOf(id), ...rest], name);
      const found = of(token);
      // Every part of a difference is the difference of the parts.
      if (other !== null) of(other).data.forEach((x, i) => { found.data[i] -= x; });
      return [name, nested(found)];
    }));
    const { vocabulary, run: whole } = this.data;
    return {
      ...Object.fromEntries(fields), position, token: vocabulary[token], other: other === null ? null : vocabulary[other],
      tokens: whole.tokens.slice(0, n),
    };
  }

  #tokenAttribution({ run, position, token, other = null }) {
    const n = this.#tokensOf(run);
    const answers = this.data.token_attribution[requirePosition(position, n)];
    const found = answers[token], subtracted = answers[other];
    const edges = other === null ? found?.edges : answers[`${token} ${other}`] ?? answers[`${other} ${token}`];
    if (!found || !edges) throw new Error(NOT_SPLIT);
    if (other === null) return found;
    const { logit, bias, rest } = subtracted;
    return {
      logit: found.logit - logit, bias: found.bias - bias, rest: found.rest - rest, edges,
      by_token: found.by_token.map((x, t) => x - subtracted.by_token[t]),
    };
  }

  #inVocabulary(ids) {
    const bad = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= this.data.vocabulary.length);
    if (bad !== undefined) throw new Error(`ids must be integers from 0 to ${this.data.vocabulary.length - 1}, not ${bad}`);
    return ids;
  }

  /** An activation of the first n tokens, {shape, data}. */
  async #cut(name, n) {
    const whole = await this.#array(this.data.arrays.activations[name]);
    const { axes } = this.data.run.steps.find((step) => step.name === name);
    const starts = [...axes].map((axis) => ("TS".includes(axis) ? range(n) : null));
    return part(whole, starts, name);
  }

  /** A promise of the array at a place of the data, {shape, data}. */
  #array(place) {
    if (!this.unpacked.has(place)) {
      const { shape, dtype, start, length } = place;
      const data = unpack(this.numbers.slice(start, start + length), dtype);
      this.unpacked.set(place, data.then((data) => ({ shape, data })));
    }
    return this.unpacked.get(place);
  }
}

function requirePosition(position, n) {
  if (Number.isInteger(position) && position >= 0 && position < n) return position;
  throw new Error(`position must be an integer from 0 to ${n - 1}, not ${position}`);
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

/** An array's numbers as lists in lists, one level for each axis. */
function nested({ shape, data }) {
  let rows = [...data];
  for (const size of shape.slice(1).reverse()) {
    rows = Array.from({ length: rows.length / size }, (_, i) => rows.slice(i * size, (i + 1) * size));
  }
  return shape.length ? rows : rows[0];
}

const TYPES = { float16: Uint16Array, float32: Float32Array, float64: Float64Array };

/** The numbers of a packed array: see minigpt/page/file.py. float16 becomes float32. */
async function unpack(base64, dtype) {
  const text = atob(base64);
  const packed = new Uint8Array(text.length);
  for (let i = 0; i < packed.length; i++) packed[i] = text.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const byPlace = new Uint8Array(await new Response(stream).arrayBuffer()); // the first bytes of all numbers, the second ...
  const bytes = new Uint8Array(byPlace.length);
  const size = TYPES[dtype].BYTES_PER_ELEMENT;
  for (let place = 0, at = 0; place < size; place++) {
    for (let i = place; i < bytes.length; i += size) bytes[i] = byPlace[at++];
  }
  const data = new TYPES[dtype](bytes.buffer);
  return dtype === "float16" ? Float32Array.from(data, halfToNumber) : data;
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
