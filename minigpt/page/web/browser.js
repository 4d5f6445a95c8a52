// Whether this browser can show the page.

const TOO_OLD = "This browser is too old for this page, which needs Chrome 123, Firefox 120, Safari 17.5 or a later version.";

/** Why this browser cannot show the page, in a sentence; null if it can. */
export function whyNotHere() {
  const hasColours = globalThis.CSS?.supports("color", "light-dark(#fff, #000)"); // those of style.css
  return hasColours && globalThis.DecompressionStream ? null : TOO_OLD; // the numbers of a file are compressed
}
