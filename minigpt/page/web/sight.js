// What scrolls sideways, or in a box: it says at its edges that there is more, and moves no further than it must.

const SCROLLERS = "#tabs, #map, .arcs-scroll, .halves > *, .lens-frame, .next-box.above, .overview .scroller, .overview .narrow, "
  + ".scroll, .scrolling, .token-strip, .tree-frame, .vectors-box, .wide";
const ROOM = 8; // pixels beside what is scrolled to
const NEAR = 2; // pixels that are not worth a sign

/** Fade the edges of everything that scrolls, wherever more of it is out of sight. */
export function watchEdges() {
  let isWaiting = false;
  const later = () => {
    if (isWaiting) return;
    isWaiting = true;
    requestAnimationFrame(() => {
      isWaiting = false;
      document.querySelectorAll(SCROLLERS).forEach(markEdges);
    });
  };
  addEventListener("scroll", ({ target }) => target.matches?.(SCROLLERS) && markEdges(target), true);
  addEventListener("resize", later);
  new MutationObserver(later).observe(document.body, { childList: true, subtree: true });
}

function markEdges(element) {
  const { scrollLeft, scrollTop, scrollWidth, scrollHeight, clientWidth, clientHeight } = element;
  const more = {
    left: scrollLeft > NEAR, right: scrollLeft + clientWidth < scrollWidth - NEAR,
    up: scrollTop > NEAR, down: scrollTop + clientHeight < scrollHeight - NEAR,
  };
  const edges = Object.keys(more).filter((edge) => more[edge]).join(" ");
  if (edges) element.dataset.more = edges;
  else delete element.dataset.more;
}

/** How far the element of a class is scrolled, which is about to be drawn anew. */
export function scrolledBefore(name) {
  return document.querySelector(`.${name}`)?.scrollLeft ?? 0;
}

/** Scroll an element to where it was before, and from there no further than shows a child. covered: pixels at the left. */
export function scrollToShow(element, child, before, covered = 0) {
  element.scrollLeft = before;
  const [frame, { left, right }] = [element.getBoundingClientRect(), child.getBoundingClientRect()];
  if (left < frame.left + covered) element.scrollLeft -= frame.left + covered + ROOM - left;
  else if (right > frame.right) element.scrollLeft += right + ROOM - frame.right;
}
