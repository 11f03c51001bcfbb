"""The arrows between the packages, and what an import may cost."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("lps_sim", "capture_rig", "dataset_builder", "training", "cli")

# package -> packages it may import
ARROWS = {
    "lps_sim": set(),
    "capture_rig": {"lps_sim"},
    "dataset_builder": {"lps_sim"},
    "training": {"lps_sim", "dataset_builder"},
    "cli": {"lps_sim", "capture_rig", "dataset_builder", "training"},
}

# training reads finished data sets; it must not reach for the code that makes them
READING_SIDE = {"actions", "formats", "identity", "index", "manifest", "naming", "splits"}

HEAVY = ("torch", "cv2", "ray", "transformers", "matplotlib", "av", "numba")


def imports_of(path: Path) -> list[tuple[str, int]]:
    """Absolute module names that a file imports anywhere, with line numbers; relative ones are resolved."""
    package = path.relative_to(ROOT).with_suffix("").parts
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            found.append((module, node.lineno))
            found += [(f"{module}.{alias.name}", node.lineno) for alias in node.names]
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_follow_the_arrows(package: str) -> None:
    forbidden = set(PACKAGES) - ARROWS[package] - {package}
    against = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in (ROOT / package).rglob("*.py")
        for module, line in imports_of(path)
        if module.split(".")[0] in forbidden
    ]
    assert not against


def test_training_reads_only_the_reading_side_of_the_builder() -> None:
    against = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in (ROOT / "training").rglob("*.py")
        for module, line in imports_of(path)
        if module.startswith("dataset_builder.") and module.split(".")[1] not in READING_SIDE
    ]
    assert not against


def test_every_package_is_listed_in_setup_cfg() -> None:
    text = (ROOT / "setup.cfg").read_text()
    listed = set(text.split("packages =\n", 1)[1].split("install_requires", 1)[0].split())
    folders = {path.parent.relative_to(ROOT) for name in PACKAGES for path in (ROOT / name).rglob("__init__.py")}
    present = {".".join(folder.parts) for folder in folders}
    assert listed == present


@pytest.mark.parametrize(
    "code",
    [
        "import lps_sim",
        "from lps_sim import FilmModel, Camera",
        "import sys; sys.argv = ['lps', '--help']\nfrom cli.main import main\ntry: main()\nexcept SystemExit: pass",
    ],
    ids=["import lps_sim", "FilmModel and Camera", "lps --help"],
)
def test_light_imports_load_nothing_heavy(code: str) -> None:
    """A fresh interpreter: what this process has imported already would hide a regression."""
    probe = f"{code}\nimport sys\nprint('LOADED', *sorted(set({HEAVY!r}) & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.splitlines()[-1] == "LOADED"


def test_source_files_stay_readable_in_one_sitting() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for name in PACKAGES
        for path in (ROOT / name).rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 420
    }
    assert not long
