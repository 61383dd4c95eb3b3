"""A report's inputs, written by the code that writes them for users, and a real headless browser to look at it.

The browser is Chromium through its own driver, spoken to by the W3C protocol with the standard library alone.
Nothing is installed for it: where chromium and chromedriver are not found, tests that need them skip.
"""

import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from sparsity_lab.store import records

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"Enter": "\ue007", "Space": " ", "ArrowRight": "\ue014", "ArrowLeft": "\ue012", "End": "\ue010"}


def binaries():
    """Paths of the browser and its driver, or None where one of them is not installed."""
    browser = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


class Browser:
    """One window."""

    def __init__(self, folder, *, width=1280, height=900):
        browser, driver = binaries()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.root = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        flags = ["--headless=new", f"--user-data-dir={folder}", f"--window-size={width},{height}",
                 "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]  # fmt: skip
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            flags.append("--no-sandbox")  # Chromium refuses to sandbox itself as root
        wanted = {
            "goog:chromeOptions": {"binary": browser, "args": flags},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        self._wait()
        self.session = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def _wait(self):
        for _ in range(300):
            with contextlib.suppress(OSError):
                self.call("GET", "/status")
                return
            time.sleep(0.1)
        raise RuntimeError("chromedriver did not start")

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.root + path, data=data, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()) from error

    def do(self, method, path, body=None):
        return self.call(method, f"/session/{self.session}{path}", body)

    def open(self, path):
        self.do("POST", "/url", {"url": path.resolve().as_uri()})

    def js(self, script, *arguments):
        return self.do("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def find(self, css):
        return self.do("POST", "/element", {"using": "css selector", "value": css})[ELEMENT]

    def click(self, css):
        self.do("POST", f"/element/{self.find(css)}/click", {})

    def press(self, *names):
        """Keys to whatever has the focus."""
        steps = [
            {"type": kind, "value": KEYS.get(name, name)} for name in names for kind in ("keyDown", "keyUp")
        ]
        self.do("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": steps}]})

    def hover(self, css):
        goal = {"type": "pointerMove", "duration": 0, "x": 0, "y": 0, "origin": {ELEMENT: self.find(css)}}
        mouse = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": [goal]}
        self.do("POST", "/actions", {"actions": [mouse]})

    def devtools(self, command, **parameters):
        return self.do("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def scheme(self, name):
        """As if the reader's system preferred light or dark."""
        self.devtools(
            "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}]
        )

    def width(self, pixels, height=900):
        size = {"width": pixels, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.devtools("Emulation.setDeviceMetricsOverride", **size)

    def processor_s(self, path):
        """Processor time of the page's own thread from the call for a file to the end of its loading."""
        self.open(Path(os.devnull))
        self.devtools("Performance.enable", timeDomain="threadTicks")
        before = self._task_s()
        self.open(path)
        return self._task_s() - before

    def _task_s(self):
        metrics = self.devtools("Performance.getMetrics")["metrics"]
        return next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")

    def log(self):
        return self.do("POST", "/se/log", {"type": "browser"})

    def pdf(self):
        return base64.b64decode(self.do("POST", "/print", {"background": False}))

    def shot(self, path):
        path.write_bytes(base64.b64decode(self.do("GET", "/screenshot")))

    def close(self):
        with contextlib.suppress(OSError, RuntimeError):
            self.do("DELETE", "")
        self.process.terminate()
        self.process.wait(timeout=30)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A window for the whole session."""
    if binaries() is None:
        pytest.skip("no chromium with chromedriver here")
    window = Browser(tmp_path_factory.mktemp("browser"))
    yield window
    window.close()


PROVENANCE = {
    "versions": {"sparsity-lab": "0.1.0", "torch": "2.13.0"}, "python": "3.11.7", "platform": "Linux", "device": "cpu",
    "dtype": "float32", "dtype_reason": "the CPU is exact", "command": "sparsity-lab measure runs/relu --text a.txt",
    "git": "1accbff578d6bbd3d45e7370e1abd00cfd86c70d", "time": "2026-01-01T00:00:00+00:00",
}  # fmt: skip


def record(number=0, **changed):
    """A record of a small model; each number has a key and values of its own."""
    ratio = 0.05 + 0.001 * number
    return {
        "model": f"runs/relu/step-{number}", "revision": None, "series": "relu", "architecture": "llama",
        "activation_function": "relu", "gated": True, "criterion": "cett", "compat": None,
        "text_source": None,
        "site_certificate": {"largest_difference": 0.0, "sites": 4, "tokens": 8, "dtype": "float32", "activation": ""},
        "rule": ("series", "ppl-increase")[number % 2], "knob": 0.12, "knob_interval": [0.11, 0.13],
        "ppl_increase_target": 0.01, "activation_ratio_target": None, "activation_ratio": ratio,
        "activation_ratio_se": 0.0004, "activation_ratio_interval": [ratio - 0.001, ratio + 0.001],
        "activation_ratio_per_layer": [ratio, ratio / 2, ratio / 3, ratio * 1.5], "activated_share": ratio,
        "thresholds": [0.011, 0.02, 0.03, 0.04], "score_weights_sha256": None, "calibrated_on": None,
        "loss_dense_nats": 4.65, "loss_sparse_nats": 4.66, "ppl_dense": 104.58, "ppl_sparse": 105.63,
        "ppl_ratio": 1.01005, "loss_delta_se_nats": 0.0011, "flags": ["noisy"] if number % 7 == 0 else [],
        "search": [[0.1, 0.0047 + i / 1e4, 2048] for i in range(9)], "forward_passes": 6.6,
        "zero_output_tokens": [0, 0, 0, 0], "nonzero_ratio": 0.237, "tokens": 16384, "window": 256, "bos": False,
        "sample": "spread", "errors_hold_for": "the corpus", "errors_at": "the knob found", "error_units": 64,
        "activation_ratio_se_with_knob": None, "activation_ratio_components_with_knob": None,
        "activation_ratio_components": [0.0001] * 16,
        "loss_delta_components_nats": [0.000275] * 16, "activation_ratio_slope": -0.05, "stop_error_nats": 0.0011,
        "trained_tokens": 1000 * (number + 1), "params_total": 2164416, "params_nonembedding": 1771200,
        "hidden_size": 192, "intermediate_size": 512, "layers": 4, "width_depth_ratio": 48.0,
        "commit": None, "weights_sha256": "5c91" * 16, "unused_tensors": {}, "unused_files": [], "weights_from": None,
        "text_sha256": "4b80" * 16, "seed": 0, "content_key": records.content_key({"number": number}),
        "provenance": PROVENANCE, **changed,
    }  # fmt: skip


def heat(**changed):
    """What `sparsity-lab heat` writes, of six tokens and three layers."""
    active = [[(7 * t + 3 * layer) % 11 for layer in range(3)] for t in range(6)]
    return {
        "model": "runs/relu/step-9", "revision": None, "text": "a.txt", "criterion": "cett",
        "thresholds": [0.1, 0.2, 0.3], "calibrated_on": None, "ppl_increase_target": 0.01, "knob": 0.12,
        "tokens": ["The", " quick", "\n", "brown", "", " fox"], "token_ids": [1, 2, 3, 4, 5, 6], "sizes": [16, 16, 16],
        "active": active, "activation_ratio": sum(map(sum, active)) / 288,
        "loss_sparse_nats": [None, 1.0, 2.0, 3.0, 0.5, 0.25], "bos": False, "provenance": PROVENANCE, **changed,
    }  # fmt: skip


@pytest.fixture
def write_records():
    """Writes sealed records: `write_records(folder, count, **changed)`."""

    def write(folder: Path, count: int, **changed):
        for number in range(count):
            records.write_record(folder / "records", record(number, **changed))

    return write


@pytest.fixture
def write_heat():
    """Writes a token_heat.json: `write_heat(folder, **changed)`."""
    return lambda folder, **changed: records.write_json(folder / "token_heat.json", heat(**changed))


@pytest.fixture(scope="session")
def studied(tmp_path_factory):
    """A folder with records, their table and figure, fits with a lock and plots, scores and a token heat map."""
    from sparsity_lab.fitting.fit_table import fit_table
    from sparsity_lab.fitting.plots.measured import draw_table
    from sparsity_lab.fitting.spec import FitSpec
    from sparsity_lab.store.tables import to_csv

    folder = tmp_path_factory.mktemp("studied")
    rows = [
        {**record(n), "activation_ratio": 0.05 + 0.1 / (n + 1) ** 0.5 + 0.0004 * (-1) ** n, "rule": "series",
         "flags": ""} for n in range(14)
    ]  # fmt: skip
    for row in rows:
        records.write_record(folder / "measure" / "records", {**row, "flags": []})
    columns = [key for key, value in rows[0].items() if not isinstance(value, (list, dict))]
    table = folder / "measure" / "table.csv"
    table.write_text(to_csv(rows, columns), encoding="utf-8")
    draw_table(table, output=table.parent)
    fit_table(table, output=folder / "fit", spec=FitSpec(draws=20), lock="a first fit")
    scores = [
        {"setting": "dense", "mine (acc)": 0.5, "mean": 0.5},
        {"setting": "PPL-1%", "mine (acc)": 0.4, "mean": 0.4},
    ]
    records.write_json(folder / "eval" / "eval.json", {"rows": scores, "provenance": PROVENANCE})
    records.write_json(folder / "heat" / "token_heat.json", heat())
    return folder
