// The tokens of the text in a row, one of them chosen: for the views that look at one position.

import { el, token, tokenText } from "./dom.js";
import { scrolledBefore, scrollToShow } from "./sight.js";

/** The position a view looks at: the place's, or the last. */
export function positionOf(app, place) {
  const last = app.run.ids.length - 1;
  return Number.isInteger(place.token) ? Math.max(0, Math.min(last, place.token)) : last;
}

/** A row of buttons, one for each token. Tab reaches the chosen one, the arrow keys go on from it. */
export function tokenStrip(app, place, label) {
  const chosen = positionOf(app, place);
  const last = app.run.ids.length - 1;
  const choose = (position) => {
    document.getElementById(`token-${position}`)?.focus(); // the view that is drawn next gives the focus to this id again
    app.go({ ...app.place, token: position }); // the panel keeps what it explains, and the way there
  };
  const keys = (event) => {
    const to = { ArrowLeft: chosen - 1, ArrowRight: chosen + 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    choose(Math.max(0, Math.min(last, to)));
  };
  const buttons = app.run.tokens.map((text, position) => el("button", {
    id: `token-${position}`, type: "button", role: "radio", "aria-checked": String(position === chosen),
    tabindex: position === chosen ? "0" : "-1", title: `position ${position}: ${tokenText(text)}`,
    onclick: () => choose(position),
  }, token(text)));
  const strip = el("div", { class: "token-strip", role: "radiogroup", "aria-label": label, onkeydown: keys }, buttons);
  // A long text scrolls inside its row, as soon as the row is on the page and has a size.
  const before = scrolledBefore("token-strip");
  new ResizeObserver((_, observer) => {
    if (!strip.clientWidth) return; // it is not on the page yet
    scrollToShow(strip, buttons[chosen], before);
    observer.disconnect();
  }).observe(strip);
  return strip;
}
