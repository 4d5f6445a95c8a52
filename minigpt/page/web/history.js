// The way back. A page with an address of its own has the browser's: every place is an entry there, and the page's Back
// is the browser's. The page in the frame of a notebook keeps its way to itself, because the notebook's is not its own.
// Both call onmove(address) when the reader has gone back or forward.

const MOST = 90, SECONDS = 30; // Safari allows 100 changes of the address in that time, and Chrome somewhat more

export function openHistory() {
  return document.documentElement.dataset.source === "frame" ? new OwnHistory() : new BrowserHistory();
}

class OwnHistory {
  #entries = [""];
  onmove = null;

  get address() {
    return this.#entries.at(-1);
  }

  get canGoBack() {
    return this.#entries.length > 1;
  }

  push(address) {
    if (address !== this.address) this.#entries.push(address);
  }

  replace(address) {
    this.#entries[this.#entries.length - 1] = address;
  }

  back() {
    this.#entries.pop();
    this.onmove(this.address);
  }
}

class BrowserHistory {
  #shown = this.address; // what the page shows, or is about to
  #depth = history.state?.depth ?? 0; // the page's own entries before this one
  #waiting = null; // {address, isNew}: to be written
  #timer = null;
  #times = []; // of the last changes
  onmove = null;

  constructor() {
    // Two entries next to each other may have the same address: going from one to the other is a move, too.
    addEventListener("popstate", () => {
      this.#depth = history.state?.depth ?? this.#depth + 1; // an address that was typed has no state
      this.#moveTo(this.address);
    });
  }

  get address() {
    return location.hash.slice(1);
  }

  get canGoBack() {
    return this.#depth > 0 || this.#waiting !== null;
  }

  push(address) {
    if (address !== this.#shown) this.#write(address, true);
  }

  replace(address) {
    this.#write(address, false);
  }

  back() {
    if (this.#waiting) this.#moveTo(this.address); // the place that is left has no entry yet
    else history.back();
  }

  #moveTo(address) {
    this.#waiting = null;
    this.#shown = address;
    this.onmove(address);
  }

  /** Places in quick succession, as a key that is held down makes them, wait, and become one entry. */
  #write(address, isNew) {
    this.#shown = address;
    this.#waiting = { address, isNew: isNew || Boolean(this.#waiting?.isNew) };
    if (this.#timer === null) this.#writeNow();
  }

  #writeNow() {
    const now = Date.now();
    this.#times = this.#times.filter((time) => now - time < 1000 * SECONDS);
    if (!this.#waiting) return;
    if (this.#times.length >= MOST) {
      this.#timer = setTimeout(() => {
        this.#timer = null;
        this.#writeNow();
      }, 1000 * SECONDS - (now - this.#times[0]));
      return;
    }
    const { address, isNew } = this.#waiting;
    this.#waiting = null;
    this.#times.push(now);
    if (isNew) this.#depth++;
    history[isNew ? "pushState" : "replaceState"]({ depth: this.#depth }, "", `#${address}`);
  }
}
