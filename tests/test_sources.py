"""Reading notebooks and Python files: magics, syntax errors, positions, files of other kinds."""

import re

import pytest
from class_helpers import MERGE_HEADS, SOFTMAX, open_text, passed, verdicts
from helpers import notebook

from minigpt.classroom.checks import check_workbook, open_workbook

pytestmark = pytest.mark.usefixtures("few_inputs")


def test_magics_and_cells_in_other_languages_do_not_run(tmp_path):
    book = open_text(
        tmp_path / "mine.ipynb",
        notebook(
            "%matplotlib inline\nimport numpy as np\n!rm -rf mine\nfiles = !ls\nlater = %time 3\nnp.exp?",
            f"%%time\n{SOFTMAX}",
            "%%bash\nif then: else",
            "%timeit softmax(3)",
            "def scores(q, k):\n    %time s = q @ k.T\n    !date\n    text = '''\n%s\n''' % 3\n    return s / np.sqrt(q.shape[1])",
            'def merge_heads(x):\n    """\n    %time is of no concern\n    """\n    return (x\n    % 10**9).swapaxes(1, 2).reshape(*x.shape[::2], -1)',
        ),
    )
    assert book.problems == []
    results = verdicts(book)
    assert sorted(results) == ["merge_heads", "scores", "softmax"]
    assert results["softmax"].startswith("right, on")
    assert "name 's' is not defined" in results["scores"] and "(cell 5, line 7" in results["scores"]


def test_a_syntax_error_fails_only_what_its_cell_defines(tmp_path):
    path = tmp_path / "mine.ipynb"
    broken = "x = 1\ndef scores(q, k:\n    return q"
    text = {"cell_type": "markdown", "source": "not code"}
    book = open_text(path, notebook("import numpy as np", text, "", SOFTMAX, broken, MERGE_HEADS, "y = '\0'"))
    results = verdicts(book)
    assert passed(check_workbook(book)) == ["merge_heads", "softmax"] and sorted(results) == ["merge_heads", "scores", "softmax"]  # fmt: skip
    assert results["scores"] == "SyntaxError: '(' was never closed (cell 3, line 2: def scores(q, k:)"
    assert len(book.problems) == 2 and "cell 5" in book.problems[1]
    # The earlier definition stays, as in Jupyter.
    assert passed(check_workbook(open_text(path, notebook(f"import numpy as np{SOFTMAX}", "def softmax(x:")))) == [
        "softmax"
    ]


def test_error_messages_name_cell_and_line(tmp_path):
    source = "import numpy as np\n\ndef softmax(x):\n    y = np.exp(x)\n    return y / z"
    book = open_text(tmp_path / "mine.ipynb", notebook("import numpy as np", "z = train(3)", source))
    verdict = verdicts(book)["softmax"]
    assert verdict.startswith("NameError: name 'z' is not defined (cell 3, line 5: return y / z)")
    assert "cell 2, line 1 would set it, but does not run" in verdict
    verdict = verdicts(open_text(tmp_path / "mine.py", f"z = train(3)\n{source}"))["softmax"]
    assert verdict.startswith("NameError: name 'z' is not defined (line 6: return y / z): line 1 would set it")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("empty.py", b"", "empty.py defines no exercise; `minigpt exercises list`"),
        ("broken.py", b"def f(:", "broken.py defines no exercise; SyntaxError: invalid syntax (line 1: def f(:)"),
        ("latin.py", "x = 'é'".encode("latin-1"), "latin.py is not a text in UTF-8"),
        ("mine.txt", b"", "mine.txt is neither a Python file (.py) nor a notebook (.ipynb)"),
        ("old.ipynb", b'{"worksheets": []}', "old.ipynb is not a notebook"),
        ("deep.ipynb", b"[" * 100_000, "deep.ipynb is not a notebook"),
        ("list.ipynb", b'{"cells": [{"cell_type": "code", "source": 3}]}', "list.ipynb is not a notebook"),
        ("latin.ipynb", b'{"cells": [], "\xff": 3}', "latin.ipynb is not a notebook"),
    ],
)
def test_a_file_that_is_not_a_workbook_is_refused(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(sentence)):
        open_workbook(tmp_path / name)
