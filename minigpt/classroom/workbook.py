"""What a student's file defines.

A `Workbook` is the file, read but not run. `run_definitions` runs its definitions and nothing else (statements.py), so
a notebook that trains for an hour is checked at once.
"""

import ast
import linecache
import re
import sys
import types
import warnings
from dataclasses import replace
from pathlib import Path

from minigpt.classroom.sources import read_sources
from minigpt.classroom.statements import (
    ASSIGNMENT,
    assigns_data,
    bound_names,
    checked_names,
    imported_names,
    is_definition,
    kinds_of_names,
    names_known_at_first,
    nested_definitions,
    used_names,
)
from minigpt.exercises.calling import call, describe_error, in_place


class Workbook:
    """What a student's file defines.

    names: what it hands in, as far as the source shows. problems: sentences about what could not be read or defined.
    After `run_definitions`: functions, {name: function} of all that the file defines, the last one of each name;
    failed, {name: sentence} of definitions that failed. exercises: the names of all exercises. Raise ValueError for a
    file of another kind, or OSError.
    """

    def __init__(self, path, exercises):
        self._exercises = frozenset(exercises)
        self.names = []
        self.problems = []
        self.functions = {}
        self.failed = {}
        self._module = types.ModuleType("workbook")
        self._definitions = []  # (source, statement, the names that it hands in)
        self._undefined = {}  # {name: why it is not defined although a statement would bind it}
        self._not_run = {}  # the same, for those names only that seem to be handed in
        self._find_definitions(self._parse(Path(path)))

    def _parse(self, path):
        """Return [(source, statement)]. A source that is not Python becomes a problem."""
        statements = []
        for source in read_sources(path):
            # Error messages look up source lines here; no file of that name need exist.
            lines = [f"{line}\n" for line in source.text.split("\n")]
            linecache.cache[source.name] = (len(source.text), None, lines, source.name)
            try:
                with warnings.catch_warnings(action="ignore"):
                    statements += [(source, statement) for statement in source.parse()]
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # ValueError: a null character
                functions = re.findall(r"^[ \t]*def\s+(\w+)", source.text, re.MULTILINE)
                self._fail(functions, source.describe(error))
        return statements

    def _find_definitions(self, statements):
        used = used_names([statement for _, statement in statements])
        checked = checked_names([statement for _, statement in statements])
        known = names_known_at_first()
        self.names = list(self.failed)
        for source, statement in statements:
            try:
                bound, may_run = bound_names(statement), is_definition(statement, known)
            except RecursionError:
                self.problems.append(f"{source.position(statement.lineno)}: this is nested far too deeply")
                continue
            if not may_run:
                line = source.position(statement.lineno)
                why = f"{line} would set it, but does not run, because it is not a definition"
                self._undefined |= dict.fromkeys(bound, why)
                handed_in = {*nested_definitions(statement), *checked}
                self._not_run |= {name: f"it is not defined: {why}" for name in bound if name in handed_in}
                continue
            known |= dict.fromkeys(bound) | kinds_of_names(statement)
            # A function that is imported and used is a tool. One that is imported and not used is handed in.
            imported = imported_names(statement)
            handed_in = [name for name in bound if name not in imported or name not in used]
            self._definitions.append((source, statement, handed_in))
            if not assigns_data(statement):
                self.names += handed_in

    def run_definitions(self):
        """Run the definitions in order, and return the workbook. One that fails does not stop the others."""
        module = self._module  # some decorators look up the module of what they decorate
        sys.modules[module.__name__] = module
        future_imports = []  # from __future__ import ...: applies to everything after it
        for source, statement, handed_in in self._definitions:
            if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
                future_imports.append(statement)
            try:
                with warnings.catch_warnings(action="ignore"):
                    tree = ast.Module([*future_imports, statement], [])
                    exec(compile(tree, source.name, "exec", dont_inherit=True), module.__dict__)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # also SystemExit
                self._note_failure(source, statement, handed_in, describe_error(error))
                continue
            for name in handed_in:
                if callable(value := module.__dict__.get(name)):
                    self.functions[name] = value
        seen = {*self.functions, *self.failed}
        self.failed |= {
            name: why for name, why in self._not_run.items() if name in self._exercises and name not in seen
        }
        return self

    def call(self, name, arguments, uses, helpers=None, **options):
        """Call one of the functions and return the Outcome. The arguments are those of calling.call.

        helpers: {name: function} of those that stand in the place of the student's own during the call.
        """
        with in_place(self._module.__dict__, helpers or {}):
            outcome = call(self.functions[name], arguments, uses, **options)
        return replace(outcome, message=self._explain(outcome.message))

    def _explain(self, message):
        """Return an error message. If it is about a name that a skipped statement would set, add that explanation."""
        missing = re.match(r"NameError: name '(\w+)' is not defined", message)
        reason = self._undefined.get(missing[1]) if missing else None
        return f"{message}: {reason}" if reason else message

    def _note_failure(self, source, statement, handed_in, error):
        sentence = self._explain(error)
        why = f"{source.position(statement.lineno)} would set it, but fails: {sentence}"
        self._undefined |= dict.fromkeys(bound_names(statement), why)
        # A cell that shows something often fails here because other cells did not run. That is nobody's mistake, so it
        # is reported only if it defines an exercise.
        is_consequence = sentence != error or isinstance(statement, ASSIGNMENT)
        if not is_consequence or not self._exercises.isdisjoint(handed_in):
            self._fail(handed_in, sentence)

    def _fail(self, names, sentence):
        self.problems.append(sentence)
        self.failed |= dict.fromkeys(names, sentence)
