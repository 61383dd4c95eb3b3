"""A Hub on this machine, with the troubles that one on a network can have."""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).parents[2]
ID = "acme/tiny"
ASKER = """
import contextlib, io, json, os, sys
from huggingface_hub import constants
from sparsity_lab.cli.main import main
from sparsity_lab.measure.checkpoint import hub
hub.AGAIN_S, hub.LINE_S = (0.1, 0.2, 0.3), 0.2
for line in sys.stdin:
    words, home = json.loads(line)
    constants.HF_HOME, constants.HF_HUB_CACHE = home, os.path.join(home, "hub")
    heard, code = io.StringIO(), 0
    with contextlib.redirect_stderr(heard), contextlib.redirect_stdout(heard):
        try:
            main(words)
        except SystemExit as end:
            code = end.code
    print(json.dumps([code, heard.getvalue()]), flush=True)
"""


class Hub(ThreadingHTTPServer):
    """The questions of the Hub that are asked: which commit a revision is, and the files of a commit.

    `trouble`, given an answer and the path, may answer in the Hub's place, and is then true.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, commits, refs):
        super().__init__(("127.0.0.1", 0), Answers)
        self.commits, self.refs, self.asked, self.trouble = commits, refs, [], None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def commit_of(self, revision):
        return self.refs.get(revision, revision if revision in self.commits else None)


class Answers(BaseHTTPRequestHandler):
    """Answers of a `Hub`."""

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.server.trouble is not None and self.server.trouble(self, self.path):
            return None
        parts = [unquote(part) for part in self.path.split("?")[0].strip("/").split("/")]
        if parts[:2] == ["api", "models"] and "/".join(parts[2:4]) == ID:
            if parts[4:5] == ["tree"]:
                return self.listing(parts[5], inside=parts[6:])
            return self.describe("/".join(parts[5:]) if len(parts) > 5 else "main")
        if "/".join(parts[:2]) == ID and parts[2:3] == ["resolve"]:
            return self.file(parts[3], "/".join(parts[4:]))
        return self.say(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def describe(self, revision):
        commit = self.server.commit_of(revision)
        if commit is None:
            return self.say(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        files = [{"rfilename": path.name} for path in self.server.commits[commit].iterdir()]
        said = {"id": ID, "modelId": ID, "sha": commit, "siblings": files, "tags": [], "private": False,
                "downloads": 0, "likes": 0}  # fmt: skip
        return self.say(200, json.dumps(said).encode(), {"Content-Type": "application/json"})

    def listing(self, revision, inside):
        if inside:
            return self.say(404, b"{}", {"X-Error-Code": "EntryNotFound"})
        paths = self.server.commits[self.server.commit_of(revision)].iterdir()
        said = [{"type": "file", "path": path.name, "size": 1, "oid": "0"} for path in paths]
        return self.say(200, json.dumps(said).encode(), {"Content-Type": "application/json"})

    def file(self, revision, name):
        commit = self.server.commit_of(revision)
        if commit is None:
            return self.say(404, b"", {"X-Error-Code": "RevisionNotFound"})
        path = self.server.commits[commit] / name
        if not path.is_file():
            return self.say(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        content = path.read_bytes()
        headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        if wanted := self.headers.get("Range"):
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return self.say(206, content[start:], headers)
        return self.say(200, content, headers)

    def say(self, code, content, headers):
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *words):
        """Say nothing."""


@contextlib.contextmanager
def serving(server):
    """A server while it serves."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def asking(hub):
    """A process that asks this Hub: words of a command line and a home of the cache -> exit code, all that was said.

    One process asks all questions, as importing the libraries takes longer than any of them.
    """
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1", "CUDA_VISIBLE_DEVICES": "", "no_proxy": "127.0.0.1",
        "HF_HUB_ETAG_TIMEOUT": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "1",
    }  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-c", ASKER],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def ask(words, home):
            process.stdin.write(json.dumps([[*map(str, words)], str(home)]) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask
        process.stdin.close()
