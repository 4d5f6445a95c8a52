"""Which line of source made an activation, found while the model runs."""

import inspect
import linecache
import re
import sys
import textwrap

from minigpt.looking.source import file_name

# Their frames lie between a formula and the trace.
TAP_MODULES = {"minigpt.trace", "minigpt.run", "minigpt.ops.operations"}
TAPS_A_VARIABLE = re.compile(r'\btap\(\s*"[\w.]+",\s*(\w+)\s*\)')  # tap("embed", x)


class TraceWithOrigins(dict):
    """A trace that also records in .origins where each activation was made, as (file, line, source)."""

    def __init__(self):
        super().__init__()
        self.origins = {}

    def __setitem__(self, name, activation):
        super().__setitem__(name, activation)
        frame = sys._getframe(1)
        while frame.f_globals.get("__name__") in TAP_MODULES:
            frame = frame.f_back
        self.origins[name] = origin(frame)

    def take_over(self, name, activation, made):
        """Record an activation that was made earlier, with its origin."""
        super().__setitem__(name, activation)
        self.origins[name] = made


def origin(frame):
    """Return the file, line and source of the statement that a frame is executing: the one that taps an activation.

    A call such as tap("embed", x) says little, so its source begins at the line above that assigns x.
    """
    path, position = frame.f_code.co_filename, inspect.getframeinfo(frame, context=0).positions
    first, last = position.lineno, position.end_lineno or position.lineno
    lines = linecache.getlines(path, frame.f_globals)
    tapped = TAPS_A_VARIABLE.search("".join(lines[first - 1 : last]))
    if tapped:
        assignment = re.compile(rf"\s*{tapped[1]} = ")
        above = range(first - 1, frame.f_code.co_firstlineno, -1)
        first = next((number for number in above if assignment.match(lines[number - 1])), first)
    return file_name(path), first, textwrap.dedent("".join(lines[first - 1 : last])).rstrip("\n")
