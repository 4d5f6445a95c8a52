"""What becomes of grades: points, files for Moodle, Canvas and Gradescope, and a page for each student."""

import csv
import json
import zipfile

import pytest
from class_helpers import MERGE_HEADS, RIGHT, SOFTMAX
from helpers import fails_with, run_here

from minigpt.classroom.copies import exercises_by_notebook
from minigpt.classroom.grading import Grade
from minigpt.classroom.reports import chosen_points, feedback_page, safe, write_feedback
from minigpt.classroom.submissions import find_submissions, ignored_files
from minigpt.exercises import EXERCISES

pytestmark = pytest.mark.usefixtures("few_inputs")
WRONG = "import numpy as np\ndef softmax(x):\n    return np.exp(x)\n"


def grade_folder(folder, *options):
    result = run_here("exercises", "grade", folder, *options, "--isolation", "process", "--jobs", 1, "--seed", 7)
    assert result.returncode == 0, result
    assert "--seed 7," in result.stdout and "without bubblewrap" in result.stdout
    return result


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_points_and_choice(tmp_path):
    points = tmp_path / "points.toml"
    points.write_text("softmax = 2\ngelu = 0.5\n")
    assert chosen_points(None, None) is None
    assert chosen_points(None, points) == {"softmax": 2, "gelu": 0.5}
    assert chosen_points("scores, softmax", points) == {"softmax": 2, "scores": 1}
    names = exercises_by_notebook(EXERCISES)["03_attention"]
    assert chosen_points("03_attention") == dict.fromkeys(names, 1)
    with pytest.raises(ValueError, match="there is no exercise 'softmx'; did you mean 'softmax'"):
        chosen_points("softmx")
    for text, sentence in (
        ("softmx = 1", "did you mean 'softmax'"),
        ("softmax = -1", "softmax = -1 is not a number of points"),
        ("softmax = true", "is not a number of points"),
        ("softmax", "is not TOML"),
    ):
        points.write_text(text)
        with pytest.raises(ValueError, match=sentence):
            chosen_points(None, points)


def test_points_are_counted_and_there_is_one_denominator(tmp_path):
    folder, points, out = tmp_path / "class", tmp_path / "points.toml", tmp_path / "out.csv"
    folder.mkdir()
    (folder / "anna.py").write_text(RIGHT)
    (folder / "ben.py").write_text(WRONG + MERGE_HEADS)
    (folder / "carl.py").write_text(f"import numpy as np{SOFTMAX}")
    points.write_text("softmax = 2\nmerge_heads = 0.5\ngelu = 3\n")
    result = grade_folder(folder, "--csv", out, "--points", points)
    assert [line.split()[1:4] for line in result.stdout.splitlines()[:3]] == [
        ["2.5", "/", "5.5"], ["0.5", "/", "5.5"], ["2", "/", "5.5"],
    ]  # fmt: skip
    assert [(row["score"], row["out of"]) for row in rows_of(out)] == [("2.5", "5.5"), ("0.5", "5.5"), ("2", "5.5")]
    result = grade_folder(folder, "--csv", out)
    assert [(row["score"], row["out of"]) for row in rows_of(out)] == [("2", "2"), ("1", "2"), ("1", "2")]
    result = grade_folder(folder, "--csv", out, "--exercises", "merge_heads")
    assert [(row["score"], row["out of"]) for row in rows_of(out)] == [("1", "1"), ("1", "1"), ("0", "1")]


def test_moodle_gets_its_columns_and_participants(tmp_path):
    folder, out = tmp_path / "class", tmp_path / "moodle.csv"
    (folder / "Anna Li_4711_assignsubmission_file_").mkdir(parents=True)
    (folder / "Anna Li_4711_assignsubmission_file_" / "mine.py").write_text(RIGHT)
    (folder / "=Ben O'Neil_12_assignsubmission_file_a.py").write_text(WRONG)
    (folder / "=Ben O'Neil_12_assignsubmission_file_b.py").write_text(MERGE_HEADS)
    (folder / "=Ben O'Neil_12_assignsubmission_file_c.py").write_text("<img src=x>")
    grade_folder(folder, "--moodle", out)
    ben, anna = rows_of(out)
    assert list(anna) == [
        "Identifier", "Full name", "Grade", "Maximum Grade", "Last modified (grade)", "Feedback comments",
    ]  # fmt: skip
    assert (anna["Identifier"], anna["Full name"], anna["Grade"]) == ("Participant 4711", "Anna Li", "2")
    assert (ben["Identifier"], ben["Full name"], ben["Grade"]) == ("Participant 12", "'=Ben O'Neil", "1")
    assert ben["Maximum Grade"] == anna["Maximum Grade"] == "2"
    assert ben["Feedback comments"].startswith("softmax: You return exp(x).") and anna["Feedback comments"] == ""
    assert "&lt;img src" in ben["Feedback comments"] and "<img" not in ben["Feedback comments"]  # Moodle reads HTML
    (folder / "carl.py").write_text(RIGHT)
    options = ("exercises", "grade", folder, "--moodle", out)
    fails_with("carl.py does not say which student of Moodle it is", *options, run=run_here)


def test_canvas_gets_its_columns_and_ids(tmp_path):
    folder, out = tmp_path / "class", tmp_path / "canvas.csv"
    folder.mkdir()
    (folder / "lianna_4711_99_softmax.py").write_text(RIGHT.replace("merge_heads", "other"))
    (folder / "lianna_4711_100_heads-1.py").write_text(MERGE_HEADS)
    (folder / "oneilben_LATE_12_101_mine.py").write_text(WRONG)
    grade_folder(folder, "--canvas", out, "--assignment", "Week 3 (81234)")
    points, anna, ben = rows_of(out)
    assert list(points) == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Week 3 (81234)"]
    assert points["Student"] == "    Points Possible" and points["Week 3 (81234)"] == "2"
    assert (anna["Student"], anna["ID"], anna["Week 3 (81234)"]) == ("lianna", "4711", "2")
    assert (ben["Student"], ben["ID"], ben["Week 3 (81234)"]) == ("oneilben", "12", "0")


def test_gradescope_gets_its_results(tmp_path):
    folder, out = tmp_path / "submission", tmp_path / "results" / "results.json"
    folder.mkdir()
    (folder / "a.py").write_text(WRONG)
    (folder / "b.py").write_text(MERGE_HEADS + "def my_gelu(x): return x\n")
    grade_folder(folder, "--gradescope", out, "--exercises", "softmax,merge_heads,gelu")
    results = json.loads(out.read_text())
    assert results["score"] == 1 and [test["name"] for test in results["tests"]] == ["softmax", "merge_heads", "gelu"]
    assert [test["status"] for test in results["tests"]] == ["failed", "passed", "failed"]
    assert [(test["score"], test["max_score"]) for test in results["tests"]] == [(0, 1), (1, 1), (0, 1)]
    assert "You return exp(x)" in results["tests"][0]["output"] and "not in what" in results["tests"][2]["output"]
    assert results["output"] == "is my_gelu your gelu? Then call it gelu"


def test_a_page_for_each_student(tmp_path, graded):
    folder, pages = tmp_path / "all", tmp_path / "pages"
    folder.mkdir()
    (folder / "anna.py").write_text(WRONG.replace("return", "print('<b>')\n    return"))
    (folder / "Anna.ipynb").write_text("{}")
    (folder / "..py").mkdir()
    (folder / "anna").mkdir()
    (folder / "anna" / "x.py").write_text(RIGHT)
    grade_folder(folder, "--feedback", pages, "--exercises", "softmax,gelu")
    assert sorted(path.name for path in pages.iterdir()) == ["Anna.ipynb.html", "anna.html", "anna.py.html"]
    page = (pages / "anna.py.html").read_text(encoding="utf-8")
    assert "0 of 2 points" in page and "✗ softmax" in page and "Not handed in: gelu" in page and "&lt;b&gt;" in page
    assert "smallest input" not in page and "on the input" in page
    assert not any(word in page for word in ("http:", "https:", "<script", "<b>softmax", " src="))
    assert "✓ softmax" in (pages / "anna.html").read_text(encoding="utf-8")
    found = graded(RIGHT, "<img src=x>.py")
    assert "<img" not in feedback_page(found) and "&lt;img" in feedback_page(found)


def test_names_that_differ_in_the_form_of_an_accent_get_two_pages(tmp_path):
    write_feedback([Grade("\u00e9.py"), Grade("e\u0301.py")], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["\u00e9.py.html", "\u00e9.py_2.html"]


def test_archives_are_unpacked_safely_or_named(tmp_path):
    folder, out = tmp_path / "class", tmp_path / "out.csv"
    (folder / "ben").mkdir(parents=True)
    with zipfile.ZipFile(folder / "anna.zip", "w") as archive:
        archive.writestr("work/softmax.py", f"import numpy as np{SOFTMAX}")
        archive.writestr("work\\heads.py", MERGE_HEADS)
        archive.writestr("../../evil.py", "def gelu(x): return x")
        archive.writestr("/evil.py", "def gelu(x): return x")
        archive.writestr("C:/evil.py", "def gelu(x): return x")
        archive.writestr("C:evil.py", "def gelu(x): return x")
        archive.writestr("__MACOSX/work/._softmax.py", "def gelu(x): return x")
        archive.writestr("notes.txt", "notes")
        link = zipfile.ZipInfo("link.py")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with zipfile.ZipFile(folder / "ben" / "mine.ZIP", "w") as archive:
        archive.writestr("mine.py", RIGHT)
    (folder / "carl.tar.gz").touch()
    with zipfile.ZipFile(folder / "dora.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.py", bytes(60_000_000))
    with zipfile.ZipFile(folder / "eve.zip", "w") as archive:
        for number in range(60):
            archive.writestr(f"{number}.py", "")
    (folder / "gina").mkdir()
    for number in range(3):
        with zipfile.ZipFile(folder / "gina" / f"{number}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("bomb.py", "#" * 40_000_000)
    with zipfile.ZipFile(folder / "hans.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("mine.py", RIGHT)
    packed = bytearray((folder / "hans.zip").read_bytes())
    packed[60:90] = bytes(30)
    (folder / "hans.zip").write_bytes(packed)
    (folder / "fred.zip").write_bytes(b"PK\x03\x04" + bytes(100))
    assert ignored_files(folder, []) == []
    anna = find_submissions(folder)[0]
    assert [path.as_posix() for path in anna.files] == ["anna/work/heads.py", "anna/work/softmax.py"]
    before = sorted(tmp_path.rglob("*"))
    grade_folder(folder, "--csv", out)
    assert sorted(tmp_path.rglob("*")) == [*before, out]
    rows = {row["submission"]: (row["score"], row["messages"]) for row in rows_of(out)}
    assert rows == {
        "anna.zip": ("2", ""),
        "ben": ("2", ""),
        "carl.tar.gz": ("0", "carl.tar.gz was not unpacked: of all archives only .zip is"),
        "dora.zip": ("0", "dora.zip was not unpacked: its files have more than 50,000,000 bytes"),
        "eve.zip": ("0", "eve.zip was not unpacked: it has more than 50 files"),
        "fred.zip": ("0", "fred.zip was not unpacked: File is not a zip file"),
        "gina": (
            "0",
            " | ".join(f"{n}.zip was not unpacked: its files have more than 10,000,000 bytes" for n in (1, 2)),
        ),
        "hans.zip": ("0", "hans.zip was not unpacked: Corrupt input data"),
    }


def test_no_cell_is_a_formula():
    """A spreadsheet may also take the ; for the end of a cell."""
    for text in ("=1", "+1", "-1", "@x", "＝1", " =1", "x;=1", "x; -1", "x;'=1", 'x;"=1', ";;@x"):
        cells = [cell.strip(' "') for cell in safe(text).split(";")]
        assert not any(cell.startswith(tuple("=+-@＝")) for cell in cells), text
        assert safe(text).replace("'", "") == text.strip().replace("'", "")
    assert safe("a-b; c=d") == "a-b; c=d"


@pytest.mark.parametrize(
    ("function", "exercise"),
    [
        ("my_softmax", "softmax"),
        ("sofmax", "softmax"),
        ("LayerNorm", "layer_norm"),
        ("gelu_2", "gelu"),
        ("_scores", "scores"),
    ],
)
def test_a_renamed_function_is_recognised(graded, tmp_path, function, exercise):
    text = MERGE_HEADS + f"\ndef {function}(x):\n    return x\ndef helper(x):\n    return x\n"
    hint = f"is {function} your {exercise}? Then call it {exercise}"
    assert graded(text).messages == [hint]
    path = tmp_path / "mine.py"
    path.write_text(text)
    options = ("exercises", "check", path, "--only", exercise)
    fails_with(f"its function {function} looks like it: call it {exercise}", *options, run=run_here)
    assert hint in run_here("exercises", "check", path).stdout
