"""Writes the index of the atlas into results/atlas/README.md, behind its marker, from the fits that lie there.

python .ci/atlas.py           writes it
python .ci/atlas.py --check   exits 1 where it differs from the one that is there
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sparsity_lab.fitting.reproduce.atlas import index  # noqa: E402 - the package of this checkout

FOLDER = ROOT / "results" / "atlas"
PAGE = FOLDER / "README.md"
MARKER = "<!-- The rest is written by `python .ci/atlas.py`. -->\n"


def page() -> str:
    head = PAGE.read_text(encoding="utf-8").partition(MARKER)[0]
    return f"{head}{MARKER}\n{index(FOLDER)}\n"


def main() -> None:
    if "--check" in sys.argv[1:]:
        sys.exit(0 if PAGE.read_text(encoding="utf-8") == page() else 1)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
