"""The real download code against a hub on the loopback interface."""

import gzip
import hashlib
import http.server
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from reference import SHAKESPEARE

from minigpt import GPT2, GPT2Config
from weights_loader import CheckpointError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
GPT2_COMMIT = "607a30d783dfa663caf39e06633721c8d4cfcd7e"


class Hub(http.server.ThreadingHTTPServer):
    """Serves repositories as huggingface.co does, as far as huggingface_hub needs it; `requests` lists all requests."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        files = {path.name: path.read_bytes() for path in Path(SHAKESPEARE).iterdir()}
        unwanted = {
            "pytorch_model.bin": b"\x80",
            "tf_model.h5": b"\x89HDF",
            "flax_model.msgpack": b"",
            "README.md": b"# x",
        }
        pickled = {"config.json": files["config.json"], "pytorch_model.bin": b"\x80"}
        wordpiece = {
            "vocab.txt": b"[UNK]\n[CLS]\n[SEP]\nHi\nhi\n",
            "tokenizer_config.json": b'{"do_lower_case": false}',
        }
        self.repos = {
            "user/wordpiece": wordpiece,
            "user/gated": {},
            "user/tiny": files | unwanted,
            "openai-community/gpt2": files | unwanted,
            "user/pickled": pickled,
        }
        self.requests = []
        self.break_after = None  # bytes of a large file after which the connection breaks, once
        self.stay_broken = self.dead = False  # whether the network is dead from then on
        self.corrupt = self.silent = False
        self.headers = {}  # of files, in place of the true ones
        self.api_padding = b""  # before the true answer, which stays JSON with spaces
        self.is_packed = False  # whether API answers are compressed
        self.slow = ""  # "api", "file" or "headers": whose bytes come one by one
        self.vanished = set()  # files that are listed but cannot be fetched
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def fetched(self):
        return [path.rsplit("/", 1)[1] for method, path, _ in self.requests if method == "GET" and "/resolve/" in path]


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        hub = self.server
        hub.requests.append((self.command, self.path, self.headers.get("Range")))
        if hub.dead:
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if hub.silent:
            time.sleep(60)
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/([^/?]+).*", self.path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/([^/?]+).*", self.path)
        if not api and not file:
            return self.answer(404, b"", {})
        repo, revision = (api or file)[1], (api or file)[2]
        if repo not in hub.repos:
            return self.answer(404, b"", {"X-Error-Code": "RepoNotFound"})
        if repo == "user/gated":
            return self.answer(403, b"", {"X-Error-Code": "GatedRepo"})
        if revision not in ("main", COMMIT, GPT2_COMMIT):
            return self.answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        commit = COMMIT if revision == "main" else revision
        if api:
            siblings = [{"rfilename": name} for name in hub.repos[repo]]
            data = hub.api_padding + json.dumps({"id": repo, "sha": commit, "siblings": siblings}).encode()
            headers = {"Content-Encoding": "gzip"} if hub.is_packed else {}
            return self.answer(200, gzip.compress(data) if hub.is_packed else data, headers, is_slow=hub.slow == "api")
        name = file[3]
        if name not in hub.repos[repo] or name in hub.vanished:
            return self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
        data = hub.repos[repo][name]
        large = name.endswith(".safetensors")
        etag = hashlib.sha256(data).hexdigest() if large else hashlib.sha1(data).hexdigest()
        headers = {"X-Repo-Commit": commit, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"} | hub.headers
        if large and hub.corrupt and self.command == "GET":
            data = data[:5000] + bytes([data[5000] ^ 1]) + data[5001:]
        self.answer(200, data, headers, break_after=hub.break_after if large else None, is_slow=hub.slow == "file")

    def answer(self, status, data, headers, break_after=None, is_slow=False):
        start = 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and status == 200:
            start, status = int(asked[1]), 206
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data) - start))
        if self.server.slow == "headers":
            self.send_header("X-Padding", "x" * 1000)
            self.trickle(b"".join(self._headers_buffer))
            self._headers_buffer = []
        self.end_headers()
        if self.command == "HEAD":
            return
        if break_after is not None:
            self.wfile.write(data[start:break_after])
            self.wfile.flush()
            self.server.break_after = None
            self.server.dead = self.server.stay_broken
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        (self.trickle if is_slow else self.wfile.write)(data[start:])

    def trickle(self, data):
        for byte in data:
            self.wfile.write(bytes([byte]))
            time.sleep(0.1)


@pytest.fixture
def hub():
    server = Hub()
    yield server
    server.shutdown()


@pytest.fixture
def run(hub, tmp_path):
    """Return a function that runs Python code in a fresh process, which knows only this hub and an empty cache."""

    def run(code, endpoint=None, pass_fds=(), **environment):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGINGFACE"))}
        env |= {
            "HF_HOME": str(tmp_path / "cache"),
            "HF_ENDPOINT": endpoint or hub.url,
            "NO_PROXY": "127.0.0.1",
        } | environment
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=env, pass_fds=pass_fds, capture_output=True, text=True, timeout=110)

    return run


LOAD = """
from minigpt import GPT2, Tokenizer
from weights_loader import CheckpointError
try:
    model = GPT2.from_pretrained({name!r}, local_files_only={local_files_only}, revision={revision!r})
    tokenizer = Tokenizer.from_pretrained({name!r}, local_files_only={local_files_only}, revision={revision!r})
    print("loaded", model.config.n_layer, tokenizer.encode("Romeo"))
except CheckpointError as error:
    print("CheckpointError:", error)
"""


def load(name, local_files_only=False, revision=None):
    return LOAD.format(name=name, local_files_only=local_files_only, revision=revision)


def test_a_download_is_cached_and_then_needs_no_network(hub, run, shakespeare_tokenizer):
    expected = f"loaded 4 {shakespeare_tokenizer.encode('Romeo')}\n"
    first = run(load("user/tiny"))
    assert first.stdout == expected, first.stderr
    assert sorted(hub.fetched()) == ["config.json", "model.safetensors", "tokenizer.json"]

    hub.requests.clear()
    assert run(load("user/tiny")).stdout == expected
    assert run(load("user/tiny", local_files_only=True)).stdout == expected
    assert run(load("user/tiny"), HF_HUB_OFFLINE="1").stdout == expected
    assert run(load("user/tiny"), endpoint="http://127.0.0.1:9").stdout == expected
    assert hub.requests == []  # what is in the cache costs no request


def test_without_a_network_and_without_the_files(hub, run):
    for result in (run(load("user/tiny", local_files_only=True)), run(load("user/tiny"), HF_HUB_OFFLINE="1")):
        assert "CheckpointError: user/tiny is not in the local cache, and the network is switched off." in result.stdout
        assert "`hf download user/tiny --local-dir FOLDER`" in result.stdout
    assert hub.requests == []


def test_the_tokenizer_alone_needs_no_weights(hub, run):
    result = run("from minigpt import Tokenizer; print(len(Tokenizer.from_pretrained('user/tiny')))")
    assert result.stdout == "1024\n", result.stderr
    assert hub.fetched() == ["tokenizer.json"]
    code = "from minigpt import Tokenizer; print(len(Tokenizer.from_pretrained('user/tiny', local_files_only=True)))"
    assert run(code).stdout == "1024\n"


def test_a_tokenizers_settings_come_before_its_vocabulary(hub, run):
    code = "from minigpt import Tokenizer; print(Tokenizer.from_pretrained('user/wordpiece').encode('Hi hi'))"
    assert run(code).stdout == "[3, 4]\n"
    # The order matters: a download that was cut short must not look complete without the settings.
    assert hub.fetched() == ["tokenizer_config.json", "vocab.txt"]


def test_info_downloads_no_weights(hub, run):
    result = run("import sys; sys.argv = ['minigpt', 'info', 'user/tiny']; from minigpt.cli import main; main()")
    assert "957,184 parameters" in result.stdout and "no weights here" in result.stdout, result.stderr
    assert hub.fetched() == ["config.json"]


def test_a_dead_network_fails_within_seconds(run):
    start = time.monotonic()
    result = run(load("gpt2"), endpoint="http://127.0.0.1:9")
    assert time.monotonic() - start < 10
    assert "CheckpointError: openai-community/gpt2 could not be downloaded" in result.stdout, result.stderr
    assert "`hf download openai-community/gpt2 --local-dir FOLDER`, copy FOLDER here" in result.stdout


@pytest.mark.slow  # it waits for the timeout
def test_a_silent_network_fails_within_seconds(hub, run):
    hub.silent = True
    start = time.monotonic()
    result = run(load("user/tiny"))
    assert time.monotonic() - start < 30
    assert "could not be downloaded" in result.stdout, result.stderr


@pytest.mark.parametrize(
    ("name", "revision", "sentence"),
    [
        ("user/nothing", None, "the hub has no model 'user/nothing'"),
        ("user/tiny", "v9", "user/tiny has no revision 'v9'"),
        ("user/gated", None, "user/gated asks for permission"),
        ("user/pickled", None, "user/pickled on the hub has weights only as pytorch_model.bin"),
    ],
)
def test_what_the_hub_does_not_have(hub, run, name, revision, sentence):
    result = run(load(name, revision=revision))
    assert f"CheckpointError: {sentence}" in result.stdout, result.stderr
    assert "pytorch_model.bin" not in hub.fetched()


def test_a_file_that_is_listed_but_missing(hub, run):
    hub.vanished = {"model.safetensors"}
    assert "user/tiny lists model.safetensors, but does not deliver it" in run(load("user/tiny")).stdout


@pytest.mark.parametrize("header", ["ETag", "X-Linked-ETag", "X-Repo-Commit"])
@pytest.mark.parametrize("value", ["../../../../outside", '".."'])
def test_names_that_lead_out_of_the_cache(hub, run, tmp_path, header, value):
    hub.headers = {header: value}
    result = run(load("user/tiny"))
    assert f"the hub's answer has an {header} that is no name of a file" in result.stdout, result.stderr
    cached = {path.name for path in (tmp_path / "cache" / "hub").rglob("*") if path.is_file()}
    assert cached <= {".gitignore", "CACHEDIR.TAG"} and {path.name for path in tmp_path.iterdir()} <= {"cache"}


def test_a_listed_name_that_leads_out_of_the_cache(hub, run, tmp_path):
    tiny = dict(hub.repos["user/tiny"])
    weights = tiny.pop("model.safetensors")
    index = b'{"weight_map": {"wte.weight": "x.safetensors"}}'
    hub.repos["user/tiny"] = tiny | {"model.safetensors.index.json": index, "../../../x.safetensors": weights}
    assert "but not x.safetensors, which it names" in run(load("user/tiny")).stdout
    assert "x.safetensors" not in hub.fetched() and not list(tmp_path.rglob("x.safetensors"))


def test_an_answer_that_is_too_large(hub, run):
    hub.api_padding = b" " * (2**26 + 1)
    result = run(load("user/tiny"))
    assert "CheckpointError: the hub's answer is larger than 64 MB" in result.stdout, result.stderr
    hub.is_packed = True  # 65 kB, which unpack to as much
    assert "CheckpointError: the hub's answer is compressed, though" in run(load("user/tiny")).stdout


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("api", r"the hub sent \d+ bytes in [12] seconds"),
        ("file", r"the hub sent \d+ bytes in [12] seconds"),
        ("headers", "the hub's answer did not begin within 1 seconds"),
    ],
)
def test_an_answer_that_comes_byte_by_byte(hub, run, what, sentence):
    """Its headers alone would take longer than `run` waits."""
    hub.slow, impatient = what, "import weights_loader.answers as a; a.PATIENCE_SECONDS = 1\n"
    result = run(impatient + load("user/tiny"))
    assert re.search(f"CheckpointError: {sentence}", result.stdout), result.stderr


def test_cached_files_are_verified_again(hub, run, tmp_path):
    code = "import sys; sys.argv = ['minigpt', 'info', {!r}, '--verify']; from minigpt.cli import main; main()"
    assert "is not in the local cache" in run(code.format("user/tiny")).stderr
    run(load("user/tiny"))
    found = run(code.format("user/tiny")).stdout
    assert re.search(r"model.safetensors +1.9 MB, its sha256 is right\n", found) and "config.json" in found, found
    (path,) = tmp_path.glob("cache/**/model.safetensors")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # as a disk that forgets
    path.write_bytes(data)
    result = run(code.format("user/tiny"))
    assert result.returncode == 2 and "model.safetensors arrived damaged or altered" in result.stderr, result.stderr
    assert not list(tmp_path.glob("cache/**/model.safetensors"))
    assert "only files of the hub have a sha256" in run(code.format(SHAKESPEARE)).stderr


@pytest.fixture
def large(hub, tmp_path):
    """Serve a model of 30 MB. huggingface_hub keeps what has arrived in pieces of 10 MB."""
    config = GPT2Config(
        vocab_size=1024, n_positions=64, n_embd=384, n_layer=4, n_head=4, bos_token_id=0, eos_token_id=0
    )
    GPT2.random(config).save_pretrained(tmp_path / "large")
    files = {path.name: path.read_bytes() for path in (tmp_path / "large").iterdir()}
    hub.repos["user/large"] = files | {"tokenizer.json": hub.repos["user/tiny"]["tokenizer.json"]}


@pytest.mark.slow
def test_a_broken_connection_is_resumed(hub, large, run):
    hub.break_after = 15_000_000
    assert run(load("user/large")).stdout.startswith("loaded 4")
    ranges = [r for method, path, r in hub.requests if method == "GET" and path.endswith("model.safetensors")]
    assert ranges == [None, f"bytes={10 * 2**20}-"]  # it continued after the last whole piece


@pytest.mark.slow  # huggingface_hub waits between its attempts
def test_a_download_that_breaks_off_halfway(hub, large, run, tmp_path):
    hub.break_after, hub.stay_broken = 15_000_000, True
    result = run(load("user/large"))
    assert "could not be downloaded" in result.stdout and "Files that arrived whole are kept" in result.stdout
    assert not list(tmp_path.glob("cache/**/*.safetensors")) + list(tmp_path.glob("cache/**/*.incomplete"))
    cached = run(load("user/large", local_files_only=True))
    assert "is not in the local cache" in cached.stdout  # half a file does not count
    hub.dead = False
    hub.requests.clear()
    assert run(load("user/large")).stdout.startswith("loaded 4")
    assert "config.json" not in hub.fetched()


def test_a_download_shows_its_progress_on_a_terminal(hub, run, tmp_path):
    pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals")
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))  # a terminal of 100 columns
    code = load("user/tiny").replace("\nfrom", f"\nimport os; os.dup2({theirs}, 2)\nfrom", 1)
    assert run(code, pass_fds=[theirs]).stdout.startswith("loaded")
    shown = os.read(ours, 100_000).decode()
    assert "model.safetensors" in shown and "100%" in shown


def test_a_file_that_is_damaged_on_the_way(hub, run, tmp_path):
    hub.corrupt = True
    result = run(load("user/tiny"))
    assert "model.safetensors arrived damaged or altered (sha256 " in result.stdout, result.stderr
    assert not [path for path in tmp_path.rglob("*") if path.name == "model.safetensors"]  # not even a broken link
    hub.corrupt = False
    assert run(load("user/tiny")).stdout.startswith("loaded 4")  # nothing damaged is left in the cache


def test_official_weights_are_checked_against_their_published_sha256(hub, run, tmp_path):
    # The hub delivers another model under gpt2's name, and confirms its sha256.
    result = run(load("gpt2"))
    assert "altered" in result.stdout, result.stderr
    assert "expected 248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707" in result.stdout
    assert not list(tmp_path.glob("cache/**/model.safetensors"))
    assert run(load("gpt2", revision="main")).stdout.startswith("loaded 4")  # other revisions have no published sha256
    hub.requests = [request for request in hub.requests if "/main" not in request[1]]
    asked = [path for _, path, _ in hub.requests if "openai-community" in path]
    assert asked and all(GPT2_COMMIT in path for path in asked)  # at the fixed revision


def test_an_official_name_downloads_from_its_repository(hub, run):
    sha256 = hashlib.sha256((Path(SHAKESPEARE) / "model.safetensors").read_bytes()).hexdigest()
    code = f"""
from dataclasses import replace
from weights_loader import hub
hub.OFFICIAL_MODELS["gpt2"] = replace(hub.OFFICIAL_MODELS["gpt2"], sha256={{"model.safetensors": {sha256!r}}})
"""
    assert run(code + load("gpt2")).stdout.startswith("loaded 4")
    # The long name is the same model, at the same revision, from the same cache.
    hub.requests.clear()
    assert run(load("openai-community/gpt2")).stdout.startswith("loaded 4")
    assert hub.requests == []


def test_the_official_tokenizer_is_checked_against_its_published_sha256(hub, run, tmp_path):
    code = """
from minigpt import Tokenizer
try:
    Tokenizer.from_pretrained("gpt2")
except ValueError as error:
    print(error)
"""
    assert "expected 8414cab924d8b9b33013f0d221c5862f365ee9be39c5c2bfae8a5a9e970478a6" in run(code).stdout
    assert not [path for path in tmp_path.rglob("*") if path.name == "tokenizer.json"]


def test_interrupted_while_verifying(hub, run, tmp_path):
    code = """
import gzip
import hashlib
def interrupted(*arguments):
    raise KeyboardInterrupt
hashlib.file_digest = interrupted
"""
    assert "KeyboardInterrupt" in run(code + load("user/tiny")).stderr
    assert not [path for path in tmp_path.rglob("*") if path.name == "model.safetensors"]
    assert run(load("user/tiny")).stdout.startswith("loaded 4")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_full_disk(hub, run):
    limit = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
import sys; sys.argv = ["minigpt", "generate", "x", "--model", "user/tiny"]
from minigpt.cli import main
main()
"""
    result = run(limit)
    assert result.returncode == 2
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("minigpt: [Errno 27] File too large"), result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("gpt3", "no folder or model 'gpt3'; official models are gpt2, .* others are named user/model"),
        ("./nowhere", "no folder or model './nowhere'"),
        ("/no/such/folder", "no folder or model"),
        (__file__, "is a file; give the folder"),
        ("a/b--c", "no folder or model"),
        ("a/..", "no folder or model"),
        ("a/b.git", "no folder or model"),
        ("a/b/c", "no folder or model 'a/b/c'"),
        ("", "no folder or model ''"),
    ],
)
def test_names_that_are_no_folder_and_no_model(name, sentence):
    with pytest.raises(CheckpointError, match=sentence):
        GPT2.from_pretrained(name)
