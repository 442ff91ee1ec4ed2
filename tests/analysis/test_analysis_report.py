"""The report as a whole: complete, the same bytes each time, safe, self-contained, and light to import."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import pytest
from synthetic import SyntheticSuite, write_datasets, write_store, write_training
from typer.testing import CliRunner

from analysis.commands.report import report_command
from analysis.palette import method_styles
from analysis.report import build_report, file_name
from suites.store import Store
from wombet.errors import InputError

TROUBLED = SyntheticSuite(levels=("close", "far"), todo={("rlpd", 4)}, failed={("sac", 2)}, running={("wombet", 3)})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def troubled(tmp_path_factory):
    root = write_store(tmp_path_factory.mktemp("troubled"), TROUBLED)
    write_training(root, TROUBLED)
    write_datasets(root, TROUBLED)
    return build_report(Store(root), TROUBLED.name, root / "out", resamples=1000)


def test_everything_is_written(troubled):
    names = set(contents(troubled.folder))
    assert {"report.html", "report.md", "tables/results.csv", "tables/runs.csv", "tables/evaluations.csv"} <= names
    assert {"tables/all-pairs.tex", "tables/reacher-close.tex", "tables/reacher-far-costs.tex"} <= names
    for stem in ("target-steps", "total-steps", "updates", "cpu-seconds", "seeds", "profile", "trace-q-mean"):
        assert f"figures/reacher-far-{stem}.svg" in names
    assert {"figures/improvement.svg", "tables/comparisons.tex", "tables/lower-bounds.csv"} <= names
    assert "figures/all-pairs-profile.svg" in names


def test_built_again_it_is_the_same_bytes_in_another_process_and_directory_order(troubled, tmp_path):
    # Written in another order, so that the file system lists the folders in another order too.
    store = tmp_path / "store"
    for path in sorted((p for p in troubled.folder.parent.rglob("*") if p.is_file()), reverse=True):
        relative = path.relative_to(troubled.folder.parent)
        if relative.parts[0] != "out":
            (store / relative).parent.mkdir(parents=True, exist_ok=True)
            (store / relative).write_bytes(path.read_bytes())
    script = (
        "import sys, pathlib; from analysis.report import build_report; from suites.store import Store\n"
        "build_report(Store(pathlib.Path(sys.argv[1])), 'reacher-smoke', pathlib.Path(sys.argv[2]), resamples=1000)"
    )
    environment = {"PYTHONHASHSEED": "77", "TZ": "Asia/Tokyo", "PYTHONPATH": ":".join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", script, store, tmp_path / "out"], check=True, env=environment)
    first, second = contents(troubled.folder), contents(tmp_path / "out")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_findings_are_in_the_page_and_in_the_markdown(troubled):
    for name in ("report.html", "report.md"):
        text = (troubled.folder / name).read_text()
        assert "seed 4 not run." in text
        assert "seed 2 failed: FloatingPointError: the critic loss is not finite" in text
        assert "seed 3 is interrupted (3 of 6 evaluations stored)" in text
        assert "54 of 60 planned runs are finished (2 failed, 4 not finished)" in text


def test_the_page_says_what_scores_and_tasks_are_and_where_numbers_come_from(troubled):
    text = (troubled.folder / "report.html").read_text()
    assert "divided by the horizon" in text
    assert "own design" in text
    assert troubled.results.manifest_sha256 in text
    assert "torch" in text
    for run in troubled.results.runs.itertuples():
        assert run.folder in text


class Loads(HTMLParser):
    """Collects everything a browser would fetch, and all ids."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "data", "poster", "srcset") and not value.startswith("#"):
                self.fetched.append(value)
            if name == "id":
                self.ids.append(value)


def test_the_page_loads_nothing_and_its_ids_are_unique(troubled):
    text = (troubled.folder / "report.html").read_text()
    page = Loads()
    page.feed(text)
    assert page.fetched == []
    assert not re.search(r"@import|url\((?!#)", text)
    assert page.tags.count("script") == 1
    assert len(page.ids) == len(set(page.ids))
    assert page.tags.count("svg") == 2 * 6 + 2 + 2 * 4


def test_references_inside_each_figure_lead_somewhere(troubled):
    text = (troubled.folder / "report.html").read_text()
    ids = set(re.findall(r'\bid="([^"]+)"', text))
    references = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    assert references
    assert references <= ids


def test_names_with_markup_are_escaped(tmp_path):
    evil = "<script>alert(1)</script>"
    suite = SyntheticSuite(title=evil, description=evil, methods=("sac", evil.replace("/", "|")), seeds=3)
    report = build_report(Store(write_store(tmp_path, suite)), suite.name, tmp_path / "out", resamples=1000)
    page, text = ((report.folder / name).read_text() for name in ("report.html", "report.md"))
    assert "<script" not in text
    assert page.count("<script") == 1  # our own
    assert "alert(1)</script>" not in page
    assert "&lt;script&gt;" in page


def test_a_suite_without_a_finished_run_still_has_a_report(tmp_path):
    suite = SyntheticSuite(todo={(method, seed) for method in SyntheticSuite().methods for seed in range(5)})
    report = build_report(Store(write_store(tmp_path, suite)), suite.name, tmp_path / "out", resamples=1000)
    assert "no run has finished" in report.page.read_text()
    assert "0 of 30 planned runs" in report.page.read_text()


@pytest.mark.parametrize("number", [2, 14])
def test_figures_are_drawn_for_few_and_many_methods(tmp_path, number):
    methods = ("sac", *[f"a-method-with-a-long-name-{index}" for index in range(number - 1)])
    suite = SyntheticSuite(methods=methods, seeds=2)
    report = build_report(Store(write_store(tmp_path, suite)), suite.name, tmp_path / "out", resamples=1000)
    for path in (report.folder / "figures").glob("*.svg"):
        ElementTree.parse(path)


def test_drawing_leaves_matplotlibs_settings_alone(tmp_path):
    matplotlib.rcParams["lines.linewidth"] = 7.5
    before = dict(matplotlib.rcParams)
    suite = SyntheticSuite(seeds=2)
    build_report(Store(write_store(tmp_path, suite)), suite.name, tmp_path / "out", resamples=1000)
    after = dict(matplotlib.rcParams)
    matplotlib.rcdefaults()
    assert after == before


def test_a_methods_colour_does_not_depend_on_the_others():
    alone, together = method_styles(["iql"]), method_styles(["sac", "iql", "bc", "wombet", "random"])
    assert alone["iql"] == together["iql"]
    assert together["random"].colour == "#767676"


def test_an_unknown_methods_colour_is_the_same_in_every_process():
    assert method_styles(["newcomer"])["newcomer"].colour == "#44AA99"


def test_unknown_methods_look_different_from_each_other_and_from_known_ones():
    names = ["sac", "wombet", "bc", *[f"method {index}" for index in range(30)]]
    styles = method_styles(names)
    assert len({(style.colour, str(style.dashes)) for style in styles.values()}) == len(names)
    assert method_styles(reversed(names)) == styles


@pytest.mark.parametrize(
    ("name", "safe"), [("a/../b", "a-..-b"), ("reacher-close", "reacher-close"), ("<>", "unnamed")]
)
def test_file_names_are_safe(name, safe):
    assert file_name(name) == safe


def run_report(*arguments: str):
    from typer import Typer

    program = Typer()
    program.command()(report_command)
    return CliRunner().invoke(program, [str(argument) for argument in arguments])


def test_the_verb_prints_the_table_and_ends_with_the_path_of_the_page(tmp_path):
    write_store(tmp_path)
    result = run_report("reacher-smoke", "--store", tmp_path, "--resamples", 1000)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[-1] == str(tmp_path / "reports" / "reacher-smoke" / "report.html")
    assert Path(lines[-1]).is_file()
    assert any(line.split()[:2] == ["wombet", "5/5"] for line in lines)
    assert "\x1b" not in result.stdout


def test_rliables_own_bootstrap_can_be_chosen_and_is_named(tmp_path):
    write_store(tmp_path, SyntheticSuite(methods=("sac", "bc")))
    options = ("reacher-smoke", "--store", tmp_path, "--resamples", 1000)
    assert run_report(*options, "--statistics", "rliable").exit_code == 0
    page = tmp_path / "reports" / "reacher-smoke" / "report.html"
    assert "drawn by rliable" in page.read_text()
    assert "'rlible'" in str(run_report(*options, "--statistics", "rlible").exception)


def test_the_further_tables_lie_beside_the_page(troubled):
    names = {path.stem for path in (troubled.folder / "tables").glob("*.csv")}
    assert {"aggregates", "improvement", "comparisons", "tally", "transfer", "budget", "noise"} <= names
    assert {"failures", "ranking", "stability", "anchors"} <= names


def test_the_verb_prints_json(tmp_path):
    suite = SyntheticSuite(methods=("sac", "bc"), todo={("bc", 4)}, failed={("sac", 2)})
    write_store(tmp_path, suite)
    result = run_report("reacher-smoke", "--store", tmp_path, "--resamples", 1000, "--json", "--out", tmp_path / "here")
    content = json.loads(result.stdout)
    assert content["suite"] == "reacher-smoke"
    assert [row["method"] for row in content["rows"]] == ["sac", "bc"]
    assert {finding["kind"] for finding in content["findings"]} == {"not run", "failed", "few seeds"}
    assert content["report"] == str(tmp_path / "here" / "report.html")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing"], "has no suite 'nothing'"),
        (["reacher-smoke", "--resamples", "10"], "resamples is 10; give a number from 1,000"),
        (["reacher-smoke", "--out", "FILE"], "is a file"),
        (["quickstart", "--set", "sac"], "does not read METHOD.FIELD=VALUE"),
        (["missing.toml"], "there is no suite file missing.toml"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(tmp_path, arguments, sentence):
    root = write_store(tmp_path / "store")
    (tmp_path / "file").write_text("")
    arguments = [str(tmp_path / "file") if argument == "FILE" else argument for argument in arguments]
    result = run_report(*arguments, "--store", root)
    assert isinstance(result.exception, InputError)
    assert sentence in str(result.exception)
    assert not (root / "reports").exists()


def imported(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after a statement."""
    script = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path)), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environment)
    return set(done.stdout.split())


def test_naming_the_verb_imports_nothing_heavy():
    heavy = {"torch", "gymnasium", "mujoco", "d3rlpy", "pandas", "numpy", "scipy", "matplotlib", "rliable", "jinja2"}
    assert (
        imported("import analysis, analysis.commands.report, analysis.commands.compare, analysis.commands.decide")
        & heavy
        == set()
    )


def test_making_a_report_needs_neither_torch_nor_a_simulator_nor_a_method(tmp_path):
    write_store(tmp_path, SyntheticSuite(seeds=2))
    loaded = imported(
        "import contextlib, io, pathlib; from analysis.commands.report import report_command\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        f"    report_command('reacher-smoke', pathlib.Path({str(tmp_path)!r}))"
    )
    assert {"pandas", "matplotlib"} <= loaded
    assert loaded & {"torch", "gymnasium", "mujoco", "d3rlpy", "baselines"} == set()
