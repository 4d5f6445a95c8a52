// Next token.

import { el } from "./dom.js";

export const view = {
  id: "next",
  title: "Next token",
  render() {
    return el("p", {}, "not written yet");
  },
};
