// Logit lens.

import { el } from "./dom.js";

export const view = {
  id: "lens",
  title: "Logit lens",
  render() {
    return el("p", {}, "not written yet");
  },
};
