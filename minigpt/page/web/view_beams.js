// Beams.

import { el } from "./dom.js";

export const view = {
  id: "beams",
  title: "Beams",
  render() {
    return el("p", {}, "not written yet");
  },
};
