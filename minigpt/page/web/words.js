// Tokens as words: a piece of a word is named together with its word, such as “u” (in “because”).

import { token } from "./dom.js";

const LONGEST = 24; // characters; in a script without spaces, what stands together is no word
const STARTS = /^[\p{L}\p{M}\p{N}\ufffd]/u, ENDS = /[\p{L}\p{M}\p{N}\ufffd]$/u; // U+FFFD: some bytes of a letter

/**
 * The word that a token of a run is a piece of, without the space before it; null for a token that is no piece. A token
 * goes on with the word before it if no space, new line or punctuation stands between; in WordPiece, if it begins with ##.
 */
export function wordOf({ tokens, text }, position) {
  const isWordPiece = isOfWordPiece(tokens, text);
  const goesOn = (t) => t > 0 && t < tokens.length
    && (isWordPiece ? tokens[t].startsWith("##") : STARTS.test(tokens[t]) && ENDS.test(tokens[t - 1]));
  let start = position, end = position + 1;
  while (goesOn(start)) start--;
  while (goesOn(end)) end++;
  if (end - start === 1) return null;
  const pieces = tokens.slice(start, end).map((piece, i) => (isWordPiece && i > 0 ? piece.slice(2) : piece));
  const word = pieces.join("").trimStart();
  return word.length > LONGEST || word.includes("\ufffd") ? null : word;
}

/** WordPiece has no tokens with spaces, and its tokens in a row are not the text. */
function isOfWordPiece(tokens, text) {
  return tokens.some((piece) => piece.startsWith("##")) && !tokens.some((piece) => /\s/.test(piece)) && tokens.join("") !== text;
}

/** A token of a run in quotes, a piece with its word: a list of texts and elements. */
export function quotedToken(run, position) {
  const word = wordOf(run, position);
  return ["“", token(run.tokens[position]), "”", ...(word === null ? [] : [" (in “", token(word), "”)"])];
}
