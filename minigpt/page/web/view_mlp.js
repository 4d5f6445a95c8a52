// MLP.

import { el } from "./dom.js";

export const view = {
  id: "mlp",
  title: "MLP",
  render() {
    return el("p", {}, "not written yet");
  },
};
