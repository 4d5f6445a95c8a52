"""The page in a notebook, in a real browser: the widget's own JavaScript and Python, and a channel between them."""

import base64
import json

import pytest
from browser_helpers import TEXT, VIEWS
from page_checks import assert_numbers_are_those_of, trace_of
from test_widget import FakeComm

import minigpt
from minigpt.page.modules import POLICY
from minigpt.page.widget import SCRIPT, make_widget

pytestmark = pytest.mark.browser

# What anywidget does in a notebook: the module gets a model that sends to the kernel and hears its answers.
NOTEBOOK = """<!doctype html><title>a notebook</title>
<div id="PICTURE">the static picture</div><div id="output"></div>
<script type="module">
import widget from "data:text/javascript;base64,SCRIPT";
const handlers = [];
const model = {
  get: () => "PICTURE",
  on: (_, f) => handlers.push(f),
  off: () => {},
  send: async (content) => {
    const [answer, text] = await toKernel(JSON.stringify(content));
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    for (const f of handlers) f(answer, [new DataView(bytes.buffer)]);
  },
};
widget.render({model, el: document.getElementById("output")});
</script>
"""


@pytest.fixture
def notebook_file(tmp_path, bundled, monkeypatch):
    """The address of a file that shows a widget as a notebook does, and its function toKernel."""
    pytest.importorskip("anywidget")
    import comm

    comms = []
    monkeypatch.setattr(comm, "create_comm", lambda *arguments, **options: comms.append(FakeComm()) or comms[-1])
    widget = make_widget(minigpt.step(*bundled, TEXT))
    script = base64.b64encode(SCRIPT.read_bytes()).decode()
    page = NOTEBOOK.replace("PICTURE", widget.picture_id).replace("SCRIPT", script)
    (tmp_path / "notebook.html").write_text(page, encoding="utf-8")

    def to_kernel(content):
        answer, buffers = comms[-1].ask(json.loads(content))
        return answer, base64.b64encode(buffers[0]).decode()

    return (tmp_path / "notebook.html").as_uri(), to_kernel


@pytest.fixture
def notebook(open_tab, notebook_file):
    """The page of a widget in a frame, without a network."""
    address, to_kernel = notebook_file
    return open_tab(address, is_offline=True, in_frame=True, functions={"toKernel": to_kernel})


def test_the_page_works_in_the_frame_of_a_notebook(notebook, bundled):
    model, tokenizer = bundled
    tab = notebook
    assert tab.page.page.is_hidden("text=the static picture")
    trace = trace_of(model, tokenizer.encode(TEXT))
    for view in VIEWS:
        tab.go(view)
        assert tab.page.locator("#view .bad").count() == 0, view
        assert_numbers_are_those_of(trace, tab.numbers("#view"))
    tab.go("changes")
    tab.click('[aria-label="switch off the MLP of block 1"]')
    changed = trace_of(model, tokenizer.encode(TEXT), edit={"h.1.mlp.out": lambda x: 0 * x})
    tab.why("h.2.attn.q", 1, 5, 3)
    assert float(tab.page.get_attribute(".why-value", "data-value")) == pytest.approx(
        float(changed["h.2.attn.q"][1, 5, 3]), abs=1e-5
    )


def test_the_way_back_in_a_frame_is_its_own(notebook):
    notebook_page = notebook.page.page
    before = notebook_page.evaluate("[location.href, history.length]")
    places = [notebook.place()]
    for view in ("attention", "next"):
        places.append(notebook.go(view, layer=1, token=3).place())
    notebook.why("logits", 3, 5)
    notebook.type_text("the fox")
    assert notebook.place()["view"] == "next" and notebook.run()["text"] == "the fox"
    notebook.click("#back")
    assert notebook.run()["text"] == TEXT and notebook.place()["why"] == {"name": "logits", "index": [3, 5]}
    notebook.leave_field()
    for place in reversed(places):
        notebook.press("Backspace")
        assert notebook.place() == place
    assert notebook.page.is_disabled("#back")
    assert notebook_page.evaluate("[location.href, history.length]") == before
    assert notebook.page.evaluate("location.hash") == ""


def test_an_error_of_the_kernel_is_a_sentence(notebook):
    notebook.type_text("fox " * 300)
    assert "tokens" in notebook.text("#status")
    notebook.type_text("the fox")
    assert notebook.run()["text"] == "the fox"


def test_in_a_browser_that_is_too_old_the_picture_stays(chromium, notebook_file, monkeypatch):
    # In the page itself, because the frame may run an init script too late.
    monkeypatch.setattr("minigpt.page.modules.POLICY", f"{POLICY}<script>CSS.supports = () => false</script>")
    address, to_kernel = notebook_file
    page = chromium.new_page()
    page.expose_function("toKernel", to_kernel)
    page.goto(address)
    page.get_by_text("too old for this page, which needs Chrome 123").wait_for()
    assert page.is_visible("text=the static picture") and page.locator("iframe").count() == 0
    page.close()
