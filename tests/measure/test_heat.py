"""Token heat maps: counts against a plain recount, text kept to the letter, mistakes told."""

import json
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent / "architectures"))
sys.path.insert(0, str(Path(__file__).parent / "neurons"))
from plain_mixture import watched
from tiny import tiny

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.page.parts.heat import checked
from sparsity_lab.measure.api import measure
from sparsity_lab.measure.checkpoint.loading import Source, load_model, load_tokenizer
from sparsity_lab.measure.model.loaded import find_sites
from sparsity_lab.measure.model.windows import cut
from sparsity_lab.measure.sources.paragraph import from_line
from sparsity_lab.measure.sources.texts import read_text
from sparsity_lab.measure.token_heat import token_heat
from tests.command import run
from tests.unrendered import unrendered


@pytest.fixture(scope="module")
def loaded(trained):
    source = Source(str(trained), None)
    return load_model(source, dtype=torch.float32, device="cpu"), load_tokenizer(source)


@pytest.fixture(scope="module")
def paragraph(source_text):
    return source_text.read_text(encoding="utf-8")[2000:2400]


def recount(model, ids, thresholds):
    """Kept neurons of each token and layer, activation by activation."""
    sites = find_sites(model).sites
    counts = [[0] * len(sites) for _ in ids]
    handles = []
    for site, eps in zip(sites, thresholds, strict=True):

        def mask(module, inputs, site=site, eps=eps):
            (a,) = inputs
            weight = site.down.weight
            for t in range(a.shape[1]):
                for i in range(a.shape[2]):
                    norm = torch.linalg.vector_norm(weight[:, i].double()).float()
                    if a[0, t, i] == 0 or (a[0, t, i].abs() * norm) <= eps:
                        a[0, t, i] = 0.0
                    else:
                        counts[t][site.layer] += 1
            return (a,)

        handles.append(site.down.register_forward_pre_hook(mask))
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0].double()
    for handle in handles:
        handle.remove()
    losses = [float(-torch.log_softmax(logits[t], -1)[ids[t + 1]]) for t in range(len(ids) - 1)]
    return counts, losses


def test_counts_and_losses_equal_a_plain_recount(loaded, paragraph):
    model, tokenizer = loaded
    thresholds = [0.02, 0.05]
    found = token_heat(model, tokenizer, paragraph, thresholds, tokens=40)
    counts, losses = recount(model, found["token_ids"], thresholds)
    assert found["active"] == counts
    assert 0 < sum(map(sum, counts)) < 40 * sum(found["sizes"])
    assert found["loss_sparse_nats"][0] is None
    assert found["loss_sparse_nats"][1:] == pytest.approx(losses, abs=1e-5)


def test_the_mean_over_tokens_is_the_activation_ratio_measured(loaded, paragraph):
    model, tokenizer = loaded
    ids = torch.tensor(tokenizer(paragraph)["input_ids"][:64])
    measured = measure(model, torch.cat([ids, ids]), knob=0.2, window=64)
    found = token_heat(model, tokenizer, paragraph, measured.thresholds, tokens=64)
    assert found["token_ids"] == ids.tolist()
    assert found["activation_ratio"] == pytest.approx(measured.activation_ratio, abs=1e-12)


@pytest.mark.parametrize("family", ["mixtral", "qwen2_moe"])
def test_of_a_mixture_the_experts_a_token_goes_to_are_counted(family, loaded):
    """Layers of the model; the plain loop is that of `tests/measure/neurons/plain_mixture.py`."""
    _, tokenizer = loaded
    model = tiny(family, vocab_size=len(tokenizer))
    sites = find_sites(model).sites
    thresholds = [0.2] * len(sites)
    found = token_heat(model, tokenizer, "def f(x):\n    return x + 1\n", thresholds, bos=False)
    ids = torch.tensor(found["token_ids"])
    seen, losses, _ = watched(model, sites, cut(ids.repeat(2), window=len(ids), bos_id=None), thresholds)
    blocks = list(dict.fromkeys(one.block for one in seen))
    plain = [[sum(len(one.active.get((0, t), ())) for one in seen if one.block == block) for block in blocks]
             for t in range(len(ids))]  # fmt: skip
    sizes = [sum(one.size for one in seen if one.block == block and (0, 0) in one.active) for block in blocks]
    assert (found["active"], found["sizes"]) == (plain, sizes)
    assert found["experts_per_token"] == [2 if any(one.expert is not None and one.block == block for one in seen)
                                          else 0 for block in blocks]  # fmt: skip
    assert 0 < found["activation_ratio"] == sum(map(sum, plain)) / (sum(sizes) * len(ids)) < 1
    assert sum(found["loss_sparse_nats"][1:]) == pytest.approx(losses[0], rel=1e-5)


def test_the_model_is_as_it_was(loaded, paragraph):
    model, tokenizer = loaded
    inputs = torch.tensor([tokenizer(paragraph)["input_ids"][:32]])
    with torch.no_grad():
        before = model(input_ids=inputs).logits
        token_heat(model, tokenizer, paragraph, [0.1, 0.1], tokens=32)
        assert torch.equal(model(input_ids=inputs).logits, before)


@pytest.mark.parametrize(
    "text", ["def f(x):\n    return x\n", "naïve café 🦊 – ok", "  two  spaces ", "日本語 text"]
)
def test_the_tokens_joined_are_the_text(loaded, text):
    model, tokenizer = loaded
    found = token_heat(model, tokenizer, text, [0.1, 0.1])
    assert "".join(found["tokens"]) == text
    assert len(found["tokens"]) == len(found["token_ids"]) == len(found["active"])


def test_too_little_text_and_thresholds_of_another_model_are_refused(loaded):
    model, tokenizer = loaded
    with pytest.raises(SparsityLabError, match="too few"):
        token_heat(model, tokenizer, "a", [0.1, 0.1])
    with pytest.raises(SparsityLabError, match="3 thresholds for a model of 2"):
        token_heat(model, tokenizer, "some text here", [0.1, 0.1, 0.1])


def test_a_line_keeps_what_reading_its_file_changed(tmp_path):
    (tmp_path / "t.txt").write_bytes(b"one two\r\nthree four\r\n")
    paragraph = from_line(read_text(tmp_path / "t.txt", tokens=5), 2, name=tmp_path)
    assert (paragraph, len(paragraph.notes)) == ("three four", 1)


@pytest.mark.long
def test_the_command_writes_what_a_report_reads(trained, source_text, tmp_path):
    done = run("measure", trained, "--text", source_text, "--window", 64, "--tokens", 512, "--knob", 0.2,
               "-o", tmp_path / "m", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    (record,) = (tmp_path / "m" / "records").glob("*.json")
    words = ("heat", trained, "--thresholds", record, "--text", source_text, "--output", tmp_path / "h")
    done = run(*words, "--line", 5, "--tokens", 30, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    heat = checked(json.loads((tmp_path / "h" / "token_heat.json").read_text(encoding="utf-8")), name="heat")
    assert len(heat["tokens"]) == 30
    assert heat["calibrated_on"]["content_key"] == record.stem
    for ending in ("csv", "md", "png", "svg"):
        assert (tmp_path / "h" / f"token_heat.{ending}").stat().st_size > 500
    before = (tmp_path / "h" / "token_heat.json").read_bytes()
    done = run(*words, "--line", 5, "--tokens", 30, cwd=tmp_path)
    assert "measured before" in done.stderr
    assert (tmp_path / "h" / "token_heat.json").read_bytes() == before
    done = run(*words, "--line", 5, "--tokens", 30, "--again", cwd=tmp_path)
    assert "measured before" not in done.stderr
    done = run(*words, "--jobs", 2, cwd=tmp_path)
    assert (done.returncode, "--jobs does nothing" in done.stderr) == (2, True)
    done = run(*words, "--line", 10**6, cwd=tmp_path)
    assert done.returncode == 2
    assert "no line 1000000" in done.stderr


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
@unrendered()
def test_several_models_have_a_folder_each_with_the_counts_of_each_alone(
    checkpoints, source_text, tmp_path, jobs
):
    models = sorted(checkpoints.iterdir())[:2]
    reading = ("--text", source_text)
    done = run(
        "measure", *models, *reading, "--window", 64, "--tokens", 512, "--knob", 0.2, "-o", tmp_path / "m"
    )
    assert done.returncode == 0, done.stderr
    shown = (*reading, "--tokens", 20, "--thresholds", tmp_path / "m")
    done = run("heat", *models, *shown, "--jobs", jobs, "-o", tmp_path / "both")
    assert done.returncode == 0, done.stderr
    folders = sorted(path.parent for path in (tmp_path / "both").rglob("token_heat.json"))
    assert [folder.parent for folder in folders] == [tmp_path / "both"] * 2
    for model, folder in zip(models, folders, strict=True):
        done = run("heat", model, *shown, "-o", tmp_path / model.name)
        assert done.returncode == 0, done.stderr
        places = tmp_path / model.name, folder
        one, other = (json.loads((place / "token_heat.json").read_text(encoding="utf-8")) for place in places)
        assert {**one, "provenance": None} == {**other, "provenance": None}
        assert (folder / "token_heat.png").exists()
