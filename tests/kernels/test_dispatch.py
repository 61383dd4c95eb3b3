"""Which implementation runs, that the reason is said once, and that torch alone suffices."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sparsity_lab import registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.kernels import _dispatch


@pytest.fixture(autouse=True)
def _nothing_said_yet():
    _dispatch._say_once.cache_clear()


def test_auto_takes_torch_on_a_cpu_and_says_so_once(caplog):
    caplog.set_level(logging.INFO, logger="sparsity_lab")
    for _ in range(3):
        assert _dispatch.resolve("tail-norms", "auto", torch.ones(1)) == "torch"
    assert [record.message for record in caplog.records] == ["Kernel tail-norms runs in torch: cpu tensors."]


def test_auto_takes_triton_for_cuda_tensors_where_it_is_installed(monkeypatch):
    assert _dispatch._choice("auto", torch.device("cuda", 0))[0] == "triton"
    monkeypatch.setattr(_dispatch, "_triton_importable", lambda: False)
    chosen, reason = _dispatch._choice("auto", torch.device("cuda", 0))
    assert (chosen, reason) == ("torch", "triton is not installed (it is published for Linux only)")


def test_triton_on_a_cpu_needs_the_interpreter(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert _dispatch.resolve("tail-norms", "triton", torch.ones(1)) == "triton"
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(
        SparsityLabError, match=r"tail-norms cannot run on cpu.*interpreter, TRITON_INTERPRET=1"
    ):
        _dispatch.resolve("tail-norms", "triton", torch.ones(1))


def test_an_unknown_backend_is_told():
    with pytest.raises(SparsityLabError, match=r"no kernel backend named 'trition'.*Did you mean 'triton'"):
        _dispatch.resolve("tail-norms", "trition", torch.ones(1))


@pytest.mark.parametrize("name", registry.names("kernels"))
def test_every_kernel_has_the_same_face(name):
    module = registry.load("kernels", name)
    assert name == module.NAME
    assert callable(getattr(module, name.replace("-", "_")))
    parameters = (module.reference.__code__, module.triton_impl.__code__)
    reference, triton_impl = (
        code.co_varnames[: code.co_argcount + code.co_kwonlyargcount] for code in parameters
    )
    assert reference == triton_impl


@pytest.mark.long
def test_the_kernels_import_and_run_without_triton():
    script = (
        "import sys\n"
        "sys.modules['triton'] = None\n"  # importing it raises, as where it is not installed
        "import torch\n"
        "from sparsity_lab import registry\n"
        "for name in registry.names('kernels'):\n    registry.load('kernels', name)\n"
        "from sparsity_lab.kernels.topk_threshold import topk_threshold\n"
        "assert topk_threshold(torch.tensor([[1.0, 3.0]]), 1).tolist() == [3.0]\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_triton_compiles_into_a_temporary_folder_where_its_own_cannot_be_written(tmp_path, monkeypatch):
    def chosen(folder):
        monkeypatch.setenv("TRITON_CACHE_DIR", str(folder))
        _dispatch.keep_compiled.cache_clear()
        _dispatch.keep_compiled()
        return Path(os.environ["TRITON_CACHE_DIR"])

    (tmp_path / "file").write_text("")
    assert chosen(tmp_path / "new" / "cache") == tmp_path / "new" / "cache"
    instead = chosen(tmp_path / "file" / "cache")
    assert instead.is_dir()
    assert tmp_path not in instead.parents
    _dispatch.keep_compiled.cache_clear()
