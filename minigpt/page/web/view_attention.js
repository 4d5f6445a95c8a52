// Attention.

import { el } from "./dom.js";

export const view = {
  id: "attention",
  title: "Attention",
  render() {
    return el("p", {}, "not written yet");
  },
};
