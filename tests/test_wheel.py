"""The wheel carries the package, its data and nothing else at top level."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_wheel_has_one_top_level_name(tmp_path):
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"sparsity_lab"}
    assert "sparsity_lab/py.typed" in names
    for source in (ROOT / "sparsity_lab" / "data").iterdir():
        assert f"sparsity_lab/data/{source.name}" in names
    for source in (ROOT / "sparsity_lab" / "store" / "table_columns").glob("*.csv"):
        assert f"sparsity_lab/store/table_columns/{source.name}" in names
    for kind in ("html", "css", "js"):
        assert f"sparsity_lab/fitting/page/page.{kind}" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
