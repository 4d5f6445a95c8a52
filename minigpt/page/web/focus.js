// The focus stays where it was when a part of the page is drawn anew: whoever uses the keyboard keeps their place.

let isByKeyboard = true; // whether the keyboard, and not a click, has led to where the focus is
let lastKey = ""; // since the last click

/** Whether the keyboard has led to what has the focus. A browser's :focus-visible forgets it when a view is drawn anew. */
export function cameByKeyboard() {
  return isByKeyboard;
}

addEventListener("pointerdown", () => {
  isByKeyboard = false;
  lastKey = "";
}, true);

addEventListener("keydown", ({ key }) => {
  lastKey = key;
  if (key === "Tab") isByKeyboard = true;
}, true);

// In a list, the arrow keys move the focus. What is drawn anew gets it from nowhere.
addEventListener("focusin", ({ relatedTarget }) => {
  if (relatedTarget && /^(Arrow|Home|End)/.test(lastKey)) isByKeyboard = true;
});

/** Note where the focus is within a container; the function returned puts it back after the children were replaced. */
export function keepFocus(container) {
  const active = document.activeElement;
  if (active === container || !container.contains(active)) return () => {};
  const { id, tagName } = active;
  const path = pathTo(active, container);
  const selection = selectionOf(active);
  return () => {
    const now = document.activeElement;
    if (container.contains(now) && now !== container) return; // what was drawn chose a place itself
    const same = (id && document.getElementById(id)) || follow(path, container);
    if (!same || same.tagName !== tagName || same.disabled) return container.focus({ preventScroll: true });
    same.focus({ preventScroll: true });
    if (selection) same.setSelectionRange?.(...selection);
  };
}

function pathTo(element, container) {
  const path = [];
  for (let at = element; at !== container; at = at.parentElement) {
    path.unshift([...at.parentElement.children].indexOf(at));
  }
  return path;
}

function follow(path, container) {
  return path.reduce((at, i) => at?.children[i], container);
}

/** The selection of a text field; other elements have none, and a field for numbers refuses to tell. */
function selectionOf(element) {
  try {
    const { selectionStart: start, selectionEnd: end } = element;
    return (start ?? null) === null ? null : [start, end];
  } catch {
    return null;
  }
}
