"""The page in a real browser: Chromium, driven by Playwright, with servers in threads of this process.

A Tab is a page that is watched: an error in its console, an exception, or a request to anywhere but the page's own
address fails the test. There is no waiting for a time to pass: `Tab.settled` waits until the page has asked and drawn
everything.
"""

import contextlib
import json
import os
import queue
import shutil
import threading

VIEWS = (
    "overview", "activation", "attention", "vectors", "mlp", "norm", "stream", "lens", "next", "beams", "compare",
    "changes",
)  # fmt: skip
TEXT = "Once upon a time there was a little fox"
DESKTOP, PROJECTOR, PHONE = (1366, 768), (683, 384), (360, 740)
CHROMIUM_NAMES = ("chromium", "google-chrome", "chromium-browser")
CHROMIUM_OPTIONS = [
    "--no-sandbox",  # of a container's root, who cannot have one
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SECONDS = 60  # far more than anything takes: only a page that hangs reaches this limit

# Runs before the page's own scripts, and counts the questions that are not answered yet. A page that has no open
# question, and two frames in which it asks nothing, has drawn everything.
COUNT_QUESTIONS = """
globalThis.openQuestions = 0;
function count(app) {
  const ask = app.source.ask.bind(app.source);
  app.source.ask = async (question) => {
    openQuestions++;
    try {
      return await ask(question);
    } finally {
      openQuestions--;
    }
  };
  Object.defineProperty(globalThis, "minigpt", {value: app, configurable: true});
}
if (globalThis.minigpt) count(minigpt); // in a frame, this may run after the page's scripts
else Object.defineProperty(globalThis, "minigpt", {configurable: true, set: count});
"""
SETTLE = """
async (seconds) => {
  const end = performance.now() + 1000 * seconds;
  for (let quiet = 0; quiet < 2; ) {
    await new Promise(requestAnimationFrame);
    const busy = globalThis.openQuestions || document.querySelector('[aria-busy="true"]');
    quiet = busy ? 0 : quiet + 1;
    if (performance.now() > end) throw new Error(`the page is still at work: ${openQuestions} open questions`);
  }
}
"""
STARTED = """
async (seconds) => {
  const end = performance.now() + 1000 * seconds;
  while (!globalThis.minigpt?.run) {
    if (performance.now() > end) throw new Error(document.body.innerText.slice(0, 300));
    await new Promise(requestAnimationFrame);
  }
}
"""


def chromium_path():
    """Return the path of Chromium. Raises RuntimeError, because a missing browser must not look like a passed test."""
    named = os.environ.get("MINIGPT_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if not found:
        raise RuntimeError(
            "there is no Chromium: install it (apt-get install chromium), or name it in MINIGPT_CHROMIUM"
        )
    return found


@contextlib.contextmanager
def chromium():
    """Start a browser for a while. Raises ImportError without Playwright, RuntimeError without Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()


def serve_in_thread(model, tokenizer, text=TEXT):
    """Serve the page of a model from a thread, as `minigpt step --open` does, and return its address."""
    from minigpt.page.server import serve
    from minigpt.page.session import Session

    addresses = queue.Queue()
    options = {"opens_browser": False, "announce": addresses.put}
    threading.Thread(target=serve, args=(Session(model, tokenizer, text),), kwargs=options, daemon=True).start()
    return addresses.get(timeout=SECONDS)


class Tab:
    """A page in the browser that is watched. `page` is Playwright's Page, or its Frame of a page in a frame.

    is_offline: the network is cut off. functions: Python that the page can call, by name. place: the part of the
    address behind #, with the #.
    """

    def __init__(
        self, browser, address, size=DESKTOP, is_offline=False, in_frame=False, functions=None, place="", **options
    ):
        self.address = address
        self.faults = []
        self.expected = []  # parts of faults that a test provokes
        width, height = size
        self.context = browser.new_context(viewport={"width": width, "height": height}, **options)
        self.context.set_default_timeout(1000 * SECONDS)
        self.context.on("request", self._watch_request)
        self.context.on("response", self._watch_response)
        self.context.on("console", self._watch_console)
        self.context.on("weberror", lambda error: self.faults.append(f"exception: {error.error}"))
        if is_offline:
            self.context.set_offline(True)
            self.context.route(lambda url: not url.startswith("file:"), lambda route: route.abort())
        self.context.add_init_script(COUNT_QUESTIONS)
        for name, function in (functions or {}).items():
            self.context.expose_function(name, function)
        try:
            self._open(address + place, in_frame)
        except Exception as error:
            raise AssertionError(f"the page does not open: {error} {self.faults}") from error

    def _open(self, address, in_frame):
        self.page = self.context.new_page()
        self.keyboard = self.page.keyboard
        self.page.goto(address)
        if in_frame:
            self.page = self.page.wait_for_selector("iframe", state="attached").content_frame()
            self.page.wait_for_load_state()
        self.page.evaluate(STARTED, SECONDS)
        self.settled()

    def _watch_request(self, request):
        if not request.url.startswith((self.address, "data:", "blob:", "about:")):
            self.faults.append(f"request: {request.url}")

    def _watch_response(self, response):
        if response.status >= 400:
            self.faults.append(f"status {response.status}: {response.request.url} {response.request.post_data}")

    def _watch_console(self, message):
        # That a resource could not be loaded is told above, with the question.
        if message.type in ("error", "warning", "assert") and "status of" not in message.text:
            self.faults.append(f"console: {message.text}")

    def expect_fault(self, part):
        """Say that a fault with this text is meant to happen."""
        self.expected.append(part)

    def close(self):
        """Close the page. Raises AssertionError if anything went wrong on it."""
        self.context.close()
        faults = [fault for fault in self.faults if not any(part in fault for part in self.expected)]
        assert not faults, faults

    # What a person does. Each returns when the page has drawn everything.

    def settled(self):
        self.page.evaluate(SETTLE, SECONDS)
        return self

    def go(self, view, **place):
        """Go to a place, as a click on a tab or in the map does."""
        self.page.evaluate("(place) => minigpt.go(place)", {"view": view, **place})
        return self.settled()

    def why(self, name, *index):
        """Ask where a number comes from, as a click on it does."""
        self.page.evaluate("([name, index]) => minigpt.why(name, index)", [name, index])
        return self.settled()

    def reload(self):
        self.page.reload()
        self.page.evaluate(STARTED, SECONDS)
        return self.settled()

    def go_back(self):
        """Go back as the browser's own button does."""
        self.page.go_back()
        return self.settled()

    def go_forward(self):
        self.page.go_forward()
        return self.settled()

    def click(self, selector):
        self.page.click(selector)
        return self.settled()

    def press(self, *keys):
        for key in keys:
            self.keyboard.press(key)
            self.settled()
        return self

    def type_text(self, text):
        """Write a text into the field and press Enter."""
        self.page.fill("#text", text)
        self.page.focus("#text")
        return self.press("Enter")

    def leave_field(self):
        """Take the focus out of any field, so that keys are for the page."""
        self.page.evaluate("document.activeElement.blur()")
        return self

    # What a person sees.

    def text(self, selector):
        return self.page.inner_text(selector)

    def texts(self, selector):
        return self.page.locator(selector).all_inner_texts()

    def place(self):
        return json.loads(self.page.evaluate("JSON.stringify(minigpt.place)"))  # without what is undefined

    def address_of_place(self):
        """Return the part of the address behind #, with the #."""
        return self.page.evaluate("location.hash")

    def run(self):
        """Return the run that is shown: its ids, tokens, changes, code."""
        return self.page.evaluate(
            "({ids, tokens, text, changes, code, model}) => ({ids, tokens, text, changes, code, model})",
            self.page.evaluate_handle("minigpt.run"),
        )

    def numbers(self, selector="body"):
        """Return all numbers with a name below an element: [(name, index, value, text on the screen)]."""
        found = self.page.eval_on_selector_all(
            f":is({selector}) [data-name][data-index][data-value]",
            "(elements) => elements.map((e) => [e.dataset.name, e.dataset.index, e.dataset.value, e.textContent])",
        )
        return [
            (name, tuple(int(i) for i in index.split(",")), float(value), text) for name, index, value, text in found
        ]

    def module(self, name, script, argument=None):
        """Call script(module, argument) with one of the page's own modules, and return the answer."""
        address = "document.getElementById('data') ? 'minigpt/NAME' : new URL('NAME', document.baseURI)"
        return self.page.evaluate(
            f"async (argument) => ({script})(await import({address.replace('NAME', name)}), argument)", argument
        )
