// Where in a text the next token is least certain: there, temperature and the filters have something to choose from.

const found = new WeakMap(); // run -> promise of the position

/** The position after which the next token is least certain: a promise of {position, best: the best token's probability}. */
export function mostOpenPosition(app, run = app.run) {
  if (!found.has(run)) {
    const answer = search(app, run);
    found.set(run, answer);
    answer.catch(() => found.delete(run));
  }
  return found.get(run);
}

async function search(app, run) {
  const { arrays: [entropies, largest] } = await app.source.ask({ ask: "uncertainty", run: run.run });
  const position = entropies.data.reduce((open, x, t, all) => (x > all[open] ? t : open), 0);
  return { position, best: largest.data[position] };
}
