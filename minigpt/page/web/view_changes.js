// Changes.

import { el } from "./dom.js";

export const view = {
  id: "changes",
  title: "Changes",
  render() {
    return el("p", {}, "not written yet");
  },
};
