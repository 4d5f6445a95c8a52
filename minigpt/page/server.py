"""The page over HTTP, for the browser of this machine and nobody else.

    GET  /TOKEN/            index.html, and the other files of web/ beside it
    POST /TOKEN/ask         a question as JSON; wire.py describes the answer

The server listens on the loopback interface only. Other programs and other users of the machine, and web pages that the
same browser has open, can reach that, too: so the address has a random token, and a request must name this machine
as its host (a web page could have a name that resolves to 127.0.0.1) and must not come from another page.
"""

import json
import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from minigpt.page.session import Session
from minigpt.page.wire import FAULT, NO_MEMORY, answer_bytes

WEB = Path(__file__).parent / "web"
# By hand, because on Windows a registry entry can make mimetypes call JavaScript text/plain, which browsers refuse.
CONTENT_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
MAX_BODY_BYTES = 2**20  # of a question
MAX_ASKS = 16  # questions answered at a time; the others wait
LOCAL_HOSTS = ("127.0.0.1", "localhost")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the address has the token
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def serve(session: Session, port: int = 0, opens_browser: bool = True, announce: Callable[[str], None] = print) -> None:
    """Serve the page until Ctrl-C, which raises KeyboardInterrupt as always. port 0 means a free one.

    announce: called with the address of the page. Raises OSError for a port that cannot be used, ImportError without
    Starlette and uvicorn.
    """
    uvicorn = require_uvicorn()
    token = secrets.token_urlsafe(24)
    with listening_socket(port) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/{token}/"
        config = uvicorn.Config(
            make_app(session, token),
            http="h11",
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
        )
        server = uvicorn.Server(config)
        # In a thread of its own that does not keep the process alive, so that Ctrl-C ends it at once, also while the
        # model runs. Uvicorn itself would wait for open requests.
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="page", daemon=True)
        thread.start()
        announce(url)
        if opens_browser:
            webbrowser.open(url)
        while thread.is_alive():
            thread.join(0.5)  # on Windows, a wait without a limit would not hear Ctrl-C


def require_uvicorn():
    """Import and return uvicorn. Raises ImportError that says what to install."""
    try:
        import starlette  # noqa: F401  # here, because only the page needs them
        import uvicorn
    except ImportError as error:
        raise ImportError("the page needs Starlette and uvicorn (pip install 'minigpt[page]')") from error
    return uvicorn


def listening_socket(port):
    """Return a socket that listens on this machine's port, or on a free one for 0. Raises OSError."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
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
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    limiter = CapacityLimiter(MAX_ASKS)  # not the threads that read files: a slow run must not keep a page waiting

    async def ask(request):
        body = await read_body(request)
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


class Guard:
    """Refuses requests without the token, for another host, or from another page; adds HEADERS to every answer."""

    def __init__(self, app, token: str):
        self.app = app
        self.token = token

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return

        async def send_with_headers(message):
            if message["type"] == "http.response.start":
                added = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = message | {"headers": [*message["headers"], *added]}
            await send(message)

        status, reason = self.refusal(scope)
        if status is None:
            await self.app(scope, receive, send_with_headers)
            return
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        await send_with_headers({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps({"error": reason}).encode()})

    def refusal(self, scope):
        """Return (status, reason) for a request that must not be answered, else (None, None)."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if host_name(host) not in LOCAL_HOSTS:
            return 403, "this page is for its own machine: open it at 127.0.0.1"
        # An address through an SSH tunnel has another port, so the port must only be the same in both.
        if "origin" in headers and headers["origin"] != f"http://{host}":
            return 403, "a question must come from the page itself"
        site = headers.get("sec-fetch-site", "none")
        # A person may follow a link to the page that another page shows, such as a terminal in the browser.
        is_opened = scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"
        if site not in ("none", "same-origin") and not (is_opened and headers.get("sec-fetch-dest") == "document"):
            return 403, "a question must come from the page itself"
        given = scope["path"].split("/")[1] if scope["path"].startswith("/") else ""
        if not secrets.compare_digest(given.encode(), self.token.encode()):
            return 404, "there is nothing at this address: open the one that the program has printed"
        return None, None


def host_name(host):
    """Return the name in a Host header, without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
