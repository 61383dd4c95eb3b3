"""Every kernel compiles for sm_90 as it is launched, without spills, without flushing subnormals."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sparsity_lab import registry

pytest.importorskip("triton")
SCRIPT = Path(__file__).with_name("compile_for_hopper.py")
# Bytes of shared memory and registers of one block on sm_90.
SHARED, REGISTERS = 232_448, 65_536


def compiled_kernels(cache, *names):
    """What the compiler made of the kernels, of all of them where none is named."""
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(cache)
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *names],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    return compiled_kernels(tmp_path_factory.mktemp("triton"))


@pytest.mark.long
def test_one_kernel_compiles_without_spills_and_multiplies_on_the_matrix_units(tmp_path):
    kernels = compiled_kernels(tmp_path, "tail-norms")
    assert_fits(kernels)
    assert_multiplies(kernels)


@pytest.mark.slow
def test_every_kernel_of_the_room_is_among_them(compiled):
    assert {one["kernel"] for one in compiled} == set(registry.names("kernels"))
    assert {one["dtype"] for one in compiled} == {"float32", "bfloat16", "float16"}


@pytest.mark.slow
def test_nothing_spills_and_everything_fits(compiled):
    assert_fits(compiled)


def assert_fits(kernels):
    for kernel in kernels:
        assert kernel["spills"] == 0, kernel
        assert kernel["shared"] <= SHARED, kernel
        assert kernel["reg"] * kernel["warps"] * 32 <= REGISTERS, kernel


@pytest.mark.slow
def test_bits_are_those_of_ieee_arithmetic_where_counts_depend_on_them(compiled):
    for one in compiled:
        assert not one["flushes_subnormals"], one
        if (
            one["kernel"] in {"gated-threshold", "score-histogram", "topk-threshold"}
            or one["part"] == "assign"
        ):
            assert not one["fused"], one


@pytest.mark.slow
def test_products_in_16_bits_run_on_the_matrix_units(compiled):
    assert_multiplies(compiled)


def assert_multiplies(kernels):
    products = [one for one in kernels if (one["kernel"], one["part"]) == ("tail-norms", "multiply")]
    assert {one["dtype"]: one["wgmma"] > 0 for one in products} == {
        "float32": False,
        "bfloat16": True,
        "float16": True,
    }


@pytest.mark.slow
def test_reads_are_16_bytes_wide(compiled):
    widest = {}
    for one in compiled:
        key = one["kernel"], one["part"], one["dtype"]
        widest[key] = max(widest.get(key, 0), one["wide_loads"])
    assert all(count > 0 for count in widest.values()), widest
