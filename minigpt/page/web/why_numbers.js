// The numbers of one run, activations and parameters, as factors of terms; as in minigpt/looking/why/numbers.py.

/** The numbers that one number can depend on. Names of its block may leave out "h.LAYER.", as in model.py. */
export class Numbers {
  constructor(app, name) {
    const inBlock = /^h\.(\d+)\./.exec(name);
    this.app = app;
    this.run = app.run;
    this.config = app.config;
    this.name = name;
    this.prefix = inBlock?.[0] ?? "";
    this.layer = inBlock ? Number(inBlock[1]) : null;
    this.part = name.slice(this.prefix.length);
    this.head = app.config.tied ? "wte" : "lm_head";
    this.hasParameters = app.start.has_parameters !== false;
  }

  /** The name in full: of this block, unless it is one of those outside the blocks. */
  full(name) {
    return /^(h\.|wte|wpe|lm_head|ln_f|embed|logits)/.test(name) ? name : this.prefix + name;
  }

  /** The name of the stream that block `layer` reads; for n_layer, of the one that ln_f reads. */
  stream(layer) {
    return layer ? `h.${layer - 1}.resid` : "embed";
  }

  /** The numbers of an activation at an index; null in the index stands for all of that axis. */
  async numbers(name, ...index) {
    return (await this.app.numbers(this.full(name), index, this.run)).data;
  }

  /** The numbers of a parameter; null if this page has no parameters. */
  async parameters(name, ...index) {
    return this.hasParameters ? (await this.app.parameter(this.full(name), index)).data : null;
  }

  activation(name, index, value) {
    return { kind: "activation", name: this.full(name), index, value };
  }

  parameter(name, index, value) {
    return { kind: "parameter", name: this.full(name), index, value };
  }

  /** A term: a product of factors. It stands at the token of its last activation, or else at `position`. */
  term(factors, { value, label, position = null } = {}) {
    const activation = factors.findLast((factor) => factor.kind === "activation");
    const stands = activation ? positionOf(activation) : position;
    return {
      value: value ?? factors.reduce((product, factor) => product * factor.value, 1),
      label: label ?? factors.map((factor) => labelOf(factor, this.prefix)).join(" * "),
      position: stands,
      token: stands === null ? null : this.run.tokens[stands],
      factors,
    };
  }
}

export function constant(name, value) {
  return { kind: "constant", name, index: null, value };
}

/** The name of a factor with its index; names of the block with this prefix are shortened. */
export function labelOf({ kind, name, index }, prefix = "") {
  let short = name;
  if (prefix && name.startsWith(prefix)) {
    short = name.slice(prefix.length);
    if (kind === "parameter") short = short.split(".").slice(-2).join(".");
  }
  return index ? `${short}[${index.join(", ")}]` : short;
}

/** The position of the token that an activation belongs to: the key's in [head, query, key]. */
function positionOf({ name, index }) {
  if (index.length === 2) return index[0];
  return /\.(scores|weights)$/.test(name) ? index[2] : index[1];
}

/** A number in four digits, in parentheses if it is negative. */
export function written(value) {
  return value < 0 ? `(${general(value)})` : general(value);
}

/** A number as Python's format "g" writes it, so that the page and the program show the same digits. */
export function general(value, digits = 4) {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (value === 0) return Object.is(value, -0) ? "-0" : "0";
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
  if (exponent >= -4 && exponent < digits) return String(Number(value.toPrecision(digits)));
  return `${Number(mantissa)}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
}
