"""A Hub on this machine, with the troubles that one on a network can have: refusals, limits and lost connections."""

import contextlib
import hashlib
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[2]
ID = "acme/tiny"
LARGE = frozenset({".safetensors", ".bin", ".onnx", ".pth"})  # files that the Hub keeps elsewhere
CHUNK = 1 << 16  # bytes that the client keeps at a time
ASKER = """
import contextlib, io, json, os, sys
from huggingface_hub import constants
from sparsity_lab.cli.main import main
from sparsity_lab.measure import checkpoints
from sparsity_lab.measure.checkpoint.hub import asking
from transformers import LlamaForCausalLM
asking.AGAIN_S, asking.LINE_S = (0.1, 0.2, 0.3), 0.2
constants.DOWNLOAD_CHUNK_SIZE = int(sys.argv[1])  # so that a small file has several
for line in sys.stdin:
    words, home, environment = json.loads(line)
    before = dict(os.environ)
    os.environ.update(environment)
    constants.HF_HOME, constants.HF_HUB_CACHE = home, os.path.join(home, "hub")
    heard, code = io.StringIO(), 0
    with contextlib.redirect_stderr(heard), contextlib.redirect_stdout(heard):
        try:
            main(words)
        except SystemExit as end:
            code = end.code
    os.environ.clear()
    os.environ.update(before)
    print(json.dumps([code, heard.getvalue()]), flush=True)
"""


class Asked(NamedTuple):
    """One request: its method and path, the range and the token that it named."""

    method: str
    path: str
    range: str | None
    token: str | None


class Hub(ThreadingHTTPServer):
    """The Hub's HTTP API as `huggingface_hub` uses it: information, refs, tree and files of models.

    As on the Hub, a small file is a redirect within the Hub, its ETag git's hash of the blob; a file of `LARGE` is a
    redirect to another host, which must not see a token, with its sha256 and size in headers.

    `commits` are folders by commit, of all repositories. `repositories` are refs by id: what each branch or tag means.
    `tags` are those refs of them that are tags. A repository in `gated` gives files to the tokens in `members` alone;
    a token that is not in `known` is refused. `trouble`, given an answer and the path, may answer in the Hub's place,
    and is then true. Where `xet` is a URL, large files are said to be in Xet storage there as well.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        self.reset({}, {})

    def reset(self, commits, refs):
        """Hold these commits, and `ID` with these refs, and nothing else."""
        self.commits, self.repositories, self.tags = dict(commits), {ID: dict(refs)}, set()
        self.gated, self.members, self.known = set(), set(), set()
        self.asked, self.trouble, self.xet = [], None, None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def storage(self):
        """The host that large files are on, which is another one in its name."""
        return f"http://localhost:{self.server_port}"

    @property
    def refs(self):
        return self.repositories[ID]

    def paths(self, method=None):
        """The paths that were asked for, by a method or by any."""
        return [one.path for one in self.asked if method in (None, one.method)]

    def commit_of(self, repository, revision):
        """The whole hash that a branch, a tag or a hash means."""
        refs = self.repositories[repository]
        return refs.get(revision, revision if revision in refs.values() else None)


class Answers(BaseHTTPRequestHandler):
    """Answers of a `Hub`."""

    @property
    def token(self):
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.server.asked.append(Asked(self.command, self.path, self.headers.get("Range"), self.token))
        if self.server.trouble is not None and self.server.trouble(self, self.path):
            return None
        parts = [unquote(part) for part in self.path.split("?")[0].strip("/").split("/")]
        if parts[0] == "storage":
            assert self.token is None, "a token has left the Hub"
            return self.content((self.server.commits[parts[1]] / "/".join(parts[2:])).read_bytes(), {})
        if self.token is not None and self.token not in self.server.known:
            return self.say(401, b"{}", {"X-Error-Message": "Invalid credentials in Authorization header"})
        if parts[:3] == ["api", "resolve-cache", "models"]:
            return self.small("/".join(parts[3:5]), parts[5], "/".join(parts[6:]))
        is_api = parts[:2] == ["api", "models"]
        repository, rest = "/".join(parts[2:4] if is_api else parts[:2]), parts[4 if is_api else 2 :]
        if repository not in self.server.repositories:
            return self.say(401 if self.token is None else 404, b"{}", {"X-Error-Code": "RepoNotFound"})
        if not is_api:
            return (
                self.file(repository, rest[1], "/".join(rest[2:]))
                if rest[0] == "resolve"
                else self.say(404, b"", {})
            )
        if rest[:1] == ["xet-read-token"]:
            return self.say(200, b"{}", {"X-Xet-Cas-Url": self.server.xet, "X-Xet-Access-Token": "of a minute",
                                         "X-Xet-Token-Expiration": str(int(time.time()) + 60)})  # fmt: skip
        if rest[:1] == ["refs"]:
            return self.list_refs(repository)
        commit = self.server.commit_of(repository, rest[1] if len(rest) > 1 else "main")
        if commit is None:
            return self.say(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        return self.tree(commit, rest[2:]) if rest[:1] == ["tree"] else self.describe(repository, commit)

    def describe(self, repository, commit):
        files = [{"rfilename": name} for name in names(self.server.commits[commit])]
        said = {"id": repository, "modelId": repository, "sha": commit, "siblings": files, "tags": [],
                "private": False, "downloads": 0, "likes": 0}  # fmt: skip
        return self.json(said)

    def list_refs(self, repository):
        refs = [
            {"name": name, "ref": f"refs/{'tags' if name in self.server.tags else 'heads'}/{name}",
             "targetCommit": commit}
            for name, commit in self.server.repositories[repository].items() if not name.startswith("refs/")
        ]  # fmt: skip
        tags = [ref for ref in refs if ref["name"] in self.server.tags]
        return self.json({"branches": [ref for ref in refs if ref not in tags], "tags": tags, "converts": []})

    def tree(self, commit, inside):
        folder = self.server.commits[commit].joinpath(*inside)
        if not folder.is_dir():
            return self.say(404, b"{}", {"X-Error-Code": "EntryNotFound"})
        return self.json([{"type": "file", "path": name, "size": 1, "oid": "0"} for name in names(folder)])

    def file(self, repository, revision, name):
        """Where a file of a revision is, in the headers that say so."""
        commit = self.server.commit_of(repository, revision)
        if commit is None:
            return self.say(404, b"", {"X-Error-Code": "RevisionNotFound"})
        if repository in self.server.gated and self.token not in self.server.members:
            return self.say(401 if self.token is None else 403, b"", {"X-Error-Code": "GatedRepo"})
        path = self.server.commits[commit] / name
        if not path.is_file():
            return self.say(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        if path.suffix not in LARGE:
            return self.say(307, b"", {"Location": f"/api/resolve-cache/models/{repository}/{commit}/{name}"})
        content = path.read_bytes()
        route = f"{self.server.url}/api/models/{repository}/xet-read-token/{commit}"
        shared = {"X-Xet-Hash": "ab" * 32, "X-Xet-Refresh-Route": route} if self.server.xet else {}
        return self.say(302, b"", {
            "Location": f"{self.server.storage}/storage/{commit}/{name}", "X-Repo-Commit": commit,
            "X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{hashlib.sha256(content).hexdigest()}"', **shared,
        })  # fmt: skip

    def small(self, repository, commit, name):
        content = (self.server.commits[commit] / name).read_bytes()
        etag = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        return self.content(content, {"X-Repo-Commit": commit, "ETag": f'"{etag}"'})

    def content(self, content, headers):
        """All bytes, or those from the start that was asked for."""
        if wanted := self.headers.get("Range"):
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return self.say(206, content[start:], headers)
        return self.say(200, content, headers)

    def json(self, said):
        return self.say(200, json.dumps(said).encode(), {"Content-Type": "application/json"})

    def say(self, code, content, headers):
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *words):
        """Say nothing."""


class DatasetAnswers(Answers):
    """The same answers for datasets, whose paths begin otherwise, with the sizes of files."""

    def do_GET(self):
        self.path = self.path.replace("/api/datasets/", "/api/models/")
        if self.path.startswith("/datasets/"):
            self.path = self.path.removeprefix("/datasets")
        super().do_GET()

    def do_POST(self):
        """Which of some paths there are."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        parts = urlsplit(self.path).path.strip("/").split("/")
        commit = self.server.commit_of("/".join(parts[2:4]), parts[5])
        self.command = "GET"
        self.json([each for each in self.entries(commit) if each["path"] in asked["paths"]])

    def entries(self, commit):
        folder = self.server.commits[commit]
        files = [
            {"type": "file", "path": name, "size": (folder / name).stat().st_size, "oid": "0" * 40}
            for name in names(folder)
        ]
        folders = sorted({str(path) for each in files for path in Path(each["path"]).parents} - {"."})
        return files + [{"type": "directory", "path": name, "oid": "1" * 40} for name in folders]

    def tree(self, commit, inside):
        prefix, deep = "".join(f"{part}/" for part in inside), "recursive=true" in self.path.lower()
        found = [each for each in self.entries(commit) if each["path"].startswith(prefix)]
        return self.json([each for each in found if deep or "/" not in each["path"].removeprefix(prefix)])

    def content(self, content, headers):
        """The bytes asked for, with an end where one was named."""
        begin, _, end = (self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")
        if not end:
            return super().content(content, headers)
        part = content[int(begin) : int(end) + 1]
        self.server.bytes_given += len(part) if self.command == "GET" else 0
        return self.say(206, part, {**headers, "Content-Range": f"bytes {begin}-{end}/{len(content)}"})


def refusing(times, *, to, code, headers=None):
    """A trouble: requests whose path begins so are refused, the first so many of them."""
    left = [times]

    def trouble(answer, path):
        if not path.startswith(to) or not left[0]:
            return False
        left[0] -= 1
        answer.say(code, b"", headers or {})
        return True

    return trouble


def cutting(times, *, after, reset=False):
    """A trouble: large files end after so many bytes, the first so many of them, closed in order or by a reset."""
    left = [times]

    def trouble(answer, path):
        if not path.startswith("/storage/") or answer.command != "GET" or not left[0]:
            return False
        left[0] -= 1
        commit, _, name = path.removeprefix("/storage/").partition("/")
        content = (answer.server.commits[commit] / name).read_bytes()
        start = int((answer.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        answer.send_response(206 if start else 200)
        answer.send_header("Content-Length", str(len(content) - start))
        answer.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        answer.end_headers()
        answer.wfile.write(content[start : start + after])
        if reset:
            time.sleep(0.2)  # until the bytes were read, which a reset throws away
            answer.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            answer.connection.close()
        answer.close_connection = True
        return True

    return trouble


def gone(answer, path):
    """A trouble: a connection that is closed without an answer."""
    answer.close_connection = True
    return True


def names(folder):
    """The files below a folder, as the Hub names them."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


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
def asking(hub, **more):
    """A process that asks this Hub: words of a command line and a home of the cache -> exit code, all that was said.

    One process asks all questions, as importing the libraries takes longer than any of them. `more` are variables of
    its environment; those of one question, which libraries read when they are asked, go with the question.
    """
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1", "CUDA_VISIBLE_DEVICES": "", "no_proxy": "127.0.0.1,localhost",
        "HF_HUB_ETAG_TIMEOUT": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "1", **more,
    }  # fmt: skip
    environment.pop("HF_TOKEN", None)
    with subprocess.Popen(
        [sys.executable, "-c", ASKER, str(CHUNK)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def ask(words, home, environment=None):
            process.stdin.write(json.dumps([[*map(str, words)], str(home), environment or {}]) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask
        process.stdin.close()
