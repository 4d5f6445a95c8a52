// Where everything in the picture of the whole model stands, in pixels, for any number of tokens, blocks and any width.

const HEADER = 56; // above the rows: the names of the columns
const LENS = 52; // below: the guesses after each block
const BEST = 7; // next tokens in the box at the right

/**
 * The layout for T tokens (at most `limit` shown, the chosen one among them) and L blocks in `width` pixels. isLow: the
 * window is so low that the next tokens stand above the picture.
 */
export function layoutOf({ T, chosen, L, width, limit, isLow }) {
  const shown = rowsOf(T, chosen, limit);
  const step = shown.length <= 12 ? 32 : shown.length <= 20 ? 27 : 24;
  const boxHeight = 26 + BEST * 26;
  const rowsHeight = Math.max(shown.length * step, 0);
  const top = HEADER, bottom = top + rowsHeight;
  const rows = shown.map((row, i) => ({ ...row, y: top + (i + 0.5) * step }));

  const isNarrow = width < 520; // too narrow to keep both ends in sight while the blocks scroll
  const isDeep = L > 6;
  const left = { width: isNarrow ? 100 : isDeep ? 108 : 116 };
  const isAbove = isNarrow || isLow; // the box of the next tokens
  const rowGuessWidth = (width >= 700 || isAbove) && !isDeep ? 100 : 0;
  const nextWidth = isAbove ? 0 : isDeep ? 126 : 140;
  const right = { width: rowGuessWidth + (nextWidth && nextWidth + 6), nextX: rowGuessWidth + 6, nextWidth, rowGuessWidth };

  const strip = isDeep ? 10 : 24, gap = isDeep ? 2 : 6;
  const ends = 18 + strip + 12 + 8 + strip + 10;
  const room = width - left.width - right.width - ends;
  const blockWidth = Math.max(isDeep ? 43 : 76, Math.min(170, Math.floor(room / L) - gap));
  const dot = Math.min(step * 0.28, isDeep ? 5 : 8); // the largest radius of a dot

  let x = 18;
  const embed = { x, width: strip };
  x += strip + 12;
  const blocks = Array.from({ length: L }, () => {
    const stripX = x + blockWidth - strip - (isDeep ? 3 : 6);
    const block = {
      x, width: blockWidth, half: Math.round(blockWidth * 0.5), isWide: blockWidth >= 120,
      arcX: x - gap, attentionX: stripX - 3.2 * dot - (isDeep ? 3 : 10), mlpX: stripX - dot - (isDeep ? 2 : 5),
      strip: { x: stripX, width: strip },
    };
    x += blockWidth + gap;
    return block;
  });
  x += 8 - gap;
  const final = { x, width: strip };
  const middle = { width: x + strip + 10 };

  const yOf = (position) => {
    const row = rows.find((r) => r.position === position);
    // A folded token stands at its fold.
    return (row ?? rows.findLast((r) => r.position === null && rows[rows.indexOf(r) - 1].position < position)).y;
  };
  const nextTop = Math.max(top - 2, Math.min(yOf(chosen) - boxHeight / 2, Math.max(bottom, top + boxHeight) - boxHeight));
  const lensWidth = Math.min(blockWidth + gap - 2, 110); // a guess ends where the strip ends that it was read from
  return {
    rows, step, top, bottom, left, middle, right, embed, blocks, final, isNarrow, isDeep, isAbove, yOf, nextTop, dot,
    height: isAbove ? bottom + LENS : Math.max(bottom + LENS, nextTop + boxHeight + 8),
    cells: isDeep ? 5 : 12,
    scrolls: room < L * (blockWidth + gap),
    lensColumns: [
      { x: embed.x + strip + 6 - Math.min(56, embed.x + strip + 6), width: Math.min(56, embed.x + strip + 6) },
      ...blocks.map((block) => ({ x: block.x + blockWidth - lensWidth + 2, width: lensWidth })),
    ],
    rowAt: (y) => rows.find((row) => Math.abs(y - row.y) <= step / 2),
  };
}

/** The rows: all tokens, or the first two, a fold, and those up to the chosen token or the end. */
function rowsOf(T, chosen, limit) {
  const all = Array.from({ length: T }, (_, position) => ({ position }));
  if (T <= limit) return all;
  const head = 2, size = limit - 4; // and at most two folds
  const end = Math.min(T, Math.max(chosen + Math.ceil(size / 4), size + head));
  const start = Math.max(head, end - size);
  const fold = (n) => (n ? [{ position: null, folded: n }] : []);
  return [...all.slice(0, head), ...fold(start - head), ...all.slice(start, end), ...fold(T - end)];
}
