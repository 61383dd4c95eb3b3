"""Blocks that README and docs mark as runnable are run, page by page, in a folder with what a reader would have."""

import json
import shutil

import pytest

from tests.command import run
from tests.documents import DOCS, PAGES, blocks, commands, name_of
from tests.fitting.lm_eval_documents import document, write_results

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("unrendered")]

STORIES = DOCS.parent / "tests" / "data"
RUNNABLE = {
    (name_of(page), block.workspace)
    for page in PAGES
    for block in blocks(page)
    if block.workspace is not None
}
WINDOW, LETTERS = 64, 9_000
MODELS = "model,family,params_b,release_date,MMLU,HellaSwag\n" + (
    "mine-1B,mine,1.1,2025-03-01,0.42,0.61\nmine-3B,mine,3.2,2025-06-01,0.58,0.70\n"
)


@pytest.fixture(scope="module")
def stories():
    """Text of the small model's own distribution."""
    return (STORIES / "text" / "stories260K_selfgen.txt").read_text(encoding="utf-8")


def series(folder, source):
    """Checkpoints of one run: the weights moved less and less, and how many tokens each was trained on."""
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(source / "model.safetensors")
    for number in range(1, 7):  # a fit takes six points
        place = folder / f"step-{100 * number}"
        shutil.copytree(source, place)
        generator = torch.Generator().manual_seed(number)
        noise = {name: torch.randn(value.shape, generator=generator) for name, value in weights.items()}
        moved = {name: value * (1 + 0.1 / number * noise[name]) for name, value in weights.items()}
        save_file(moved, place / "model.safetensors", metadata={"format": "pt"})
        tokens = {"trained_tokens": 10**6 * 2**number}
        (place / "sparsity_lab.json").write_text(json.dumps(tokens), encoding="utf-8")


def plain(folder, stories, **_):
    """A model under its Hub id, a dataset, a text, a run of checkpoints, and tables."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = folder / "EleutherAI" / "pythia-70m"
    shutil.copytree(STORIES / "models" / "stories260K", model)
    (folder / "validation.txt").write_text(stories[:LETTERS], encoding="utf-8")
    (folder / "wikitext").mkdir()
    pages = [{"text": stories[i : i + 3000]} for i in range(0, len(stories), 3000)]
    lines = "\n".join(map(json.dumps, pages))
    (folder / "wikitext" / "test.jsonl").write_text(lines, encoding="utf-8")
    series(folder / "runs" / "mine", model)
    (folder / "models.csv").write_text(MODELS, encoding="utf-8")
    points = [(run, 2**i, 0.3 - 0.2 * 2 ** (-0.5 * i) + 1e-3 * (i % 3)) for run in "ab" for i in range(9)]
    rows = "\n".join(f"{run},{tokens},{ratio}" for run, tokens, ratio in points)
    (folder / "table.csv").write_text(f"model,tokens_b,activation_ratio\n{rows}\n", encoding="utf-8")
    for template in ("ruler.csv", "architecture.py"):
        shutil.copy(DOCS / "extend" / "templates" / template, folder)
    ids = AutoTokenizer.from_pretrained(model)(stories[:LETTERS], return_tensors="pt").input_ids
    return {"model": AutoModelForCausalLM.from_pretrained(model).eval(), "ids": ids[0], "prompt": ids[:, :8]}


def trainer(folder, sources, source_text, trained, **_):
    """What a training script has at hand."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainingArguments

    shutil.copy(source_text, folder / "validation.txt")
    tokenizer = AutoTokenizer.from_pretrained(trained)
    tokenizer.pad_token = tokenizer.eos_token
    ids = torch.tensor(tokenizer(sources[:20_000], verbose=False)["input_ids"])
    windows = [{"input_ids": part, "labels": part} for part in ids.split(WINDOW)[:-1]]
    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"), max_steps=4, per_device_train_batch_size=4, learning_rate=1e-4,
        report_to=[], use_cpu=True, disable_tqdm=True, save_strategy="no",
    )  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(trained)
    return {"model": model, "arguments": arguments, "windows": windows, "tokenizer": tokenizer}


def ladder(folder, sources, source_text, trained, **_):
    """A tokenizer, a text to train on, and one to measure on."""
    shutil.copytree(trained, folder / "tokenizer", ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "corpus.txt").write_text(sources, encoding="utf-8")
    shutil.copy(source_text, folder / "validation.txt")
    return {}


def lm_eval(folder, **_):
    """Results of lm-eval of a family of five sizes and of two models, and the table of the page."""

    def results(name, params, score):
        scores = {"arc_easy": {"acc,none": score, "acc_stderr,none": 0.01}}
        return document(model=name, params=params, scores=scores)

    sizes = (1.6e8, 4.1e8, 1e9, 2.8e9, 6.9e9)
    scores = (0.36, 0.44, 0.52, 0.60, 0.67)
    family = [results(f"acme/base-{n / 1e9:g}b", n, s) for n, s in zip(sizes, scores, strict=True)]
    write_results(folder / "reference", *family)
    write_results(folder / "targets", results("mine/small", 6e8, 0.5), results("mine/large", 2e9, 0.63))
    page = (DOCS / "tutorials" / "lm-eval-to-density.md").read_text(encoding="utf-8")
    lines = [line.strip() for line in page.splitlines() if line.startswith("    ") and line.count(",") == 3]
    (folder / "models.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {}


WORKSPACES = {"plain": plain, "trainer": trainer, "ladder": ladder, "lm-eval": lm_eval}


@pytest.mark.parametrize(("page", "workspace"), sorted(RUNNABLE))
def test_a_page_does_what_it_says(
    page, workspace, tmp_path, monkeypatch, stories, sources, source_text, trained
):
    monkeypatch.chdir(tmp_path)
    names = WORKSPACES[workspace](
        tmp_path, stories=stories, sources=sources, source_text=source_text, trained=trained
    )
    for block in blocks(DOCS.parent / page):
        if block.workspace != workspace:
            continue
        if block.kind == "python":
            exec(compile(block.text, page, "exec"), names)
            continue
        assert commands(block), "a block that runs has commands of ours"
        for words in commands(block):
            done = run(*words, cwd=tmp_path)
            assert done.returncode == 0, f"{' '.join(words)}: {done.stderr[-2000:]}"
