"""Threads are what a container's quota leaves, not what its host has."""

import os

import pytest

from sparsity_lab.machine.cores import available_cores

ALL = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def write(folder, name, text):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own"
    path.write_text("0::/machine/job\n")
    return path


def test_without_groups_it_is_the_cores_the_process_may_run_on(tmp_path):
    assert available_cores(cgroups=tmp_path, own=tmp_path / "none") == ALL


@pytest.mark.parametrize(
    ("text", "cores"), [("100000 100000\n", 1), ("50000 100000\n", 1), ("max 100000\n", ALL)]
)
def test_the_quota_of_the_own_group_counts(tmp_path, own, text, cores):
    write(tmp_path / "machine" / "job", "cpu.max", text)
    assert available_cores(cgroups=tmp_path, own=own) == cores


def test_a_group_above_counts_too(tmp_path, own):
    write(tmp_path / "machine" / "job", "cpu.max", "max 100000\n")
    write(tmp_path / "machine", "cpu.max", "100000 100000\n")
    assert available_cores(cgroups=tmp_path, own=own) == 1


def test_a_quota_beyond_the_cores_changes_nothing(tmp_path, own):
    write(tmp_path, "cpu.max", "6400000 100000\n")
    assert available_cores(cgroups=tmp_path, own=own) == ALL


def test_version_1_keeps_its_quota_in_two_files(tmp_path):
    (tmp_path / "own").write_text("4:cpu,cpuacct:/job\n")
    write(tmp_path / "cpu" / "job", "cpu.cfs_quota_us", "100000\n")
    write(tmp_path / "cpu" / "job", "cpu.cfs_period_us", "100000\n")
    assert available_cores(cgroups=tmp_path, own=tmp_path / "own") == 1
    write(tmp_path / "cpu" / "job", "cpu.cfs_quota_us", "-1\n")
    assert available_cores(cgroups=tmp_path, own=tmp_path / "own") == ALL
