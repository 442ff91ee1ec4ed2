"""What the documents promise: the example of the README runs, its commands exist, and no private matter slipped in."""

import os
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from analysis.readme import readme_block, readme_blocks
from benchmarks.published_cost import read_all, table
from suites.archive import opened
from suites.integrity import check_store

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
EXAMPLE = ROOT / "examples" / "nearest-neighbour"
TASK = ROOT / "examples" / "double-pendulum"


def test_the_baseline_shown_in_the_readme_is_the_one_of_the_example() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert code.strip() == (EXAMPLE / "nearest_neighbour.py").read_text().strip()
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= 45


def test_the_task_family_shown_in_its_guide_is_the_one_of_the_example() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "adding-a-task.md").read_text(), re.DOTALL)
    assert code == (TASK / "double_pendulum.py").read_text()


@pytest.mark.parametrize(("package", "named"), [(EXAMPLE, "nearest-neighbour"), (TASK, "double_pendulum-close")])
def test_the_example_packages_are_installed_and_run_with_the_documented_commands(
    package: Path, named: str, tmp_path: Path
) -> None:
    installed = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", installed, package], check=True, cwd=tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", "from suites.cli import main; main()", "run", package / "suite.toml"]
    store = ["--store", tmp_path / "store", "--executor", "inline"]
    done = subprocess.run([*command, *store], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert named in done.stdout


def test_every_suite_and_verb_that_the_readme_names_exists() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    verbs = set(pyproject["project"]["entry-points"]["wombet.commands"])
    named = set(re.findall(r"`wombet ([\w-]+)", README)) | set(re.findall(r"\.venv/bin/wombet ([\w-]+)", README))
    assert named <= verbs
    for target in re.findall(r"(?:`|^|cpu )make ([a-z-]+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_every_file_that_the_readme_links_to_exists(link: str) -> None:
    assert (ROOT / link).exists()


def test_the_table_of_the_suites_names_every_module() -> None:
    folder = ROOT / "suites"
    table = [line for line in (folder / "README.md").read_text().splitlines() if line.startswith("| `")]
    named = [name.rstrip("/") for line in table for name in re.findall(r"`([\w*/]+)`", line.split("|")[1])]
    modules = [path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()]
    assert [name for name in sorted(modules) if not any(fnmatch(name, each) for each in [*named, "__init__"])] == []


def test_the_readmes_tables_are_what_the_published_results_generate() -> None:
    """After publishing: `wombet publish SUITE --store STORE --readme README.md`."""
    blocks = readme_blocks(ROOT / "README.md")
    assert blocks == {suite: readme_block(ROOT / "results" / suite, ROOT) for suite in blocks}
    assert list(blocks) == ["quickstart", "paper-fig2-pocket"]


def test_published_results_are_whole() -> None:
    for index in (ROOT / "results").glob("*/index.json"):
        with opened(index.parent) as store:
            assert check_store(store.root) == [], index.parent


def test_the_costs_in_the_results_page_are_those_of_the_published_runs() -> None:
    """After publishing: `python -m benchmarks.published_cost --page results/README.md`."""
    assert table(read_all(ROOT / "results")) in (ROOT / "results" / "README.md").read_text()


def test_versions_agree() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"version: {version}" in (ROOT / "CITATION.cff").read_text()
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    assert "torch==2.13.0" in constraints
    assert "mujoco==3.3.0" in constraints
