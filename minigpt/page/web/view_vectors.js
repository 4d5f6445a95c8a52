// Q K V.

import { el } from "./dom.js";

export const view = {
  id: "vectors",
  title: "Q K V",
  render() {
    return el("p", {}, "not written yet");
  },
};
