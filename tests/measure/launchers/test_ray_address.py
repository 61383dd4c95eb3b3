"""Addresses at which no Ray cluster answers: known in seconds, whatever listens there."""

import socket
import threading
import time

import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoints import measure_checkpoints
from sparsity_lab.measure.work.launchers import Options, _address
from sparsity_lab.measure.work.run_cells import Means


@pytest.fixture(params=["refuses", "is silent", "closes", "speaks otherwise"])
def no_ray(request, monkeypatch):
    """The address of a listener that is not Ray."""
    monkeypatch.setattr(_address, "ANSWER_S", 1.0)
    answer = {"closes": b"", "speaks otherwise": b"HTTP/1.1 400 Bad Request\r\n"}.get(request.param)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve():
            with listener.accept()[0] as stream:
                stream.sendall(answer)

        if request.param == "refuses":
            listener.close()
        elif answer is not None:
            threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{port}"


@pytest.mark.parametrize("scheme", ["", "ray://"])
@pytest.mark.long
def test_the_command_says_so_in_seconds(small, tmp_path, no_ray, scheme):
    pytest.importorskip("ray", reason="the extra cluster is not installed")
    since, address = time.monotonic(), scheme + no_ray
    with pytest.raises(SparsityLabError, match=f"There is no Ray cluster at the address {address}"):
        measure_checkpoints(*small, output=tmp_path, means=Means(Options(launcher="ray", address=address)))
    assert time.monotonic() - since < 60


def test_the_address_of_the_environment_is_asked_too(monkeypatch, no_ray):
    monkeypatch.setenv("RAY_ADDRESS", no_ray)
    assert _address.hindrance("auto") is not None


def test_a_cluster_that_died_without_leaving_word_is_asked_too(monkeypatch, tmp_path, no_ray):
    """Ray writes the address of the cluster it starts, and after a crash the file is still there."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text(no_ray)
    assert _address.hindrance("auto") is not None


@pytest.mark.parametrize("address", ["auto", "nonsense", "", "local"])
def test_what_only_ray_understands_is_left_to_it(address, monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert _address.hindrance(address) is None
