"""The page in a notebook: what is displayed, and the messages between the kernel and the frame."""

import json
import subprocess
import sys

import numpy as np
import pytest
from letter_models import letter_model, letter_tokenizer
from test_server import decoded

import minigpt
from minigpt.looking import source
from minigpt.page import widget as page_widget
from minigpt.page.widget import WIDGET_VIEW, make_widget, show_live

TEXT = "Once upon a time"


class FakeComm:
    """What a widget sees of the channel to the notebook. sent: [(content, buffers)]."""

    comm_id = "1"

    def __init__(self, *arguments, **options):
        self.sent, self.receive = [], None

    def send(self, data=None, metadata=None, buffers=None):
        if data["method"] == "custom":
            self.sent.append((data["content"], buffers))

    def on_msg(self, callback):
        self.receive = callback

    def ask(self, content):
        """Send a message as widget.js does, and return the answer."""
        data = {"method": "custom", "content": json.loads(json.dumps(content))}
        self.receive({"content": {"data": data}, "buffers": []})
        return self.sent.pop()

    def close(self, *arguments, **options):
        pass


@pytest.fixture
def comm(monkeypatch):
    pytest.importorskip("anywidget")
    import comm

    comms = []

    def create(*arguments, **options):
        comms.append(FakeComm())
        return comms[-1]

    monkeypatch.setattr(comm, "create_comm", create)
    return comms


@pytest.fixture
def displayed(monkeypatch):
    """A list of what a notebook gets to display."""
    from IPython import display

    shown = []
    monkeypatch.setattr(page_widget, "in_notebook", lambda: True)
    monkeypatch.setattr(display, "display", lambda data, raw: shown.append(data))
    return shown


def test_messages_carry_questions_and_answers(comm, bundled):
    widget = make_widget(minigpt.step(*bundled, TEXT))
    channel = comm[-1]  # the first is that of the layout
    page, (html,) = channel.ask({"id": ["view", "page"], "question": {"ask": "page"}})
    assert page == {"id": ["view", "page"]} and b'<html data-source="frame"' in html and b"</html>" in html
    content, (answer,) = channel.ask({"id": ["view", 1], "question": {"ask": "run", "text": TEXT}})
    run = decoded(answer)
    assert content == {"id": ["view", 1]} and run["tokens"] == ["Once", " upon", " a", " time"]
    question = {"ask": "numbers", "run": run["run"], "of": [["h.0.attn.weights", [None, 3, None]]]}
    _, (answer,) = channel.ask({"id": ["view", 2], "question": question})
    trace = {}
    bundled[0](run["ids"], trace=trace)
    assert np.array_equal(decoded(answer)["arrays"][0], trace["h.0.attn.weights"][0, :, 3])
    content, _ = channel.ask({"id": ["view", 3], "question": {"ask": "run", "text": ""}})
    assert content["id"] == ["view", 3] and "the text is empty" in content["error"]
    for question in (None, [], {"ask": None}):
        assert "error" in channel.ask({"id": 4, "question": question})[0]
    # What has no id is no question.
    channel.receive({"content": {"data": {"method": "custom", "content": "hello"}}, "buffers": []})
    assert not channel.sent and widget.picture_id.startswith("minigpt-")


def test_the_page_is_not_stored_with_the_notebook(comm, bundled):
    widget = make_widget(minigpt.step(*bundled, TEXT))
    assert len(json.dumps({name: str(value) for name, value in widget.get_state().items()})) < 20_000


def test_a_notebook_gets_the_picture_and_the_page(comm, displayed, bundled):
    steps = minigpt.step(*bundled, TEXT)
    show_live(steps)
    picture, page = displayed
    assert steps._repr_html_() in picture["text/html"] and picture["text/plain"] == str(steps)
    # A notebook that is read without a kernel shows the picture and nothing of the page.
    assert set(page) == {WIDGET_VIEW, "text/plain"} and page["text/plain"] == ""
    assert page[WIDGET_VIEW]["model_id"]


IMPORTS = (
    "from minigpt.looking import step",
    "from minigpt.looking.stepping import step",
    "from minigpt import step",
)


@pytest.mark.parametrize("line", IMPORTS)
def test_a_notebook_shows_the_page_wherever_step_comes_from(line):
    pytest.importorskip("anywidget")
    code = f"""
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display
from IPython.utils.capture import capture_output
shell = InteractiveShell.instance()
{line}
for kernel in (False, True):
    if kernel:
        shell.kernel = None  # what a notebook's shell has
    with capture_output() as shown:
        display(step("stories", "Once"))
    print([sorted(output.data) for output in shown.outputs])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    in_terminal = [["text/html", "text/plain"]]
    assert result.stdout == f"{in_terminal}\n{[*in_terminal, sorted([WIDGET_VIEW, 'text/plain'])]}\n", result.stderr


def test_where_there_can_be_no_page(comm, displayed, bundled, monkeypatch):
    model = letter_model()
    edited = minigpt.step(model, letter_tokenizer(model), "abc", edit={"embed": np.zeros_like})
    long = minigpt.step(letter_model(n_positions=300), letter_tokenizer(model), "a" * 257)
    for steps in (edited, long):
        with pytest.raises(NotImplementedError):  # IPython then shows the picture, as always
            show_live(steps)
    steps = minigpt.step(*bundled, TEXT)
    page_widget.step_widget_class.cache_clear()
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(NotImplementedError):
        show_live(steps)
    monkeypatch.setattr(page_widget, "in_notebook", source.in_notebook)
    with pytest.raises(NotImplementedError):
        show_live(steps)
    assert not displayed and not comm


def test_step_imports_no_widget():
    code = """
import sys
import minigpt
steps = minigpt.step("stories", "Once")
steps._repr_html_()
print(sorted({"anywidget", "ipywidgets", "IPython", "starlette", "uvicorn", "minigpt.page.session"} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "[]\n", result.stderr
