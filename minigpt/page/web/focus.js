// The focus stays where it was when a part of the page is drawn anew: whoever uses the keyboard keeps their place.

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
