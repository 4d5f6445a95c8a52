// The state of the page: the run that is shown, the place where the reader is, and the way there.

import { addressOf, questionOf, readAddress } from "./address.js";
import { place as placeName } from "./dom.js";
import { NoAnswer } from "./source.js";

const MAX_KEPT = 128e6; // bytes of arrays kept for another look

export class App {
  /** history: the way back, see history.js. */
  constructor(source, history) {
    this.source = source;
    this.history = history;
    history.onmove = (address) => this.follow(address);
    this.place = { view: "overview" };
    this.run = null; // the answer to the question "run": tokens, steps, changes ...
    this.other = null; // a second run to compare with
    this.start = null; // the answer to the question "start"
    this.stop = null; // of the tour, counted from 0, while it is open
    this.asked = null; // {name, index}: the number that was clicked last
    this.listeners = { run: [], place: [], leave: [], stay: [], shown: [], status: [] };
    this.kept = new Map();
  }

  /**
   * Call f whenever the "run", the "place" or the "status" changes, a place is "shown", about to "leave", or about to
   * "stay", because the way elsewhere has failed.
   */
  on(event, f) {
    this.listeners[event].push(f);
  }

  /** Call f the next time. */
  once(event, f) {
    const listener = () => {
      this.listeners[event] = this.listeners[event].filter((other) => other !== listener);
      f();
    };
    this.on(event, listener);
  }

  tell(event, ...details) {
    for (const f of this.listeners[event]) f(...details);
  }

  /** Say a sentence, or with bad = true an error, in the status line. */
  say(sentence, bad = false) {
    this.tell("status", sentence, bad);
  }

  /** Say that the panel has the answer. Whoever sees the panel needs it least, so a small screen gives it no room. */
  sayAsked() {
    const { name, index } = this.place.why;
    this.tell("status", `${placeName(name, index)}: the panel shows how it was computed`, false, true);
  }

  get config() {
    return this.run?.config ?? this.start.config;
  }

  /** The steps of the run in the order of the forward pass; step(name) finds one. */
  get steps() {
    return this.run.steps;
  }

  step(name, run = this.run) {
    return run.steps.find((step) => step.name === name);
  }

  /** Go to a place, such as {view: "activation", name: "h.0.attn.q"}; back() returns. */
  go(place) {
    if (!this.run) return; // the page is still opening
    if (JSON.stringify(place) === JSON.stringify(this.place)) return;
    this.place = place;
    this.history.push(addressOf(this));
    this.tell("place");
  }

  /** Change the place without adding to the way back: for sliders and the like. */
  replace(place) {
    this.place = place;
    this.history.replace(addressOf(this));
    this.tell("place");
  }

  back() {
    if (!this.history.canGoBack) return;
    this.tell("leave");
    this.history.back();
  }

  /**
   * Go where an address leads: to its run and its place. One that leads nowhere shows the overview, and says so. While
   * the program does not answer, nobody knows where it leads: it stays in the history, and the reader where they are.
   * Whoever goes to another place before its run has come stays there.
   */
  async follow(address) {
    const turn = ++this.#turn, { place: left } = this;
    const isLatest = () => turn === this.#turn && this.place === left;
    try {
      const { place, question, second, stop } = readAddress(address, this.start);
      // Changes may copy from the run of the second text.
      const ofSecond = { text: second, model: question.model, changes: [] };
      const other = second === null ? null : await this.#runOf(ofSecond, this.other);
      const run = await this.#runOf(question, this.run);
      if (isLatest()) this.#arrive(run, other, this.#checked(place, run), stop);
    } catch (error) {
      if (!isLatest()) return;
      if (error instanceof NoAnswer) return this.#stay(error);
      const run = this.run ?? await this.source.ask({ ask: "run", text: this.start.text });
      this.#arrive(run, this.other, { view: "overview" });
      this.say(`This address leads nowhere: ${error.message}.`, true);
    }
  }

  #stay(error) {
    if (!this.run) throw error; // there is no place yet
    this.tell("stay");
    this.say(error.message, true);
  }

  /** The run that a question asks for; `known`, if it is that one. */
  #runOf(question, known) {
    const isKnown = known && JSON.stringify(questionOf(known)) === JSON.stringify(question);
    return isKnown ? known : this.source.ask({ ask: "run", ...question });
  }

  /** A place and the numbers asked on the way to it, all of which a run has. Throws an Error if it lacks one. */
  #checked(place, run) {
    for (const one of [place, ...(place.why?.trail ?? [])]) {
      const fitting = this.#fitting(one, run);
      const lost = Object.keys(one).find((key) => !(key in fitting));
      if (lost === "why") throw new Error(`its run has no ${placeName(one.why.name, one.why.index)}`);
      if (lost) throw new Error(`its run has no ${lost} ${one[lost]}`);
    }
    return place;
  }

  #arrive(run, other, place, stop = null) {
    const isOther = run !== this.run || other !== this.other;
    Object.assign(this, { run, other, place, stop });
    this.asked = place.why ?? this.#fitting({ why: this.asked }).why ?? null;
    this.history.replace(addressOf(this));
    this.tell(isOther ? "run" : "place");
  }

  /** Ask where a number comes from: the panel shows its arithmetic. more: what else changes about the place. */
  why(name, index, more = {}) {
    this.asked = { name, index };
    this.go({ ...this.place, ...more, name, why: { name, index } });
    this.sayAsked();
  }

  /**
   * Ask the program to run the model: {text} or {ids}, and {changes}. The answer becomes the run that is shown, at the
   * place that placeFor(run) says, or where the reader is.
   */
  async newRun(question, placeFor = null) {
    const turn = ++this.#turn;
    const run = await this.source.ask({ ask: "run", changes: [], model: this.run?.model, ...question });
    if (turn !== this.#turn) return run; // somebody has asked for another run in the meantime
    if (placeFor) this.place = placeFor(run);
    this.setRun(run);
    return run;
  }

  setRun(run) {
    this.run = run;
    if (this.other?.model !== run.model) this.other = null;
    this.place = this.#fitting(this.place);
    this.asked = this.#fitting({ why: this.asked }).why ?? null;
    this.history.push(addressOf(this));
    this.tell("run");
  }

  /** Ask the program to run the model on a second text, to compare with; null forgets the one there is. */
  async newOther(text) {
    const turn = ++this.#turn;
    const question = { ask: "run", text, changes: [], model: this.run.model };
    const other = text === null ? null : await this.source.ask(question);
    if (turn !== this.#turn) return; // somebody has asked for another run in the meantime
    this.other = other;
    this.history.push(addressOf(this));
    this.tell("run");
  }

  /** The numbers of an activation, {shape, data}. index: over the axes without the batch; null takes all of an axis. */
  numbers(name, index = null, run = this.run) {
    return this.#gathered({ ask: "numbers", run: run.run }, [name, index ?? this.#whole(name, run)]);
  }

  /** The numbers of a parameter such as "h.0.attn.c_attn.weight". */
  parameter(name, index) {
    return this.#gathered({ ask: "parameters", run: this.run.run }, [name, index]);
  }

  /** One number of an activation. */
  async one(name, index, run = this.run) {
    return (await this.numbers(name, index, run)).data[0];
  }

  /**
   * Rows in at most `columns` cells: of each cell the number of largest absolute value. places: [[name, index], ...], the
   * index null for all. minus: a run whose numbers are subtracted. A promise of [{shape, values, where}], where[i] the
   * column that values[i] stands in.
   */
  async pooled(places, columns, run = this.run, minus = null) {
    const of = places.map(([name, index]) => [name, index ?? this.#whole(name, run)]);
    const question = { ask: "pooled", run: run.run, of, columns, minus: minus && minus.run };
    const arrays = await this.#remembered(JSON.stringify(question), () => this.source.ask(question).then((head) => head.arrays));
    return of.map((_, i) => ({ shape: arrays[2 * i].shape, values: arrays[2 * i].data, where: arrays[2 * i + 1].data }));
  }

  /** The index of all numbers of an activation. */
  #whole(name, run) {
    return this.step(name, run).shape.map(() => null);
  }

  #turn = 0; // of the questions for a run

  /** A place without what a run does not have: a shorter text has fewer tokens, another model fewer blocks. */
  #fitting(place, run = this.run) {
    const { n_layer, n_head } = run.config;
    const isToken = (position) => position < run.ids.length;
    const isActivation = (name) => this.step(name, run);
    const fits = {
      layer: (layer) => layer < n_layer,
      head: (head) => head < n_head,
      token: isToken,
      key: isToken,
      name: isActivation,
      norm: isActivation,
      why: ({ name, index }) => this.step(name, run)?.shape.every((size, axis) => index[axis] < size)
        && index.length === this.step(name, run).shape.length,
    };
    return Object.fromEntries(Object.entries(place).filter(([key, value]) => (value ?? null) === null || !fits[key] || fits[key](value)));
  }

  #gathering = new Map(); // the places that the next question asks about, and its answer, by the question without them

  /** The array at a place. What a view asks for in one go is one question. */
  async #gathered(question, place) {
    const [array] = await this.#remembered(JSON.stringify([question, place]), async () => {
      const key = JSON.stringify(question);
      if (!this.#gathering.has(key)) {
        const of = [];
        this.#gathering.set(key, { of, answer: Promise.resolve().then(() => {
          this.#gathering.delete(key);
          return this.source.ask({ ...question, of });
        }) });
      }
      const { of, answer } = this.#gathering.get(key);
      const at = of.push(place) - 1;
      try {
        const { shape, data } = (await answer).arrays[at];
        return [{ shape, data: of.length > 1 ? data.slice() : data }]; // a view would keep the whole answer in memory
      } catch (error) {
        if (of.length === 1) throw error;
        return (await this.source.ask({ ...question, of: [place] })).arrays; // the others may be at fault
      }
    });
    return array;
  }

  /** The arrays that ask() promises, asked for once. */
  #remembered(key, ask) {
    if (!this.kept.has(key)) {
      const answer = ask();
      const entry = { answer, bytes: 0 };
      this.kept.set(key, entry);
      const size = (arrays) => arrays.reduce((bytes, { data }) => bytes + data.byteLength, 0);
      answer.then((arrays) => this.#count(key, entry, size(arrays)), () => this.kept.delete(key));
    }
    return this.kept.get(key).answer;
  }

  #bytes = 0; // of all arrays that are kept

  /** Count an array that has arrived; the oldest ones make room for it. */
  #count(key, entry, bytes) {
    if (this.kept.get(key) !== entry) return;
    entry.bytes = bytes;
    this.#bytes += bytes;
    for (const [key, oldest] of this.kept) {
      if (this.#bytes <= MAX_KEPT || oldest === entry) break;
      this.kept.delete(key);
      this.#bytes -= oldest.bytes;
    }
  }
}
