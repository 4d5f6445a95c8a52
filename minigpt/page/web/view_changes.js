// Changes.

import { el } from "./dom.js";

export { changeButton, headOff, mlpOff } from "./changes.js";

export const view = {
  id: "changes",
  title: "Changes",
  render() {
    return el("p", {}, "not written yet");
  },
};
