"""Records of `neurons`, `structure` and `predict` with any value replaced: our own error, or usable numbers."""

import json
import math
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.neurons.affinity.found import predictions_of, read_bodies, source_of
from sparsity_lab.measure.neurons.affinity.spec import Costs, shape_of_words
from sparsity_lab.measure.neurons.affinity.traffic import traffic_rows
from sparsity_lab.measure.neurons.affinity.weights import Weights
from sparsity_lab.measure.neurons.frequency import record as neurons
from sparsity_lab.measure.neurons.predictors import record as predictors
from sparsity_lab.measure.neurons.spec import thresholds_of
from sparsity_lab.measure.neurons.structure import record as structure
from sparsity_lab.measure.spec import expand
from sparsity_lab.measure.thresholds.stored import read_calibration
from sparsity_lab.settings import WeightSettings
from sparsity_lab.store.records import seal
from tests.hostile.made_up import BRIEF, VALUES, attempt, changed

KINDS = {"neurons": neurons.KIND, "predict": predictors.KIND, "structure": structure.KIND}


@pytest.fixture(scope="module")
def written(watched, tmp_path_factory):
    """Of each command, a record's path in a folder of its own, arrays beside it, and what it says."""
    found = {}
    for command in ("neurons", "predict"):
        (path,) = (watched / command).glob("*_records/*.json")
        folder = tmp_path_factory.mktemp(command)
        for one in (path, path.with_suffix(".safetensors")):
            shutil.copy(one, folder)
        found[command] = (folder / path.name, json.loads(path.read_text(encoding="utf-8")))
    return found


def put(path, document):
    """Write a document, with a hash of its own where it can have one: NaN has none."""
    try:
        document = seal(document)
    except (ValueError, TypeError, AttributeError):
        document = {**document} if isinstance(document, dict) else document
    path.write_text(json.dumps(document), encoding="utf-8", errors="surrogatepass")


def weights_of(body):
    ffn, total = body["parameter_rows"][0]["ffn_dense"], body["parameter_rows"][0]["model_dense"]
    return Weights(ffn - ffn // 3, ffn // 3, max(1, total - ffn), 0, 1, 8, total)


@BRIEF
@given(data=st.data())
def test_estimates_of_any_record_of_neurons(written, data):
    path, document = written["neurons"]
    put(path, data.draw(changed(document)))
    for _, body in attempt(read_bodies, [path]) or ():
        rows = traffic_rows(body, weights_of(document), costs=Costs(predictor_cost=0.1))
        assert all(math.isfinite(row["model_bytes"]) and row["model_bytes"] > 0 for row in rows)
        source_of(body, ["elsewhere/tiny"], models=2)
        attempt(read_calibration, path)


@BRIEF
@given(data=st.data())
def test_estimates_with_any_record_of_predict(written, data):
    path, document = written["predict"]
    put(path, data.draw(changed(document)))
    _, body = written["neurons"]
    for one in attempt(read_bodies, [path], kind=predictors.KIND) or ():
        rows = traffic_rows(body, weights_of(body), costs=Costs(), predictions=one[1])
        assert all(math.isfinite(row["ffn_share"]) for row in rows)
        predictions_of(body, [one])


@pytest.mark.parametrize("kind", KINDS)
@settings(BRIEF, max_examples=30)
@given(value=VALUES, data=st.data())
def test_any_json_as_a_record(written, kind, value, data):
    for path, document in written.values():
        put(path, data.draw(st.sampled_from([value, {**document, "arrays_sha256": value}])))
        attempt(KINDS[kind].read, path)
        attempt(read_bodies, [path.parent], kind=KINDS[kind] if kind != "structure" else neurons.KIND)


@BRIEF
@given(data=st.data())
def test_any_folder_of_thresholds(written, trained, measured, data):
    path, _ = written["neurons"]
    put(path, data.draw(changed(json.loads(measured.read_text(encoding="utf-8")))))
    checkpoints = expand([str(trained)])
    for one in attempt(thresholds_of, [path.parent], checkpoints, WeightSettings()) or ():
        found = None if isinstance(one, SparsityLabError) else attempt(read_calibration, one)
        assert found is None or all(value >= 0 for value in found.thresholds)


@BRIEF
@given(words=st.text("0123456789xX²٣-. e", max_size=14) | st.from_regex(r"\d{1,12}x\d{1,12}", fullmatch=True))
def test_words_of_shapes(words):
    found = attempt(shape_of_words, words)
    assert found is None or all(0 <= side < 10**9 for side in found)
