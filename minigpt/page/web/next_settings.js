// The sliders for sampling. Their settings stay the same from position to position and from text to text.

import { el } from "./dom.js";

/** top_k 0, top_p 1 and min_p 0 are off. drawnAt: the run and position where a token was drawn. */
export const settings = { temperature: 1, top_k: 0, top_p: 1, min_p: 0, seed: 0, drawnAt: null };

/** The settings as the options of minigpt/generation/options.py. */
export function samplingOptions() {
  const { temperature, top_k, top_p, min_p } = settings;
  return { do_sample: temperature > 0, temperature, top_k, top_p, min_p: min_p || null };
}

/** The numbers of tokens that the slider for top-k offers, in steps that grow; the last, 0, is off. */
function countsUpTo(V) {
  const counts = [];
  for (let k = 1; k < V; k += k < 20 ? 1 : 10 ** Math.floor(Math.log10(k)) / 2) counts.push(k);
  return [...counts, 0];
}

/** The sliders, as {element, changed(), show(reasons)}; f is called when one is moved, or after changed(). */
export function samplingControls(V, f) {
  const counts = countsUpTo(V);
  if (settings.top_k >= V) settings.top_k = 0;
  let asked = false;
  const changed = () => {
    // Several moves within one frame are one change.
    if (!asked) requestAnimationFrame(() => { asked = false; f(); });
    asked = true;
  };
  const nearest = (k) => (k ? Math.max(0, counts.findIndex((count) => count >= k || count === 0)) : counts.length - 1);
  const sliders = [
    slider(changed, "temperature", { min: 0, max: 2, step: 0.05 }, "temperature", {
      words: (x) => (x === 0 ? "0" : x.toFixed(2)),
      meaning(x) {
        if (x === 0) return "always the best: greedy";
        return x < 1 ? "below 1: the likely ones get more" : x > 1 ? "above 1: the rare ones get more" : "1: as the model says";
      },
    }),
    slider(changed, "top_k", { min: 0, max: counts.length - 1, step: 1 }, "top-k", {
      toSlider: nearest, fromSlider: (x) => counts[x], words: (k) => (k ? String(k) : "off"),
      meaning: (k, fallen) => (k ? `the ${k === 1 ? "best stays" : `${k} best stay`}; ${fallen} struck out` : "keeps every token"),
    }),
    slider(changed, "top_p", { min: 0, max: 1, step: 0.01 }, "top-p", {
      words: (p) => (p < 1 ? p.toFixed(2) : "off"),
      meaning: (p, fallen) => (p < 1 ? `the best until they hold ${Math.round(100 * p)} %; ${fallen} struck out` : "keeps every token"),
    }),
    slider(changed, "min_p", { min: 0, max: 1, step: 0.01 }, "min-p", {
      words: (p) => (p ? p.toFixed(2) : "off"),
      meaning: (p, fallen) => (p ? `at least ${Math.round(100 * p)} % of the best's p; ${fallen} struck out` : "keeps every token"),
    }),
  ];
  const turnOff = () => {
    Object.assign(settings, { temperature: 1, top_k: 0, top_p: 1, min_p: 0 });
    for (const s of sliders) s.read();
    changed();
  };
  const reset = el("button", { id: "reset-sampling", type: "button", onclick: turnOff }, "Reset");
  return {
    element: el("div", { class: "sampling", role: "group", "aria-labelledby": "sampling-label" },
      el("div", { class: "bar" }, el("span", { id: "sampling-label", class: "hint" }, "What to do with the probabilities before the draw, from left to right:"), reset),
      el("div", { class: "sliders" }, sliders.map((s) => s.element))),
    changed,
    show(reasons) {
      const fallen = {};
      for (const reason of reasons) if (reason) fallen[reason] = (fallen[reason] ?? 0) + 1;
      for (const s of sliders) s.show(fallen[s.name] ?? 0);
    },
  };
}

function slider(changed, name, range, label, { words, meaning, toSlider = (x) => x, fromSlider = (x) => x }) {
  const moved = () => {
    settings[name] = fromSlider(Number(input.value));
    changed();
  };
  const input = el("input", { ...range, id: name, type: "range", oninput: moved });
  const value = el("output", { for: name });
  const says = el("span", { class: "hint" });
  const read = () => { input.value = String(toSlider(settings[name])); };
  function show(fallen) {
    const x = settings[name];
    value.textContent = words(x);
    says.textContent = meaning(x, fallen);
    input.setAttribute("aria-valuetext", `${words(x)}, ${meaning(x, fallen)}`);
  }
  read();
  const element = el("div", { class: "slider" }, el("label", { for: name }, label), value, input, says);
  return { name, element, read, show };
}
