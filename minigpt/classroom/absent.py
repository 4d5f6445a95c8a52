"""What a submission gets in place of minigpt's functions and classes: they do nothing but ask the grading process.

That process answers only what the exercise may call (remote.py). So no code of minigpt has to be hidden from a
submission, and none has to be watched in its process.
"""


def ask(name, arguments, options):
    """Return what the function of that name returns. worker.py replaces this by a question to the grading process."""
    raise NotImplementedError(f"there is nobody to ask for {name}")


class Absent:
    """Stands for a function or a value of minigpt. Calling it asks for the result."""

    __iter__ = None  # or a loop over it would never end

    def __init__(self, name):
        self.__name__ = self.__qualname__ = name

    def __call__(self, *arguments, **options):
        return ask(self.__name__, arguments, options)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Absent(f"{self.__name__}.{name}")

    def __getitem__(self, key):
        return Absent(f"{self.__name__}[{key!r:.50}]")

    def __repr__(self):
        return f"<{self.__name__}, which is not here while a submission is graded>"


class AbsentClass(type):
    """Stands for a class of minigpt, from which others can be derived."""

    def __call__(cls, *arguments, **options):
        if cls.__module__.partition(".")[0] not in ("minigpt", "weights_loader"):
            return super().__call__(*arguments, **options)  # a class of the student's
        return ask(f"{cls.__module__}.{cls.__qualname__}", arguments, options)

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Absent(f"{cls.__module__}.{cls.__qualname__}.{name}")
