"""The command line: `minigpt`, and `python -m minigpt`."""

import sys


def main():
    """Run a command. Ctrl-C ends it without a traceback, also while its modules are imported."""
    try:
        from minigpt.cli import main as run  # here, so that it is interrupted inside the try

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
