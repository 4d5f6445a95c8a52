// The Python lines that sample as the sliders say.

import { samplingOptions, settings } from "./next_settings.js";

const IMPORTS = [
  "import numpy as np",
  "from minigpt.generation.options import GenerationConfig",
  "from minigpt.generation.sampling import apply_filters, draw_token",
];

/** Python that draws the token after a position with the present settings. */
export function pythonLines(app, position) {
  const isChanged = app.run.changes.length > 0;
  const lines = isChanged ? fromLogits(app, position) : fromText(app, position);
  const imports = isChanged && samplingOptions().do_sample ? IMPORTS : [];
  return [...imports, app.run.python, "", ...lines].join("\n");
}

function fromText(app, position) {
  const { run } = app;
  const [ids] = run.code.match(/^ids = .*$/m);
  const cut = position < run.ids.length - 1 ? [`ids = ids[:${position + 1}]`] : [];
  const call = `ids = model.generate(ids, max_new_tokens=1, ${argumentsOf(["seed", settings.seed])})`;
  return [ids, ...cut, call, "print(tokenizer.decode(ids[0, -1:]))"];
}

/** generate() runs the model without this run's changes: its own filters and its draw, on the logits of the changed run. */
function fromLogits(app, position) {
  const { code } = app.run;
  if (!samplingOptions().do_sample) return [code, `print(tokenizer.decode([logits[${position}].argmax()]))`];
  return [
    code, "",
    `options = GenerationConfig(${argumentsOf()})`,
    `scores = apply_filters(logits[None, ${position}], [ids[:${position + 1}]], options)`,
    `token_id = draw_token(scores[0], np.random.default_rng([${settings.seed}, 0]))  # as generate does for its first text`,
    "print(tokenizer.decode([token_id]))",
  ];
}

function argumentsOf(...more) {
  const { do_sample, temperature, top_k, top_p, min_p } = samplingOptions();
  if (!do_sample) return "do_sample=False";
  // top_k is always there, because generate's own default is 50.
  const options = [["temperature", temperature, 1], ["top_k", top_k], ["top_p", top_p, 1], ["min_p", min_p, null], ...more];
  const changed = options.filter(([, value, usual]) => value !== usual);
  return ["do_sample=True", ...changed.map(([name, value]) => `${name}=${value}`)].join(", ");
}
