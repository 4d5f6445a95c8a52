// The activation functions of the MLP, by their names in config.json: as a formula, and as in minigpt/ops/plain.py.

const exact = (y) => y;

/**
 * at(x, round): in float64, or rounded after every operation, as NumPy does in another dtype: with Math.fround in
 * float32. There only the last bit of tanh can differ, which is NumPy's own.
 */
export const ACTIVATION_FUNCTIONS = {
  gelu_new: {
    formula: "x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))",
    at: (x, round = exact) => {
      const cubic = round(x + round(round(0.044715) * round(round(x * x) * x)));
      const gate = round(1 + round(Math.tanh(round(round(Math.sqrt(2 / Math.PI)) * cubic))));
      return round(round(0.5 * x) * gate);
    },
  },
  gelu: {
    formula: "x/2 (1 + erf(x / √2))",
    at: (x, round = exact) => round(round(0.5 * x) * round(1 + round(erf(round(x / round(Math.SQRT2)))))),
  },
  relu: { formula: "max(x, 0)", at: (x) => Math.max(x, 0) },
};

/** The error function, which JavaScript lacks: a series of positive terms, so that nothing cancels. */
function erf(x) {
  if (Math.abs(x) > 6) return Math.sign(x); // 1 - erf(6) is 2e-17
  let term = x, sum = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) sum += term *= (2 * x * x) / (2 * n + 1);
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}
