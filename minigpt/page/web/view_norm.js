// Layer norm.

import { el } from "./dom.js";

export const view = {
  id: "norm",
  title: "Layer norm",
  render() {
    return el("p", {}, "not written yet");
  },
};
