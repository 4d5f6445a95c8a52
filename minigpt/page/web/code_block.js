// A few lines of Python with a button that copies them.

import { el } from "./dom.js";

/** Returns {element, set(text)}. */
export function codeBlock(app, label) {
  const code = el("code", {});
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      app.say("copied");
    } catch {
      getSelection().selectAllChildren(code); // a file or a notebook may not write to the clipboard
      app.say("the lines are selected: Ctrl+C copies them");
    }
  };
  const element = el("div", { class: "code-block" },
    el("div", { class: "bar" }, el("span", { class: "hint" }, label), el("button", { type: "button", onclick: copy }, "Copy")),
    el("pre", {}, code));
  return { element, set: (text) => (code.textContent = text) };
}
