"""The arrows of the house: wombet <- baselines <- suites <- analysis, and light entrances."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOUSE = ["wombet", "baselines", "suites", "analysis"]


def imported_modules(file: Path) -> set[str]:
    """Names of all modules that a file imports anywhere, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{file}: relative import"
            found.add(node.module)
    return found


@pytest.mark.parametrize("package", HOUSE)
def test_no_import_points_back(package: str) -> None:
    above = HOUSE[HOUSE.index(package) + 1 :]
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        tops = {name.split(".")[0] for name in imported_modules(file)}
        assert not tops & set(above), f"{file} imports {tops & set(above)}"


def test_analysis_knows_no_simulator_no_network_library_and_no_adapter() -> None:
    for file in (ROOT / "analysis").rglob("*.py"):
        tops = {name.split(".")[0] for name in imported_modules(file)}
        assert not tops & {"torch", "gymnasium", "mujoco", "d3rlpy", "baselines"}, file


def test_baselines_reach_the_suites_through_the_contract_alone() -> None:
    for file in (ROOT / "baselines").rglob("*.py"):
        assert "submitit" not in imported_modules(file)


@pytest.mark.parametrize("module", ["suites.cli", "analysis", "analysis.commands", "suites.spec", "suites.store"])
def test_entrances_load_neither_torch_nor_gymnasium(module: str) -> None:
    code = f"import {module}, sys; print([m for m in ('torch', 'gymnasium', 'mujoco', 'd3rlpy') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"


def test_building_the_program_with_all_its_verbs_loads_no_torch() -> None:
    code = "from suites.cli import build_program; build_program(); import sys; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "False"
