// Overview.

import { el } from "./dom.js";

export const view = {
  id: "overview",
  title: "Overview",
  render() {
    return el("p", {}, "not written yet");
  },
};
