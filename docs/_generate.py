"""Writes the reference pages that follow from the code: commands, keys, columns, laws, criteria, kernels, rooms.

python docs/_generate.py           writes them to docs/reference/generated

`make docs` does that by itself. Nothing here loads torch: criteria and kernels are described by their docstrings.
"""

import ast
import csv
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import typer  # noqa: E402

from sparsity_lab import registry  # noqa: E402
from sparsity_lab.cli.main import PROGRAM, command_line  # noqa: E402
from sparsity_lab.store import bundled, table_columns  # noqa: E402
from sparsity_lab.store.records import RECORD_KEYS  # noqa: E402

FOLDER = Path("reference") / "generated"
DOCS, PACKAGE = ROOT / "docs", ROOT / "sparsity_lab"
COPIES = DOCS / FOLDER / "repository"
LINK = re.compile(r"(?P<text>\[[^\]\n]*\])\((?P<target>[^)\s]+)\)")
IMAGE = re.compile(r'<img src="(?P<target>[^"]+)"[^>]*alt="(?P<text>[^"]*)"[^>]*>')
NOTE = "*This page is generated from the code by `make docs`.*"


def pages():
    """Text of every generated page, by its name."""
    return {
        "commands.md": commands(),
        "record-keys.md": record_keys(),
        "table-columns.md": columns(),
        "laws.md": laws(),
        "criteria.md": entries("criteria", "Criteria", CRITERIA),
        "kernels.md": entries("kernels", "Kernels", KERNELS),
        "launchers-and-loggers.md": launchers_and_loggers(),
        "data.md": data(),
        "rooms.md": rooms(),
        **{f"repository/{name(path)}": copied(path) for path in outside()},
        "repository/index.md": contents(),
    }


def write(folder):
    """Write the pages that differ from those there, so that Sphinx reads no page again without need."""
    for page, text in pages().items():
        path = folder / page
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def table(heads, rows):
    """A Markdown table; bars and line breaks within cells are escaped."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in lines)


def cell(text):
    """Text as one cell of a table; `<` is kept from starting a tag."""
    joined = " ".join(str(text).split()).replace("|", "\\|")
    parts = joined.split("`")  # what is between backquotes is code already
    parts[::2] = [part.replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_") for part in parts[::2]]
    return "`".join(parts)


def commands():
    """Usage and options of every command, from the parser that runs them."""
    group = command_line()
    context = typer.Context(group, info_name=PROGRAM)
    parts = ["# Commands", NOTE, options_of(group, context), INTRO]
    for word in group.commands:
        parts += command(group.commands[word], word, context, depth=2)
    return "\n\n".join(parts) + "\n"


INTRO = """Options of several commands can also be given in a YAML file, `--config FILE`, under the names of their flags
(`ppl-increase: 1%`); flags on the command line override the file."""


def command(entry, word, parent, *, depth):
    """The parts of one command, and of those below it."""
    context = typer.Context(entry, info_name=word, parent=parent)
    usage = f"{context.command_path} {' '.join(entry.collect_usage_pieces(context))}"
    about = "\n\n".join(" ".join(part.split()) for part in (entry.help or "").split("\n\n"))
    parts = [f"{'#' * depth} {context.command_path}", plain(about), f"```text\n{usage}\n```"]
    parts.append(options_of(entry, context))
    for sub in getattr(entry, "commands", {}):
        parts += command(entry.commands[sub], sub, context, depth=depth + 1)
    return [part for part in parts if part]


def plain(text):
    """Prose in which `<` starts no tag."""
    return text.replace("<", "&lt;")


def options_of(entry, context):
    """A table of the arguments and options, in the order and under the panels of `--help`."""
    rows = []
    for parameter in entry.params:
        record = parameter.get_help_record(context)
        panel = getattr(parameter, "rich_help_panel", None) or (
            "Argument" if parameter.param_type_name == "argument" else ""
        )
        if record is not None:
            rows.append((panel, f"`{record[0]}`", record[1]))
    return table(("", "option", "meaning"), rows) if rows else ""


def record_keys():
    """Every key of a record of `measure`."""
    rows = [(f"`{key}`", meaning) for key, meaning in RECORD_KEYS.items()]
    head = "# Record keys\n\n" + NOTE
    told = "Each cell of `measure` leaves one JSON file, `records/KEY.json`. These are its keys."
    return f"{head}\n\n{told}\n\n{table(('key', 'meaning'), rows)}\n"


def columns():
    """Every column of every table."""
    parts = [
        "# Table columns",
        NOTE,
        "Every table is written as CSV and, where it has columns for readers, as Markdown.",
    ]
    for path in sorted(Path(table_columns.__file__).parent.glob("*.csv")):
        parts.append(f"## Tables of {path.stem}")
        for title, rows in read_columns(path.stem).items():
            parts += [f"### {path.stem}: {title}", table(("column", "heading", "meaning"), rows)]
    return "\n\n".join(parts) + "\n"


def read_columns(stem):
    """Rows for readers of the tables that a file of columns describes, by the table's name."""
    found = {}
    path = Path(table_columns.__file__).parent / f"{stem}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            meaning = row["meaning"] or RECORD_KEYS.get(row["key"], "")
            error = f" The next column, `{row['key']}_se`, is its standard error." if row["error"] else ""
            found.setdefault(row["table"], []).append((f"`{row['key']}`", row["heading"], meaning + error))
    return found


def laws():
    """Every law with its formula, source and coefficients."""
    parts = ["# Laws", NOTE, LAWS]
    for name in registry.names("laws"):
        law = registry.load("laws", name).LAW
        inputs = ", ".join(f"{v.symbol} = {v.meaning} ({v.unit})" for v in law.inputs)
        parts += [f"## {name}", f"`{law.formula}`", f"Source: {plain(law.source)}."]
        parts.append(
            f"Inputs: {inputs}. Output: {law.output.symbol} = {law.output.meaning} ({law.output.unit})."
        )
        rows = [(f"`{p.name}`", p.unit, p.meaning, interval(p.box)) for p in law.parameters]
        parts.append(table(("coefficient", "unit", "meaning", "possible range"), rows))
        if law.typed:
            parts.append(f'Typed: `--law "{law.typed}"`')
    return "\n\n".join(parts) + "\n"


LAWS = """`sparsity-lab fit --law NAME` takes one of these; any other law can be typed as a formula
([how](../../how-to/fit.md#type-a-law-of-your-own)). To add one under a name, see [add a law](../../extend/law.md)."""
CRITERIA = """A criterion says which neurons contribute weakly: a score, a scope, and one number, the knob. `measure
--criterion NAME` takes one of these. s is the activation function's output, u the up projection's, and a = s u. To
add one, see [add a criterion](../../extend/criterion.md)."""
KERNELS = """Each kernel has a torch reference and a Triton implementation of the same signature. `sparsity-lab bench
kernels` checks and times them. To add one, see [add a kernel](../../extend/kernel.md)."""


def interval(box):
    """A range as readers write it."""
    low, high = box
    if low == -float("inf") and high == float("inf"):
        return "any"
    return f"above {low:g}" if high == float("inf") else f"{low:g} to {high:g}"


def entries(room, title, about):
    """Every entry of a room of the registry, by the docstring of its file."""
    parts = [f"# {title}", NOTE, about]
    for name in registry.names(room):
        parts += [f"## {name}", docstring(source(room, name))]
        if room == "criteria":
            parts.append(knob(source(room, name)))
    return "\n\n".join(part for part in parts if part) + "\n"


def source(room, name):
    """The file of an entry of ours."""
    return PACKAGE.joinpath(*registry.ROOMS[room].split(".")[1:], f"{name.replace('-', '_')}.py")


def knob(path):
    """What the criterion's `KNOB` says, as a line; read from the syntax tree, as importing it takes torch."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and node.targets[0].id == "KNOB":
            said = {k.arg: ast.literal_eval(k.value) for k in node.value.keywords if k.arg != "high"}
            high = next(ast.unparse(k.value) for k in node.value.keywords if k.arg == "high")
            way = "more" if said["rising"] else "fewer"
            if said["scale"] == "none":
                return "It has no knob."
            return (
                f"Knob: `{said['symbol']}`, from {said['low']:g} to {high}; a larger value drops {way} neurons. "
                f"What a fixed knob needs of the whole text: {said.get('calibrates', 'quantile')}."
            )
    return ""


def launchers_and_loggers():
    """Launchers and loggers, by the docstrings of their files."""
    parts = [
        "# Launchers and loggers",
        NOTE,
        "`--launcher NAME` hands work to processes; `--log NAME` shows points.",
    ]
    for room in ("launchers", "loggers"):
        parts.append(f"## {room.capitalize()}")
        for name in registry.names(room):
            parts += [f"### {name}", docstring(source(room, name))]
    return "\n\n".join(parts) + "\n"


def data():
    """The bundled tables, with what the page of their folder says of them."""
    text = (PACKAGE / "data" / "README.md").read_text(encoding="utf-8")
    listed = ", ".join(f"`{name}`" for name in bundled.names())
    told = f"Names for `--data` and `--targets`: {listed}."
    return f"# Bundled data\n\n{NOTE}\n\n{told}\n\n" + re.sub(r"^# .*\n", "", text, count=1)


def rooms():
    """What every folder of the package says of itself."""
    parts = ["# The rooms", NOTE, "Every folder of the package and how its files work together."]
    for path in sorted(PACKAGE.rglob("__init__.py"), key=lambda path: path.parent):
        parts += [f"## {path.parent.relative_to(ROOT).as_posix()}/", docstring(path)]
    return "\n\n".join(parts) + "\n"


def outside():
    """Pages of the repository that are not in `docs/`: the site has copies, so that links to them lead somewhere."""
    front = [ROOT / f"{word}.md" for word in ("README", "CHANGELOG", "CONTRIBUTING", "SECURITY")]
    studies = sorted((ROOT / "results").glob("*/README.md"))
    return [path for path in (*front, *studies, PACKAGE / "data" / "README.md") if path.exists()]


def name(path):
    """The file name of a page's copy."""
    return path.relative_to(ROOT).as_posix().replace("/", "-")


def copied(path):
    """A page of the repository as a page of the site: the same text, its links leading to the same places."""
    text = IMAGE.sub(r"![\g<text>](\g<target>)", path.read_text(encoding="utf-8"))
    return relinked(text, path.parent, COPIES)


def relinked(text, before, after):
    """Text whose relative links, as seen from the folder `before`, lead to the same places from `after`.

    Where a place has a copy, they lead there.
    """

    def changed(match):
        target, _, anchor = match["target"].partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return match[0]
        place = (before / target).resolve()
        place = place / "README.md" if place.is_dir() else place
        if place in copies:
            place = COPIES / name(place)
        elif not place.exists() or (place.suffix == ".md" and DOCS not in place.parents):
            return match["text"].strip(
                "[]"
            )  # a folder without a page of its own, or a page that the site leaves out
        return f"{match['text']}({relative(place, after)}{'#' + anchor if anchor else ''})"

    copies = set(outside())
    return LINK.sub(changed, text)


def relative(place, folder):
    """The path of a place, seen from a folder."""
    return Path(os.path.relpath(place, folder)).as_posix()


def contents():
    """A list of the copies."""
    rows = [
        (f"[{heading(path)}]({name(path)})", f"`{path.relative_to(ROOT).as_posix()}`") for path in outside()
    ]
    tree = "\n".join(name(path).removesuffix(".md") for path in outside())
    told = "Pages of the repository that are not in `docs/`: its front pages, and the studies in `results/`."
    head = f"# Studies and front pages\n\n{told}\n\n{table(('page', 'file'), rows)}"
    return f"{head}\n\n```{{toctree}}\n:hidden:\n\n{tree}\n```\n"


def heading(path):
    """The first heading of a page."""
    return path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")


def docstring(path):
    """A module's docstring as Markdown: code is fenced, sections as of functions become bold."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    blocks = []
    for block in re.split(r"\n\n+", text):
        code = all(line.startswith("    ") for line in block.splitlines() if line.strip())
        if code and blocks and blocks[-1].startswith("```"):
            blocks[-1] = blocks[-1].removesuffix("\n```") + f"\n\n{block}\n```"
        else:
            blocks.append(f"```text\n{block}\n```" if code else plain(block).replace("*", "\\*"))
    return "\n\n".join(blocks)


if __name__ == "__main__":
    write(ROOT / "docs" / FOLDER)
