// Stream.

import { el } from "./dom.js";

export const view = {
  id: "stream",
  title: "Stream",
  render() {
    return el("p", {}, "not written yet");
  },
};
