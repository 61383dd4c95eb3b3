"""Names are listed without imports; every file of a room answers to its id."""

import subprocess
import sys
from importlib import metadata
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from sparsity_lab import registry
from sparsity_lab.errors import SparsityLabError

PACKAGE = Path(registry.__file__).parent


@pytest.fixture(autouse=True)
def _fresh():
    registry._third_party.cache_clear()
    yield
    registry._third_party.cache_clear()


@pytest.mark.parametrize("room", registry.ROOMS)
def test_the_ids_of_a_room_are_its_files(room):
    folder = PACKAGE.joinpath(*registry.ROOMS[room].split(".")[1:])
    stems = {path.stem.replace("_", "-") for path in folder.glob("[!_]*.py")}
    assert stems
    assert stems <= set(registry.names(room))
    assert registry.names(room) == sorted(registry.names(room))


@pytest.mark.parametrize("room", registry.ROOMS)
def test_every_id_loads(room):
    for name in registry.names(room):
        assert registry.load(room, name).__doc__


@pytest.mark.parametrize(
    ("room", "name", "told"),
    [
        ("criteria", "cet", r"There is no criterion named 'cet'\. Did you mean 'cett'\?"),
        ("architectures", "blom", r"no architecture named 'blom'\. Did you mean 'bloom'\?"),
        ("laws", "powr", r"no law named 'powr'\. Did you mean 'power'\?"),
        ("kernels", "tail_norms", r"no kernel named 'tail_norms'\. Did you mean 'tail-norms'\?"),
        ("criteria", "zzzzz", r"no criterion named 'zzzzz'\. Known: .*cett"),
        ("criteria", "../cett", "no criterion named"),
        ("criteria", "", "no criterion named ''"),
    ],
)
def test_an_unknown_name_is_told_the_nearest(room, name, told):
    with pytest.raises(SparsityLabError, match=told):
        registry.load(room, name)


def test_listing_imports_nothing():
    script = (
        "import sys\nfrom sparsity_lab import registry\n"
        "for room in registry.ROOMS: registry.names(room)\n"
        "assert not {'torch', 'numpy', 'transformers'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_third_parties_plug_in_and_do_not_shadow_ours(monkeypatch):
    def points(group):
        if group != "sparsity_lab.criteria":
            return []
        return [
            EntryPoint("mine", "sparsity_lab.measure.criteria.cett", group),
            EntryPoint("cett", "json", group),
            EntryPoint("no-module", "json:dumps", group),
        ]

    monkeypatch.setattr(metadata, "entry_points", points)
    assert "mine" in registry.names("criteria")
    assert registry.load("criteria", "mine").KNOB
    assert registry.load("criteria", "cett").__name__ == "sparsity_lab.measure.criteria.cett"
    with pytest.raises(SparsityLabError, match="does not name a module"):
        registry.load("criteria", "no-module")
