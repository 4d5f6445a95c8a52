"""Who may ask the page's server: the page itself, in a browser of this machine, and nobody else.

Other programs and other users of the machine, and web pages that the same browser has open, can reach the loopback
interface, too. So the address has a random token, and a request must name this machine as its host (the name of a web
page can resolve to 127.0.0.1: "DNS rebinding") and must not come from another page.
"""

import json
import secrets
from urllib.parse import urlsplit

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
