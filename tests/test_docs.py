"""What README and docs say holds: their commands parse, their links lead somewhere, their words are plain."""

import ast
import re
import runpy

import pytest
import yaml

from sparsity_lab.cli.main import PROGRAM, click_exceptions, command_line
from tests.documents import DOCS, FRONT, PAGES, ROOT, anchor, blocks, commands, name_of, prose

BLOCKS = [block for page in PAGES for block in blocks(page)]
COMMANDS = sorted({(name_of(block.page), tuple(words)) for block in BLOCKS for words in commands(block)})
LINK = re.compile(r'\]\((?P<target>[^)\s]+)\)|(?:src|href)="(?P<other>[^"]+)"')
HAND_WRITTEN = [page for page in PAGES if page.name not in ("map.md", "architectures.md")]
# Words that the house does not use, and numbers without their zero.
WORDS = re.compile(
    r"\b(?:beside|besides|anew|stands? in|stands? for|stands? beside|is told|are told|tells? of|told of|so many|"
    r"whoever|heeds?|(?<![Tt]here )(?:is|are) no (?!longer|more)[a-z]+|colour|behaviour|licence|optimis\w*|"
    r"minimis\w*|normalis\w*|quantis\w*|recognis\w*|summaris\w*)\b|(?<![\w.\]])\.\d",
)


def parsed(words):
    """The context of a command, as the program makes it; nothing runs."""
    command, name = command_line(), PROGRAM
    context, left = None, list(words)
    while True:
        context = command.make_context(name, left, parent=context)
        left = [*getattr(context, "_protected_args", []), *context.args]
        if not left or not hasattr(command, "commands"):
            return context
        name, command, left = command.resolve_command(context, left)


@pytest.fixture(scope="module")
def options_files(tmp_path_factory):
    """A folder with the files that blocks of YAML name in their first line."""
    folder = tmp_path_factory.mktemp("options")
    for block in BLOCKS:
        if block.kind == "yaml" and (named := re.match(r"# ([\w-]+\.yaml)\n", block.text)):
            (folder / named[1]).write_text(block.text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=lambda part: part if isinstance(part, str) else "")
def test_the_command_line_takes_every_command(page, words, options_files, monkeypatch):
    monkeypatch.chdir(options_files)
    assert not parsed(words).args


@pytest.mark.parametrize("words", [("measure", "M", "--txet", "v"), ("fit", "--seed", "few"), ("densty",)])
def test_a_command_that_is_wrong_would_be_seen(words):
    with pytest.raises(click_exceptions.UsageError):
        parsed(words)


def test_there_are_commands_to_look_at():
    named = {words[0] for _, words in COMMANDS}
    assert named >= {*command_line().commands} - {"ls", "demo"}


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.kind in ("python", "yaml")], ids=lambda b: name_of(b.page)
)
def test_blocks_are_of_their_language(block):
    if block.kind == "python":
        ast.parse(block.text)
    else:
        assert yaml.safe_load(block.text)


@pytest.fixture(scope="module")
def generated():
    """The generated pages, by their places in the docs."""
    made = runpy.run_path(str(DOCS / "_generate.py"))
    return {DOCS / made["FOLDER"] / page: text for page, text in made["pages"]().items()}


def anchors(text):
    return {anchor(heading) for heading in re.findall(r"^#+ (.*)$", text, re.M)}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files_and_headings(page, generated):
    for match in LINK.finditer(page.read_text(encoding="utf-8")):
        target, _, wanted = (match["target"] or match["other"]).partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        place = (page.parent / target).resolve() if target else page
        assert place.exists() or place in generated, target
        if wanted:
            text = generated.get(place) or place.read_text(encoding="utf-8")
            assert wanted in anchors(text), f"{target}#{wanted}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pages_of_the_site_are_named(page, generated):
    for target in re.findall(r"\{doc\}`[^<`]*<([^>`]+)>`", page.read_text(encoding="utf-8")):
        assert (page.parent / f"{target}.md").resolve() in {*generated, *PAGES}


def test_every_page_is_in_a_table_of_contents(generated):
    trees = re.compile(r"```\{toctree\}\n:hidden:\n\n(.*?)```", re.S)
    listed = {
        (page.parent / f"{entry}.md").resolve()
        for page, text in [*((p, p.read_text(encoding="utf-8")) for p in PAGES), *generated.items()]
        for tree in trees.findall(text)
        for entry in tree.split()
    }
    assert {page for page in {*PAGES, *generated} if DOCS in page.parents} - listed == {DOCS / "index.md"}


def test_the_generated_pages_hold_what_the_code_has(generated):
    from sparsity_lab import registry
    from sparsity_lab.store.records import RECORD_KEYS

    by_name = {page.name: text for page, text in generated.items()}
    for room, page in [("laws", "laws.md"), ("criteria", "criteria.md"), ("kernels", "kernels.md")]:
        assert set(registry.names(room)) <= anchors(by_name[page])
    assert all(f"`{key}`" in by_name["record-keys.md"] for key in RECORD_KEYS)
    for word, command in command_line().commands.items():
        for flag in [
            flag for parameter in command.params for flag in parameter.opts if flag.startswith("--")
        ]:
            assert flag in by_name["commands.md"], f"{word} {flag}"


def test_the_readme_is_short():
    assert len(FRONT[0].read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("page", HAND_WRITTEN, ids=name_of)
def test_words_are_plain(page):
    assert not sorted({match[0] for match in WORDS.finditer(prose(page))})


@pytest.mark.long
def test_the_site_builds_without_a_warning(tmp_path):
    """In a process of its own: Sphinx sets handlers and colors for its own."""
    import subprocess
    import sys

    pytest.importorskip("sphinx", reason="the extra `docs` is not installed")
    pytest.importorskip("myst_parser", reason="the extra `docs` is not installed")
    words = ["--fail-on-warning", "--keep-going", "-q", "-b", "html", "docs", str(tmp_path / "html")]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-d", str(tmp_path / "trees"), *words],
        cwd=ROOT, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "html" / "how-to" / "measure.html").exists()
