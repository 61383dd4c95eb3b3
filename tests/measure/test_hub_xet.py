"""A Hub whose large files are in Xet storage, where the package, the storage or its tokens fail: plain HTTP does."""

import json
import os
import subprocess
import sys

import pytest

from tests.measure.hub_server import ID, ROOT, Hub, refusing, serving

COMMIT = "a" * 40
NAMES = ("model-1.safetensors", "model-2.safetensors")
BRING = """
import json, sys
from sparsity_lab.measure.checkpoint.hub import bring
from huggingface_hub.utils import _runtime
installed = _runtime.is_package_available
_runtime.is_package_available = lambda name: installed(name) and name not in sys.argv[1:2]
for name in sys.argv[3:]:
    print(bring(sys.argv[2], name, None))
"""
# Of hf_xet: once again, at once, where its storage cannot be reached; else it goes on for minutes.
SHORT = {"HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "1", "HF_XET_CLIENT_RETRY_BASE_DELAY": "10ms"}


@pytest.fixture
def hub(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        (folder / name).write_bytes(bytes([number]) * 300_000)
    (folder / "config.json").write_text(json.dumps({}))
    with serving(Hub()) as server:
        server.reset({COMMIT: folder}, {"main": COMMIT})
        server.xet = "http://127.0.0.1:9"  # where nobody answers
        yield server


def bring(hub, home, *, without="", **more):
    """The files as they came, and what was said."""
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "HF_HOME": str(home), "HF_ENDPOINT": hub.url, **SHORT,
        "no_proxy": "127.0.0.1,localhost", **more,
    }  # fmt: skip
    if not more:
        environment.pop("HF_HUB_DISABLE_XET", None)
    done = subprocess.run(
        [sys.executable, "-c", BRING, without, ID, *NAMES], env=environment, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [open(path, "rb").read() for path in done.stdout.split()], done.stderr


def tokens_asked(hub):
    return [path for path in hub.paths() if "xet-read-token" in path]


@pytest.mark.parametrize("trouble", ["no package", "no storage", "no token", "switched off"])
def test_files_come_over_plain_http_where_xet_does_not_work(hub, trouble, tmp_path):
    if trouble == "no token":
        hub.trouble = refusing(-1, to=f"/api/models/{ID}/xet-read-token", code=403)
    more = {"HF_HUB_DISABLE_XET": "1"} if trouble == "switched off" else {}
    found, said = bring(hub, tmp_path / "hf", without="hf_xet" if trouble == "no package" else "", **more)
    assert found == [bytes([number]) * 300_000 for number in range(2)]
    assert len({path for path in hub.paths("GET") if path.startswith("/storage/")}) == 2
    tries = trouble in ("no storage", "no token")
    assert len(tokens_asked(hub)) == tries, "after the first file Xet is left alone"
    assert ("HF_HUB_DISABLE_XET=1" in said) == tries
