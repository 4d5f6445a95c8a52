// Where a number comes from, as a panel.
import { el } from "./dom.js";
export function renderWhy(app, name, index) {
  return el("section", { class: "why" }, `${name}[${index.join(", ")}]`);
}
