"""The process of one submission: it runs the definitions of a file, and then answers calls of its functions.

remote.py starts it, with the facade of minigpt (facade.py) in the place of minigpt. Requests come in on standard input
and answers go out on standard output, both hidden from the submission. The process contains no expected value, no
solution, and no other student's work.
"""

import json
import os
import sys
import threading

from minigpt.classroom import absent
from minigpt.classroom.limits import MAX_PROBLEMS, limit_resources, refuse_system_access
from minigpt.classroom.messages import MAX_MESSAGE_BYTES, MAX_TEXT_CHARS, decode, encode, receive, send
from minigpt.classroom.workbook import Workbook


class Worker:
    """One method for each request: first `begin`, then `read` and `define`, and after that any number of `call`."""

    def __init__(self):
        self.workbook = None
        self.exercises = ()
        self.refused = []  # the names of audit events

    def begin(self, memory, processor, processes, hidden):
        """Set the limits, and return which of them this system enforces."""
        limits = limit_resources(memory, processor, processes)
        self.refused = refuse_system_access(os.getcwd(), hidden)
        return {"limits": limits}

    def read(self, path, exercises):
        """Read a file without running it, and return the names of the exercises that it seems to hand in."""
        sys.path.append(os.path.dirname(os.path.abspath(path)))  # the file may import modules beside it
        self.exercises = exercises
        try:
            self.workbook = Workbook(path, exercises)
        except (ValueError, OSError) as error:
            return {"unreadable": str(error)}
        return {"names": [name for name in self.workbook.names if name in exercises]}

    def define(self):
        """Run the definitions. Return the functions, the failures and the problems."""
        n_threads = threading.active_count()
        workbook = self.workbook.run_definitions()
        if threading.active_count() > n_threads:
            workbook.problems.insert(0, "its definitions started a thread that still runs: calls in it are not checked")
        others = [name[:MAX_TEXT_CHARS] for name in workbook.functions if name not in self.exercises]
        return {
            "functions": [name for name in workbook.functions if name in self.exercises] + others[:MAX_PROBLEMS],
            "failed": {name: text[:MAX_TEXT_CHARS] for name, text in workbook.failed.items() if name in self.exercises},
            "problems": [text[:MAX_TEXT_CHARS] for text in workbook.problems[:MAX_PROBLEMS]],
        }

    def call(self, name, arguments, helpers):
        """Call a function, and return the fields of the Outcome.

        helpers: names of functions that the grading process calls in the place of the student's.
        """
        in_place = {helper: absent.Absent(helper) for helper in helpers}
        # The parent process enforces the time limit, and notices what else of minigpt it asks for.
        outcome = self.workbook.call(name, decode(arguments), None, in_place, seconds=None)
        problem, message = outcome.problem, outcome.message[:MAX_TEXT_CHARS]
        if (
            "MemoryError" in message.partition(" ")[0]
        ):  # every other call would take the same time until it ends like this
            problem = "limit"
        value = None
        try:
            value = encode(outcome.value)
            if len(json.dumps(value)) > MAX_MESSAGE_BYTES // 2:
                raise ValueError("a value with too many parts")
        except (ValueError, RecursionError, MemoryError):
            value, problem, message = None, "limit", "its result is far too large"
        return {
            "value": value,
            "problem": problem,
            "message": message,
            "changed": outcome.changed,
            "printed": outcome.printed[:MAX_TEXT_CHARS],
        }


class Questions:
    """The questions that this process asks while it works on a request: the results of functions of minigpt."""

    def __init__(self, requests, answers):
        self._requests, self._answers = requests, answers
        self._lock = threading.Lock()
        self.ticket = None  # of the request

    def ask(self, name, arguments, options):
        """Return what the grading process's function returns. Raise RuntimeError with its error."""
        question = {"function": name, "arguments": encode(arguments), "options": encode(options)}
        with self._lock:
            send(self._answers, {"ticket": self.ticket, "question": question})
            answer = receive(self._requests)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return decode(answer["value"])


def main():
    """Answer requests until standard input ends."""
    # Move the pipes to other descriptors, so that a submission can print to 1 or close 0 without breaking an answer.
    requests, answers = os.fdopen(os.dup(0), "rb", 0), os.fdopen(os.dup(1), "wb", 0)
    devnull = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(devnull, descriptor)
    worker, questions = Worker(), Questions(requests, answers)
    absent.ask = questions.ask
    while (request := receive(requests)) is not None:
        questions.ticket, method = request.pop("ticket"), request.pop("ask")
        answer = getattr(worker, method)(**request)
        send(answers, {"ticket": questions.ticket, "tried": worker.refused, **answer})


if __name__ == "__main__":
    main()
