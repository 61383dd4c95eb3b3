"""README and docs as their readers use them: pages, blocks of code, links."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
FRONT = [ROOT / f"{word}.md" for word in ("README", "CONTRIBUTING", "CHANGELOG", "SECURITY")]
PAGES = sorted(
    [*FRONT, *(path for path in DOCS.rglob("*.md") if not {"generated", "_build"} & set(path.parts))]
)
FENCE = re.compile(
    r"^(?:<!-- run(?::\s*(?P<name>[\w-]+))? -->\n)?```(?P<kind>[\w{}-]*)[^\n]*\n(?P<text>.*?)^```$",
    re.M | re.S,
)
INDENTED = re.compile(r"(?:^    [^\n]*\n)+", re.M)


@dataclass(frozen=True)
class Block:
    """A block of code of a page; `workspace` is named where it is to run, `plain` where its page names none."""

    page: Path
    kind: str
    text: str
    workspace: str | None


def blocks(page):
    """The fenced blocks of a page, and the indented ones that hold commands of ours."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        marked = match[0].startswith("<!-- run")
        found.append(
            Block(page, match["kind"], match["text"], (match["name"] or "plain") if marked else None)
        )
    unfenced = FENCE.sub("", text)
    commands = [part for part in INDENTED.findall(unfenced) if part.lstrip().startswith("sparsity-lab ")]
    return found + [Block(page, "bash", part, None) for part in commands]


def commands(block):
    """The words of each of our commands in a block, without the name of the program."""
    lines = block.text.replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[1:] for line in words if line[:1] == ["sparsity-lab"]]


def name_of(page):
    """A page's path, as a test's id."""
    return page.relative_to(ROOT).as_posix()


def anchor(heading):
    """The anchor that GitHub gives a heading."""
    plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def prose(page):
    """A page's text without code, whether fenced, indented, or within a line, and without links' targets."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    text = INDENTED.sub("", text)
    text = re.sub(r"`[^`\n]*`", "", text)
    return re.sub(r"\]\([^)]*\)|<[^>]*>", "", text)
