"""The page over HTTP, for the browser of this machine and nobody else.

    GET  /TOKEN/            index.html, and the other files of web/ beside it
    POST /TOKEN/ask         a question as JSON; wire.py describes the answer

The server listens on the loopback interface only; guard.py refuses everybody there but the page itself.
"""

import json
import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path

from minigpt.page.guard import Guard
from minigpt.page.session import Session
from minigpt.page.wire import FAULT, NO_MEMORY, answer_bytes, logger

WEB = Path(__file__).parent / "web"
# By hand, because on Windows a registry entry can make mimetypes call JavaScript text/plain, which browsers refuse.
CONTENT_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
MAX_BODY_BYTES = 2**20  # of a question
MAX_ASKS = 16  # questions answered at a time; the others wait


def serve(session: Session, port: int = 0, opens_browser: bool = True, announce: Callable[[str], None] = print) -> None:
    """Serve the page until Ctrl-C, which raises KeyboardInterrupt as always. port 0 means a free one.

    announce: called with the address of the page. Raises OSError for a port that cannot be used, ImportError without
    Starlette and uvicorn.
    """
    uvicorn = require_uvicorn()
    token = secrets.token_urlsafe(24)
    listener = listening_socket(port)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/{token}/"
    server = uvicorn.Server(uvicorn_config(make_app(session, token)))
    # In a thread of its own that does not keep the process alive, so that Ctrl-C ends it at once, also while the
    # model runs. Uvicorn itself would wait for open requests. The thread owns the listener: closed from here, a
    # connection that is just being accepted would be reported as an error.
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="page", daemon=True)
    thread.start()
    try:
        announce(url)
        if opens_browser:
            webbrowser.open(url)
        while thread.is_alive():
            thread.join(0.5)  # on Windows, a wait without a limit would not hear Ctrl-C
    finally:
        logger.disabled = True  # A run that breaks off because the program ends is no fault to report.
        server.should_exit = True


def require_uvicorn():
    """Import and return uvicorn. Raises ImportError that says what to install."""
    try:
        import starlette  # noqa: F401  # here, because only the page needs them
        import uvicorn
    except ImportError as error:
        raise ImportError("the page needs Starlette and uvicorn: pip install starlette uvicorn") from error
    return uvicorn


def uvicorn_config(app):
    """Return how uvicorn serves the page: nothing but HTTP, and silently."""
    options = {"http": "h11", "ws": "none", "lifespan": "off", "loop": "asyncio"}
    options |= {"log_config": None, "access_log": False, "proxy_headers": False, "server_header": False}
    return require_uvicorn().Config(app, **options)


def listening_socket(port):
    """Return a socket that listens on this machine's port, or on a free one for 0. Raises OSError."""
    # asyncio switches off the delay of small packets only for a socket that names its protocol. With the delay, every
    # answer would come 40 ms late.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows, where SO_REUSEADDR would share a port that is in use
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise OSError(
            f"port {port} cannot be used ({error.strerror}): give another with --port, or none for a free one"
        ) from error
    return listener


def make_app(session: Session, token: str):
    """Return the ASGI application that serves the page for a session at /TOKEN/."""
    from anyio import CapacityLimiter, to_thread  # here, because only the page needs them
    from starlette.applications import Starlette
    from starlette.requests import ClientDisconnect
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    limiter = CapacityLimiter(MAX_ASKS)  # not the threads that read files: a slow run must not keep a page waiting

    async def ask(request):
        try:
            body = await read_body(request)
        except ClientDisconnect:
            return Response(status_code=400)  # which nobody reads
        if body is None:
            return JSONResponse({"error": f"a question has at most {MAX_BODY_BYTES} bytes"}, 413)
        status, content = await to_thread.run_sync(answer_json, session, body, limiter=limiter)
        return Response(content, status, media_type="application/octet-stream" if status == 200 else "application/json")

    def file(request):
        path = WEB / (request.path_params.get("name") or "index.html")
        if path.parent != WEB or path.suffix not in CONTENT_TYPES or not path.is_file():
            return Response("not found", 404)
        return Response(path.read_bytes(), media_type=CONTENT_TYPES[path.suffix])

    routes = [
        Route("/{token}/ask", ask, methods=["POST"]),
        Route("/{token}/", file),
        Route("/{token}/{name}", file),
    ]
    return Guard(Starlette(routes=routes), token)


async def read_body(request):
    """Return the body of a request, or None if it is longer than MAX_BODY_BYTES."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)


def answer_json(session, body):
    """Return the HTTP status and the content of the answer to a question in JSON."""
    try:
        question = json.loads(body)
    except (ValueError, RecursionError):
        answer, error = b"", "a question must be JSON"
    else:
        answer, error = answer_bytes(session, question)
    if error is None:
        return 200, answer
    return 500 if error in (FAULT, NO_MEMORY) else 400, json.dumps({"error": error}).encode()
