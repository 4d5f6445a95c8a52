"""Bounds for the answers of a hub: what huggingface_hub would take from any server, this process should not."""

import contextlib
import math
import re
import sys
import time

from weights_loader.reading import CheckpointError

MAX_API_BYTES = 2**26  # an answer that lists the files of a repository has a few kB
PATIENCE_SECONDS, MIN_BYTES_PER_SECOND = 30, 1000  # an answer that takes longer than this must not be slower than that
# huggingface_hub makes names of files and folders from these headers.
SAFE_NAME = re.compile(r'(W/)?"?[0-9A-Za-z_-]*"?')
NAMING_HEADERS = ("ETag", "X-Linked-ETag", "X-Repo-Commit")


@contextlib.contextmanager
def bounded_answers():
    """Check every answer that huggingface_hub gets meanwhile. Raises CheckpointError inside the call that gets it."""
    from huggingface_hub import get_session

    client = get_session()
    before = client.event_hooks
    client.event_hooks = {
        "request": [*before["request"], _ask],
        "response": [*before["response"], _check],
    }
    try:
        yield
    finally:
        client.event_hooks = before


class Deadline:
    """A timeout in seconds, or None, that ends after PATIENCE_SECONDS, however often the socket asks for it.

    A socket asks at each read. With the same number each time, headers may come byte by byte for days.
    """

    def __init__(self, timeout):
        self.timeout, self._end = timeout, time.monotonic() + PATIENCE_SECONDS

    def __index__(self):
        left = math.ceil(self._end - time.monotonic())
        if left <= 0:
            raise CheckpointError(f"the hub's answer did not begin within {PATIENCE_SECONDS} seconds: try again later")
        return left if self.timeout is None else min(left, math.ceil(self.timeout))


def _ask(request):
    request.headers["Accept-Encoding"] = "identity"
    timeouts = request.extensions.get("timeout", {})
    request.extensions["timeout"] = timeouts | {"read": Deadline(timeouts.get("read"))}


def _check(response):
    timeouts = response.request.extensions["timeout"]
    timeouts["read"] = timeouts["read"].timeout  # the body has a limit of its own, which depends on its length
    for name in NAMING_HEADERS:
        if not SAFE_NAME.fullmatch(response.headers.get(name, "")):
            raise CheckpointError(f"the hub's answer has an {name} that is no name of a file: another server's?")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise CheckpointError("the hub's answer is compressed, though plain bytes were asked for: another server's?")
    is_api = response.request.url.path.startswith("/api/")
    response.stream = _bounded(response.stream, MAX_API_BYTES if is_api else None)


def _bounded(stream, max_bytes):
    """Return a stream of bytes like this one that ends with CheckpointError if it is too long or too slow."""
    library = sys.modules[type(stream).__module__.partition(".")[0]]  # httpx, or its successor

    class Bounded(library.SyncByteStream):
        def __iter__(self):
            started, n = time.monotonic(), 0
            for chunk in stream:
                n += len(chunk)
                seconds = time.monotonic() - started
                if max_bytes is not None and n > max_bytes:
                    raise CheckpointError(f"the hub's answer is larger than {max_bytes >> 20} MB")
                if seconds > PATIENCE_SECONDS and n < seconds * MIN_BYTES_PER_SECOND:
                    raise CheckpointError(f"the hub sent {n:,} bytes in {seconds:.0f} seconds: try again later")
                yield chunk

        def close(self):
            stream.close()

    return Bounded()
