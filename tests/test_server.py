"""The page's server as a browser and an attacker meet it: real requests to uvicorn on the loopback interface."""

import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers import MINIGPT, fails_with, run_here
from letter_models import letter_model, letter_tokenizer

from minigpt.page import server as page_server
from minigpt.page.session import Session

TOKEN = "not-so-secret"
WEB = page_server.WEB


class SlowSession(Session):
    """A session whose questions "wait" and "fail" do so."""

    def __init__(self):
        model = letter_model()
        super().__init__(model, letter_tokenizer(model), "abc")
        self.waiting, self.go_on = threading.Semaphore(0), threading.Event()
        self._questions |= {"wait": self._wait, "fail": self._fail}

    def _wait(self, question):
        self.waiting.release()
        assert self.go_on.wait(60)
        return {"waited": True}, []

    def _fail(self, question):
        raise RuntimeError("a secret of the program")


@pytest.fixture(scope="module")
def served():
    """A session and the port of its page, by a uvicorn in a thread."""
    import uvicorn

    session = SlowSession()
    with page_server.listening_socket(0) as listener:
        server = uvicorn.Server(page_server.uvicorn_config(page_server.make_app(session, TOKEN)))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield session, listener.getsockname()[1]
        server.should_exit = True
        thread.join(10)


def request(port, method, path, body=None, **headers):
    """Return the status, the headers and the body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, response.headers, content


def ask(port, question, **headers):
    """Return the status, and the head with its arrays or the error's sentence."""
    body = question if isinstance(question, bytes) else json.dumps(question).encode()
    status, found, content = request(port, "POST", f"/{TOKEN}/ask", body, **headers)
    if status != 200:
        return status, json.loads(content)["error"]
    assert found["content-type"] == "application/octet-stream"
    return status, decoded(content)


def decoded(content):
    """Read an answer as the page does."""
    (length,) = struct.unpack_from("<I", content)
    assert (4 + length) % 8 == 0
    head, offset = json.loads(content[4 : 4 + length]), 4 + length
    arrays = []
    for described in head["arrays"]:
        size = int(np.prod(described["shape"]))
        array = np.frombuffer(content, np.dtype(described["dtype"]).newbyteorder("<"), size, offset)
        arrays.append(array.reshape(described["shape"]))
        offset += -(-array.nbytes // 8) * 8
    assert offset == len(content)
    return head | {"arrays": arrays}


def test_the_page_and_its_files(served):
    _, port = served
    for path, kind in (("", "text/html"), ("main.js", "text/javascript"), ("style.css", "text/css")):
        status, headers, content = request(port, "GET", f"/{TOKEN}/{path}")
        assert status == 200 and content == (WEB / (path or "index.html")).read_bytes()
        assert headers["content-type"] == f"{kind}; charset=utf-8"
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self';" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe-eval" not in policy and "http" not in policy and "*" not in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store" and "server" not in headers


def test_questions(served):
    session, port = served
    status, run = ask(port, {"ask": "run", "text": "abc"})
    assert status == 200
    question = {"ask": "numbers", "run": run["run"], "of": [["h.1.attn.weights", [None, 2, None]]]}
    _, answer = ask(port, question)
    (expected,) = session.answer(question)[1]
    assert np.array_equal(answer["arrays"][0], expected) and answer["arrays"][0].dtype == "float64"
    _, single = ask(port, question | {"of": [["h.1.attn.weights", [0, 2, 1]]]})
    assert single["arrays"][0].shape == () and single["arrays"][0] == expected[0, 1]


@pytest.mark.parametrize(
    ("question", "status", "sentence"),
    [
        (b"{", 400, "a question must be JSON"),
        (b"\xff", 400, "a question must be JSON"),
        (b"", 400, "a question must be JSON"),
        (b"[" * 100_000, 400, "a question must be JSON"),
        (b"1" * 5000, 400, "a question must be JSON"),
        (b'"hello"', 400, "a question must be an object"),
        ({"ask": "run", "text": "a" * 17}, 400, "the page takes at most 16"),
        ({"ask": "run", "text": "<script>"}, 400, "no token for the character '<'"),
        ({"ask": "fail"}, 500, "something went wrong"),
        ({"ask": "run", "text": "a" * 2**20}, 413, "at most 1048576 bytes"),
    ],
)
def test_a_bad_question_is_a_sentence(served, question, status, sentence, caplog):
    found, error = ask(served[1], question)
    assert found == status and sentence in error
    assert "secret" not in error and "Traceback" not in error
    assert ask(served[1], {"ask": "start"})[0] == 200  # and costs nobody else anything


@pytest.mark.parametrize("path", ["/", "/wrong/", "/wrong/ask", "//ask", f"/{TOKEN[:-1]}/", f"/{TOKEN}x/", "/%00/"])
def test_without_the_token_there_is_nothing(served, path):
    for method in ("GET", "POST"):
        status, headers, content = request(served[1], method, path)
        assert status == 404 and TOKEN.encode() not in content and "content-security-policy" in headers


@pytest.mark.parametrize(
    "name", ["..%2fserver.py", "../server.py", "%2e%2e/server.py", "server.py", "x.js", "%00", "a%5cb.js"]
)
def test_only_files_of_the_page(served, name):
    status, _, content = request(served[1], "GET", f"/{TOKEN}/{name}")
    assert status == 404 and b"import" not in content


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[", "localhost@evil.example"]
)
def test_another_host_is_refused(served, host):
    """A web page could get a name that resolves to 127.0.0.1: its requests carry that name."""
    assert request(served[1], "GET", f"/{TOKEN}/", Host=host)[0] == 403
    assert ask(served[1], {"ask": "start"}, Host=host) == (
        403,
        "this page is for its own machine: open it at 127.0.0.1",
    )


@pytest.mark.parametrize("host", ["localhost:{port}", "127.0.0.1:{port}", "localhost:9"])
def test_this_machine_by_its_names(served, host):
    """The last is a tunnel: the browser's port is another one."""
    host = host.format(port=served[1])
    assert ask(served[1], {"ask": "start"}, Host=host, Origin=f"http://{host}", Sec_Fetch_Site="same-origin")[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "https://127.0.0.1:{port}"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"},
    ],
)
def test_a_question_of_another_page_is_refused(served, headers):
    headers = {name: value.format(port=served[1]) for name, value in headers.items()}
    assert ask(served[1], {"ask": "start"}, **headers) == (403, "a question must come from the page itself")


def test_a_link_opens_the_page_and_a_frame_does_not(served):
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    assert request(served[1], "GET", f"/{TOKEN}/", **link, Sec_Fetch_Dest="document")[0] == 200
    for kind in ("iframe", "embed", "script", "empty"):
        assert request(served[1], "GET", f"/{TOKEN}/", **link, Sec_Fetch_Dest=kind)[0] == 403


def test_a_body_without_a_length_is_limited(served):
    connection = http.client.HTTPConnection("127.0.0.1", served[1], timeout=60)
    try:
        connection.request("POST", f"/{TOKEN}/ask", (b" " * 2**16 for _ in range(17)), encode_chunked=True)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the server did not read it to the end
    else:
        assert connection.getresponse().status == 413
    connection.close()


def test_slow_questions_keep_nobody_waiting(served):
    session, port = served
    with ThreadPoolExecutor(page_server.MAX_ASKS + 4) as pool:
        slow = [pool.submit(ask, port, {"ask": "wait"}) for _ in range(page_server.MAX_ASKS - 1)]
        for _ in slow:
            assert session.waiting.acquire(timeout=60)
        assert request(port, "GET", f"/{TOKEN}/main.js")[0] == 200
        runs = [pool.submit(ask, port, {"ask": "run", "text": text}) for text in ("abc", "abd", "abe")]
        assert all(run.result()[0] == 200 for run in runs)
        # Not even when all threads for questions are busy does a file have to wait.
        slow.append(pool.submit(ask, port, {"ask": "wait"}))
        assert session.waiting.acquire(timeout=60)
        assert request(port, "GET", f"/{TOKEN}/style.css")[0] == 200
        session.go_on.set()
        assert all(answer.result() == (200, {"waited": True, "arrays": []}) for answer in slow)


def test_a_client_that_goes_away(served, caplog):
    _, port = served
    for sent in (
        b"",
        b"POST ",
        f"POST /{TOKEN}/ask HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{{".encode(),
    ):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(sent)
    body = json.dumps({"ask": "run", "text": "abc"}).encode()
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(
            f"POST /{TOKEN}/ask HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closes at once, unread
    assert ask(port, {"ask": "start"})[0] == 200
    assert not caplog.records


def test_it_listens_to_this_machine_only(served):
    with page_server.listening_socket(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_an_answer_is_not_held_back_for_a_fuller_packet():
    with page_server.listening_socket(0) as listener:
        assert listener.proto == socket.IPPROTO_TCP  # what asyncio looks at before it sets TCP_NODELAY


def start(*arguments, **options):
    def hear_ctrl_c():
        # Tests that run in the background ignore Ctrl-C, and a process inherits that.
        signal.signal(signal.SIGINT, signal.default_int_handler)

    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    arguments = [*MINIGPT, "step", "Once upon a time", "--open", *arguments]
    return subprocess.Popen(arguments, preexec_fn=hear_ctrl_c, **pipes, **options)  # noqa: PLW1509


def test_the_command_serves_until_ctrl_c(tmp_path):
    # A browser that writes the address into a file.
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f"#!{sys.executable}\nimport sys\nopen({str(opened)!r}, 'w').write(sys.argv[1])\n")
    browser.chmod(0o755)
    process = start(env=os.environ | {"BROWSER": f"{browser} %s"})
    try:
        url = process.stdout.readline().strip()
        assert "Ctrl-C" in process.stdout.readline()
        host, _, path = url.removeprefix("http://").partition("/")
        assert host.startswith("127.0.0.1:") and len(path) > 30
        port = int(host.split(":")[1])
        status, _, content = request(
            port, "POST", f"/{path}ask", json.dumps({"ask": "run", "text": "The end"}).encode()
        )
        assert status == 200 and decoded(content)["tokens"] == ["The", " end"]
        fails_with(f"port {port} cannot be used", "step", "a", "--open", "--no-browser", "--port", port, run=run_here)
        # An open connection does not keep it running.
        with socket.create_connection(("127.0.0.1", port)):
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=20)
        assert process.returncode == 130 and errors.strip() == ""
        assert opened.read_text() == url
    finally:
        process.kill()


def test_a_closed_pipe_ends_the_command_quietly():
    process = start("--no-browser")
    process.stdout.close()
    assert process.wait(timeout=60) == 1 and process.stderr.read() == ""


@pytest.mark.parametrize(
    ("sentence", "arguments"),
    [
        ("the text is empty", ["", "--open"]),
        ("the page takes at most 256", ["word " * 300, "--open"]),
        ("no folder or model 'gpt9'", ["a", "--open", "--model", "gpt9"]),
        ("--port is for the page of --open", ["a", "--port", "8000"]),
        ("--no-browser is for the page of --open", ["a", "--no-browser"]),
        ("have no effect on a page", ["a", "--open", "--json"]),
        ("have no effect on a page", ["a", "--open", "--layer", "1"]),
        ("choose one of them", ["a", "--open", "--html", "x.html"]),
        ("is not in the range", ["a", "--open", "--port", "65536"]),
    ],
)
def test_bad_arguments(sentence, arguments):
    fails_with(sentence, "step", *arguments, run=run_here)


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_without_the_extra(missing, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    fails_with("needs Starlette and uvicorn: pip install starlette uvicorn", "step", "a", "--open", run=run_here)
