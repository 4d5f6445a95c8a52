// Where the numbers come from. A source answers questions: ask({ask: "numbers", run, of}) and so on; see
// minigpt/page/README.md. The answer is an object; its arrays are [{shape, data}], data a typed array.

/** The program could not be reached: of the question nothing is known. */
export class NoAnswer extends Error {}

function noAnswer() {
  throw new NoAnswer("the program does not answer: is `minigpt step --open` still running?");
}

/** The server of `minigpt step --open`. */
export class HttpSource {
  async ask(question) {
    const response = await fetch("ask", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(question),
    }).catch(noAnswer);
    if (!response.ok) throw new Error((await response.json().catch(() => ({}))).error ?? `error ${response.status}`);
    return unpack(await response.arrayBuffer().catch(noAnswer));
  }
}

/** The kernel of a notebook: the page is in a frame, and the frame around it passes questions on. */
export class FrameSource {
  #waiting = new Map();
  #count = 0;

  constructor() {
    addEventListener("message", (event) => {
      if (event.source !== parent || !this.#waiting.has(event.data?.id)) return;
      const [resolve, reject] = this.#waiting.get(event.data.id);
      this.#waiting.delete(event.data.id);
      if (event.data.error) reject(new Error(event.data.error));
      else resolve(unpack(event.data.answer));
    });
  }

  ask(question) {
    return new Promise((resolve, reject) => {
      const id = ++this.#count;
      this.#waiting.set(id, [resolve, reject]);
      parent.postMessage({ id, question }, "*");
    });
  }
}

/** Read an answer: its length as uint32, the head as JSON, then the arrays, each padded to 8 bytes. */
export function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let offset = 4 + length;
  head.arrays = (head.arrays ?? []).map(({ shape, dtype }) => {
    const size = shape.reduce((product, n) => product * n, 1);
    const Type = { float64: Float64Array, int32: Int32Array }[dtype] ?? Float32Array;
    const data = new Type(buffer, offset, size);
    offset += Math.ceil(data.byteLength / 8) * 8;
    return { shape, data };
  });
  return head;
}
