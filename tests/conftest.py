import os
import textwrap
from itertools import islice

import pytest


def pytest_configure(config):
    # Only the tests of the official weights may reach for a network. Before the first import of huggingface_hub, which
    # reads this once.
    if config.option.markexpr != "official":
        os.environ["HF_HUB_OFFLINE"] = "1"
    # Models in tests are so small that the threads of BLAS and torch would only wait for each other. BLAS reads its number
    # when NumPy is imported; programs that tests start have their own.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    import numpy  # noqa: F401

    del os.environ["OPENBLAS_NUM_THREADS"]
    import hypothesis
    import torch
    import transformers
    from helpers import IS_CI

    hypothesis.settings.register_profile(
        "minigpt",
        deadline=None,
        max_examples=100 if IS_CI else 10,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
        print_blob=True,
    )
    hypothesis.settings.load_profile("minigpt")
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def pytest_report_header(config):
    if config.option.markexpr != "official":
        return "the checks against the official weights are deselected; run them with: pytest -m official"


@pytest.fixture(scope="session")
def shakespeare():
    from reference import SHAKESPEARE

    from minigpt import GPT2

    return GPT2.from_pretrained(SHAKESPEARE)


@pytest.fixture(scope="session")
def shakespeare_tokenizer():
    from reference import SHAKESPEARE

    from minigpt import Tokenizer

    return Tokenizer.from_pretrained(SHAKESPEARE)


@pytest.fixture(scope="session")
def bundled():
    """The bundled model and its tokenizer."""
    from minigpt import GPT2, Tokenizer
    from minigpt.bundled import DEFAULT_MODEL

    return GPT2.from_pretrained(DEFAULT_MODEL), Tokenizer.from_pretrained(DEFAULT_MODEL)


@pytest.fixture(scope="session")
def sample():
    """Thousands of drawn stories."""
    from helpers import examples

    from minigpt.stories import stories

    return list(stories(examples(20_000), seed=1))


@pytest.fixture(scope="session")
def story_tokenizer(tmp_path_factory):
    """A tokenizer trained on drawn stories."""
    from minigpt import Tokenizer
    from minigpt.bpe import BPE, train_bpe
    from minigpt.stories import stories

    folder = tmp_path_factory.mktemp("tokenizer")
    BPE(*train_bpe([s.text for s in stories(300, seed=4)], 1200)).save_pretrained(folder)
    return Tokenizer.from_pretrained(folder)


@pytest.fixture
def untrained_storyteller(story_tokenizer):
    """A model of that tokenizer that has not been trained."""
    from minigpt import GPT2, GPT2Config
    from minigpt.stories import SEPARATOR

    end = story_tokenizer.token_id(SEPARATOR)
    config = GPT2Config(len(story_tokenizer), 250, n_embd=8, n_layer=1, n_head=2, bos_token_id=end, eos_token_id=end)
    return GPT2.random(config, seed=0)


@pytest.fixture(scope="module")
def few_inputs():
    """Check with an eighth of the inputs: enough where the inputs are not what is tested."""
    from minigpt.exercises import checking

    drawn = checking.drawn_inputs
    checking.drawn_inputs = lambda *exercise_and_seed: islice(drawn(*exercise_and_seed), None, None, 8)
    yield
    checking.drawn_inputs = drawn


@pytest.fixture(scope="session")
def facade(tmp_path_factory):
    """A folder with the facade of minigpt that a submission sees."""
    from minigpt.classroom.facade import write_facade

    folder = tmp_path_factory.mktemp("grading") / "facade"
    write_facade(folder)
    return str(folder)


@pytest.fixture
def isolation(facade, tmp_path):
    """How submissions run in most tests: in processes of their own, as on a system without bubblewrap."""
    from minigpt.classroom.isolation import choose_isolation

    return choose_isolation("process", facade, tmp_path / "class")[0]


@pytest.fixture
def graded(tmp_path, isolation):
    """Return a function that grades a text as if it were handed in: graded(text, name of the file, limits of grade)."""
    from minigpt.classroom.grading import grade
    from minigpt.classroom.submissions import find_submissions

    def graded(text, name="anna.py", **limits):
        folder = tmp_path / "class"
        folder.mkdir(exist_ok=True)
        path = folder / name
        path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
        (submission,) = find_submissions(folder)
        return grade(submission, **{"isolation": isolation, "seconds": 600, **limits})

    return graded


@pytest.fixture
def snapshot(tmp_path):
    """Return a function that returns all files below a folder: names, contents, modes, times."""

    def snapshot():
        return {
            str(path): (path.read_bytes() if path.is_file() else b"", path.stat().st_mode, path.stat().st_mtime_ns)
            for path in sorted(tmp_path.rglob("*"))
        }

    return snapshot


@pytest.fixture
def model():
    """A small model in float64 whose biases and layer norms are not trivial."""
    from reference import TINY, lively_model

    return lively_model(TINY, seed=0)


@pytest.fixture(scope="session")
def gpt2_tokenizer():
    from pathlib import Path

    from minigpt import Tokenizer

    return Tokenizer.from_pretrained(str(Path(__file__).parent / "data" / "gpt2-tokenizer"))


@pytest.fixture(scope="session")
def chromium():
    """A browser for the tests of the page. Without one they fail."""
    import browser_helpers

    with browser_helpers.chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def page_address(bundled):
    """The address of a page of the bundled model."""
    from browser_helpers import serve_in_thread

    return serve_in_thread(*bundled)


@pytest.fixture
def open_tab(chromium):
    """Return a function that opens an address in the browser, as a Tab that is watched until the test ends."""
    from browser_helpers import Tab

    tabs = []

    def open_tab(address, **options):
        tabs.append(Tab(chromium, address, **options))
        return tabs[-1]

    yield open_tab
    for tab in tabs:
        tab.close()


@pytest.fixture
def tab(open_tab, page_address):
    """The page of the bundled model in a fresh tab."""
    return open_tab(page_address)


@pytest.fixture(scope="session")
def hostile_model(tmp_path_factory):
    """A model with a tokenizer whose vocabulary is full of HTML and invisible characters."""
    from hostile_texts import hostile_model

    return hostile_model(tmp_path_factory.mktemp("hostile"))


@pytest.fixture
def training_text(tmp_path):
    """A short text to train on, as a file."""
    path = tmp_path / "text.txt"
    path.write_text("the cat sat on the mat and the dog sat on the log.\n" * 60, encoding="utf-8")
    return path


@pytest.fixture(autouse=True, scope="module")
def fresh_threads():
    """Give the next test file the threads of a fresh process, whatever this one has set: one for BLAS, as said above."""
    yield
    from minigpt.ops import threads

    threads._chosen.clear()
    if threads.openblas() is not None:
        threads.openblas().set_threads(1)
