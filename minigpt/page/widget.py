"""The result of `step` in a notebook: the page, live against the kernel, if anywidget is installed.

The page stands in a frame of its own, so that neither the notebook's styles nor its scripts meet those of the page.
widget.js passes the frame's questions to the kernel. The static picture is an output of its own, which the widget
hides: a notebook that is opened again without this kernel shows it, and so does GitHub. Nothing of this is imported
before a notebook displays a result.
"""

import secrets
from functools import cache
from pathlib import Path

from minigpt.looking.source import in_notebook
from minigpt.looking.stepping import Steps

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
SCRIPT = Path(__file__).parent / "widget.js"


def show_live(steps: Steps) -> None:
    """Show the picture of Steps and the page over it. minigpt/__init__.py tells IPython to call it.

    Raises NotImplementedError, having shown nothing, where there is no page: IPython then uses _repr_html_ or __repr__.
    """
    widget = make_widget(steps) if in_notebook() else None
    if widget is None:
        raise NotImplementedError
    from IPython.display import display  # here, because only a notebook needs it

    picture = f'<div id="{widget.picture_id}">{steps._repr_html_()}</div>'
    display({"text/html": picture, "text/plain": repr(steps)}, raw=True)
    display({WIDGET_VIEW: widget._repr_mimebundle_()[0][WIDGET_VIEW], "text/plain": ""}, raw=True)


def make_widget(steps: Steps):
    """Return a widget with the page of Steps, or None where there can be none."""
    try:
        widget_class = step_widget_class()
    except ImportError:
        return None
    from minigpt.page.session import Session  # here, because only a notebook needs it

    numbers = steps.numbers
    session = Session(numbers.model, numbers.tokenizer, numbers.tokenizer.decode(numbers.ids))
    # The page cannot make changes that are functions.
    if numbers.edited or len(numbers.ids) > session.models.first.max_tokens:
        return None
    return widget_class(session)


@cache
def step_widget_class():
    """Return the class of the widget. Raises ImportError without anywidget."""
    import anywidget  # here, because only a notebook needs them
    import traitlets

    from minigpt.page.modules import page_html
    from minigpt.page.wire import answer_bytes

    class StepWidget(anywidget.AnyWidget):
        """The page in a frame. picture_id: of the HTML element with the static picture, which the page hides."""

        _esm = SCRIPT.read_text(encoding="utf-8")
        picture_id = traitlets.Unicode().tag(sync=True)

        def __init__(self, session):
            super().__init__(picture_id=f"minigpt-{secrets.token_hex(8)}")
            self._session = session
            self.on_msg(self._answer)

        def _answer(self, _, content, buffers):
            """Answer a message {id, question}: {id} with the answer's bytes as a buffer, or {id, error}."""
            if not isinstance(content, dict) or "id" not in content:
                return
            question = content.get("question")
            if question == {"ask": "page"}:  # not part of the widget's state, which is saved with the notebook
                self.send({"id": content["id"]}, [page_html("frame").encode()])
                return
            answer, error = answer_bytes(self._session, question)
            self.send({"id": content["id"], "error": error} if error else {"id": content["id"]}, [answer])

    return StepWidget
