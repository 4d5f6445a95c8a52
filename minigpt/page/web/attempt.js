// Work that may fail: the status line says what went wrong.

/** Do something that may fail; say what went wrong, and return null. */
export async function attempt(app, work) {
  try {
    app.say("");
    return await work();
  } catch (error) {
    app.say(error.message, true);
    return null;
  }
}
