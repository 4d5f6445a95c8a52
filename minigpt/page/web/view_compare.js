// Compare.

import { el } from "./dom.js";

export const view = {
  id: "compare",
  title: "Compare",
  render() {
    return el("p", {}, "not written yet");
  },
};
