"""A cell measured in parts: merged counts are those of the whole to the last integer, and so is the record."""

import json
import os
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.loading import Source, load_config, load_model, load_tokenizer
from sparsity_lab.measure.checkpoints import measure_checkpoints
from sparsity_lab.measure.model.loaded import find_sites
from sparsity_lab.measure.model.passes import Subject
from sparsity_lab.measure.model.windows import cut, encode
from sparsity_lab.measure.search.settings import Setting
from sparsity_lab.measure.search.settings import given as given_setting
from sparsity_lab.measure.spec import MeasureSpec, expand
from sparsity_lab.measure.thresholds.stored import read_calibration
from sparsity_lab.measure.work import shards
from sparsity_lab.measure.work.launchers import Options
from sparsity_lab.measure.work.run_cells import Means
from sparsity_lab.store.records import read_record

WINDOWS, WINDOW, BATCH = 23, 64, 3


@pytest.fixture(scope="module")
def spec(source_text):
    return MeasureSpec(
        text=source_text,
        tokens=WINDOWS * WINDOW,
        window=WINDOW,
        batch_size=BATCH,
        device="cpu",
        sample="head",
    )


def measured(spec, folder, output, **more):
    (row,) = measure_checkpoints(spec, expand([str(folder)]), output=output, **more)
    return row


@pytest.fixture(scope="module")
def calibrated(spec, trained, tmp_path_factory):
    """Path of a record, whose thresholds are applied."""
    output = tmp_path_factory.mktemp("calibrated")
    row = measured(replace(spec, knob=0.2), trained, output)
    return output / "records" / f"{row['content_key']}.json"


@pytest.fixture(scope="module")
def subject(trained, spec):
    import torch

    source = Source(str(trained))
    model = load_model(source, dtype=torch.float32, device="cpu")
    ids = encode(load_tokenizer(source), spec.text.read_text(encoding="utf-8"), tokens=spec.tokens)
    assert load_config(source).vocab_size > int(ids.max())
    return Subject(model, find_sites(model)[1], cut(ids, window=WINDOW), BATCH)


@given(st.integers(1, 200), st.integers(1, 40), st.integers(1, 20))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_spans_cover_the_text_once_and_begin_where_a_batch_begins(windows, wanted, batch):
    found = shards.spans(windows, shards=wanted, batch=batch)
    assert np.concatenate([span.rows for span in found]).tolist() == list(range(windows))
    assert all(span.start % batch == 0 and span.stop > span.start for span in found)
    assert len(found) == min(wanted, -(-windows // batch)) == found[0].count
    assert [span.number for span in found] == list(range(1, len(found) + 1))
    sizes = [-(-(span.stop - span.start) // batch) for span in found]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.thorough
@pytest.mark.parametrize("rule", ["thresholds", "fat", "top-k", "relu-zero"])
@pytest.mark.long
def test_merged_counts_are_those_of_the_whole(rule, subject, calibrated, tmp_path):
    knobs = {"fat": 0.05, "top-k": 0.4, "relu-zero": 0.0}
    setting = (
        given_setting(read_calibration(calibrated))
        if rule == "thresholds"
        else Setting("fixed", knob=knobs[rule])
    )
    criterion = "cett" if rule == "thresholds" else rule
    (everything,) = shards.spans(WINDOWS, shards=1, batch=BATCH)
    whole = shards.measure_part(subject, setting, everything, criterion=criterion, seed=0)
    assert whole.sparse.active.sum() > 0
    for count in (2, 3, 8, 40):
        found = shards.spans(WINDOWS, shards=count, batch=BATCH)
        for span in reversed(found):
            part = shards.measure_part(subject, setting, span, criterion=criterion, seed=0)
            shards.write_part(tmp_path, span.name("key"), part, span=span)
        merged = shards.read_parts(tmp_path, "key", found)
        assert merged.forward_tokens == whole.forward_tokens
        for kind in ("dense", "sparse", "sums"):
            for one in fields(getattr(whole, kind)):
                ours, all_of_it = (getattr(getattr(part, kind), one.name) for part in (merged, whole))
                assert ours.dtype == all_of_it.dtype
                np.testing.assert_array_equal(ours, all_of_it, err_msg=f"{kind}.{one.name}")
        shards.remove_parts(tmp_path, "key")
        assert not os.listdir(tmp_path)


def timeless(row):
    return {key: value for key, value in row.items() if key not in ("provenance", "record_sha256")}


LOCAL_JOBS = Options(launcher="slurm", jobs=2, slurm={"cluster": "local", "timeout_min": "10"})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("launcher", "options"),
    [
        ("inline", Options()),
        pytest.param("inline", Options(jobs=2), marks=pytest.mark.slow),
        pytest.param("ray", Options(launcher="ray", jobs=2), marks=pytest.mark.slow),
        pytest.param("slurm", LOCAL_JOBS, marks=pytest.mark.slow),
    ],
)
def test_the_record_is_that_of_the_whole_and_no_part_is_left(
    spec, trained, calibrated, tmp_path, launcher, options, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    if launcher != "inline":
        pytest.importorskip({"slurm": "submitit"}.get(launcher, launcher))
    one = replace(spec, thresholds=calibrated)
    whole = measured(one, trained, tmp_path / "whole")
    split = replace(one, text_shards=4)
    parts = measured(split, trained, tmp_path / "parts", means=Means(options))
    assert timeless(parts) == timeless(whole)
    assert parts["forward_passes"] == 2
    assert os.listdir(tmp_path / "parts" / "records") == [f"{whole['content_key']}.json"]


def test_at_a_knob_only_the_pilot_is_saved(spec, trained, tmp_path):
    one = replace(spec, criterion="top-k", knob=0.5)
    whole = timeless(measured(one, trained, tmp_path / "whole"))
    parts = timeless(measured(replace(one, text_shards=3), trained, tmp_path / "parts"))
    assert parts.pop("forward_passes") == 2 < whole.pop("forward_passes")
    assert parts == whole


@pytest.mark.thorough
@pytest.mark.parametrize("damage", ["missing", "cut short", "flipped", "none"])
@pytest.mark.long
def test_parts_of_a_run_that_was_killed_are_used_unless_damaged(
    spec, trained, calibrated, tmp_path, damage, subject
):
    one = replace(spec, thresholds=calibrated, text_shards=2)
    whole = measured(replace(one, text_shards=1), trained, tmp_path / "whole")
    setting = given_setting(read_calibration(calibrated))
    folder = tmp_path / "parts" / "records"
    folder.mkdir(parents=True)
    found = shards.spans(WINDOWS, shards=2, batch=BATCH)
    for span in found:
        part = shards.measure_part(subject, setting, span, criterion="cett", seed=0)
        shards.write_part(folder, span.name(whole["content_key"]), part, span=span)
    path = folder / f"{found[0].name(whole['content_key'])}.arrays"
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "cut short":
        path.write_bytes(data[:100])
    elif damage == "flipped":
        data[len(data) // 3] ^= 255
        path.write_bytes(data)
    row = measured(one, trained, tmp_path / "parts")
    assert timeless(row) == timeless(whole)
    assert json.loads(json.dumps(row)) == read_record(folder / f"{row['content_key']}.json")
    assert os.listdir(folder) == [f"{row['content_key']}.json"]


@pytest.mark.parametrize(
    "changed",
    [
        {"ppl_increase": 0.05}, {"knob": 0.1}, {"knob": 0.9, "criterion": "cats"}, {"activation_ratio": 0.3},
        {"stabilise_last": 1}, {"knob": 0.1, "compat": "sparsinglaw", "batch_size": None},
    ],
)  # fmt: skip
def test_what_needs_the_whole_text_is_refused(spec, trained, tmp_path, changed):
    with pytest.raises(SparsityLabError, match=r"--text-shards needs.*--thresholds of a record"):
        measured(replace(spec, text_shards=2, **changed), trained, tmp_path / "out")
    assert not (tmp_path / "out").exists()
