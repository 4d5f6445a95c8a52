// The texts of tokens of the vocabulary, asked for once.

const known = new Map(); // "model id" -> text

/** The texts of these ids, in their order. */
export async function vocabularyTexts(app, ids) {
  const key = (id) => `${app.run.model} ${id}`;
  const missing = ids.filter((id) => !known.has(key(id)));
  if (missing.length) {
    const { texts } = await app.source.ask({ ask: "tokens", ids: missing, run: app.run.run });
    missing.forEach((id, i) => known.set(key(id), texts[i]));
  }
  return ids.map((id) => known.get(key(id)));
}
