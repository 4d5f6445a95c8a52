"""minigpt as a submission sees it: names without code."""

import subprocess
import sys
from pathlib import Path

from minigpt.classroom.facade import PACKAGES, WHOLE, facade_of

IMPORTS = """
import importlib, sys
from pathlib import Path
root = Path(sys.argv[1])
for path in sorted(root.rglob("*.py")):
    if path.name != "__main__.py":
        importlib.import_module(".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"))
from minigpt import GPT2, KVCache, Tokenizer, generate_text, stories, CheckpointError
from minigpt.exercises import EXERCISES, check
from minigpt.training import IGNORED, AdamW
class Mine(GPT2):
    def f(self) -> "GPT2 | None": return 3
assert Mine().f() == 3 and IGNORED == -100
print(GPT2.__module__, check, any(name.startswith(("torch", "hypothesis", "numba")) for name in sys.modules))
"""


def test_every_name_can_be_imported(facade):
    command = [sys.executable, "-P", "-c", IMPORTS, facade]
    result = subprocess.run(command, env={"PYTHONPATH": facade}, capture_output=True, text=True)
    absent = "<minigpt.exercises.checking.check, which is not here while a submission is graded>"
    assert result.stdout == f"minigpt.gpt2 {absent} False\n", result.stderr


def test_no_function_has_a_body(facade):
    for package in PACKAGES:
        for path in package.rglob("*.py"):
            relative = path.relative_to(package.parent).as_posix()
            text = (Path(facade) / relative).read_text(encoding="utf-8")
            if relative not in WHOLE:
                assert not [
                    line for line in text.splitlines() if line.startswith(("def ", "@")) and "def __" not in line
                ]
                assert "numpy" not in text, relative


def test_constants_keep_their_values():
    text = "import numpy as np\nA = -3\nB: int = 4\nC = np.ones(3)\nD, E = 1, 2\ndef f(): return 1\nclass G: pass\n"
    lines = facade_of("m", text).splitlines()[1:]
    assert lines[:2] == ["A = -3", "B = 4"] and lines[-3:] == [
        'f = Absent("m.f")',
        "class G(metaclass=AbsentClass):",
        "    pass",
    ]
    assert lines[2:-3] == ['C = Absent("m.C")', 'D = Absent("m.D")', 'E = Absent("m.E")']
