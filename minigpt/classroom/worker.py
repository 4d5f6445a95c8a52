"""The process of one submission: it runs the definitions of a file, and then answers calls of its functions.

remote.py starts it. Requests come in on standard input and answers go out on standard output, both hidden from
the submission. The process contains no expected value and no other student's work.
"""

import json
import os
import sys
import threading

from minigpt.classroom.limits import PROFILER_EVENTS, limit_resources, refuse_system_access
from minigpt.classroom.messages import MAX_MESSAGE_BYTES, MAX_TEXT_CHARS, decode, encode, receive, send
from minigpt.classroom.workbook import Workbook
from minigpt.exercises import EXERCISES, calling

MAX_PROBLEMS = 100  # at most these are reported


class Worker:
    """One method for each request: first `begin`, then `read` and `define`, and after that any number of `call`."""

    def __init__(self):
        self.workbook = None
        self.refused = []  # the names of audit events

    def begin(self, memory, processor, hidden):
        """Set the limits, and return which of them this system enforces."""
        limits = limit_resources(memory, processor)
        self.refused = refuse_system_access(os.getcwd(), hidden)
        return {"limits": limits}

    def read(self, path):
        """Read a file without running it, and return the names of the exercises that it seems to hand in."""
        sys.path.append(os.path.dirname(os.path.abspath(path)))  # the file may import modules beside it
        try:
            self.workbook = Workbook(path)
        except (ValueError, OSError) as error:
            return {"unreadable": str(error)}
        return {"names": [name for name in self.workbook.names if name in EXERCISES]}

    def define(self):
        """Run the definitions. Return the functions, the failures and the problems."""
        n_threads = threading.active_count()
        workbook = self.workbook.run_definitions()
        if threading.active_count() > n_threads:
            workbook.problems.insert(0, "its definitions started a thread that still runs: calls in it are not checked")
        return {
            "functions": [name for name in workbook.functions if name in EXERCISES],
            "failed": {name: text[:MAX_TEXT_CHARS] for name, text in workbook.failed.items() if name in EXERCISES},
            "problems": [text[:MAX_TEXT_CHARS] for text in workbook.problems[:MAX_PROBLEMS]],
        }

    def call(self, name, arguments, uses):
        """Call a function, and return the fields of the Outcome."""
        n_refused = len(self.refused)
        # The parent process enforces the time limit.
        outcome = self.workbook.call(name, decode(arguments), uses, seconds=1e6)
        hiding = next((event for event in self.refused[n_refused:] if event in PROFILER_EVENTS), None)
        if hiding:
            outcome = calling.Outcome(problem="minigpt", message=f"it calls {hiding}, which would hide what it does")
        problem, message = outcome.problem, outcome.message[:MAX_TEXT_CHARS]
        value = None
        try:
            value = encode(outcome.value)
            if len(json.dumps(value)) > MAX_MESSAGE_BYTES // 2:
                raise ValueError("a value with too many parts")
        except (ValueError, RecursionError):
            value, problem, message = None, "crash", "its result is far too large"
        return {
            "value": value,
            "problem": problem,
            "message": message,
            "changed": outcome.changed,
            "printed": outcome.printed[:MAX_TEXT_CHARS],
        }


def main():
    """Answer requests until standard input ends."""
    # Move the pipes to other descriptors, so that a submission can print to 1 or close 0 without breaking an answer.
    requests, answers = os.fdopen(os.dup(0), "rb", 0), os.fdopen(os.dup(1), "wb", 0)
    devnull = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(devnull, descriptor)
    worker = Worker()
    while (request := receive(requests)) is not None:
        ticket, method = request.pop("ticket"), request.pop("ask")
        answer = getattr(worker, method)(**request)
        send(answers, {"ticket": ticket, "tried": worker.refused, **answer})


if __name__ == "__main__":
    main()
