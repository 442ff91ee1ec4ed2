"""Published results: what lies beside the archive, that it can be built again byte for byte, and what says so where."""

import json
import re
from pathlib import Path

import pytest
from synthetic import SyntheticSuite, write_datasets, write_store, write_training

from analysis import publication
from analysis.commands.publish import publish_command
from analysis.load import load_suite
from analysis.publication import publish
from analysis.readme import BEGIN, END, missing_cells, readme_block, readme_blocks, rewrite_readme
from analysis.report import build_report
from analysis.rerun import compare_command, rerun_command, rerun_frame
from suites.archive import ARCHIVE, INDEX, unpack
from suites.store import Store
from wombet.errors import InputError

WHOLE = SyntheticSuite(methods=("wombet", "sac", "bc"), levels=("close", "far"))
HOLEY = SyntheticSuite(methods=("wombet", "sac", "bc"), todo={("bc", 3), ("bc", 4)}, failed={("sac", 0)})


def filled(root: Path, suite: SyntheticSuite) -> Store:
    write_store(root, suite)
    write_training(root, suite)
    write_datasets(root, suite)
    return Store(root)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("whole")
    publish(filled(root / "store", WHOLE), WHOLE.name, root / "results")
    return root


@pytest.fixture(scope="module")
def holey(tmp_path_factory):
    root = tmp_path_factory.mktemp("holey")
    return root, publish(filled(root / "store", HOLEY), HOLEY.name, root / "results")


def test_every_table_and_figure_can_be_built_again_byte_for_byte(whole, tmp_path):
    published = whole / "results" / WHOLE.name
    unpack(published, tmp_path / "store")
    again = contents(build_report(Store(tmp_path / "store"), WHOLE.name, tmp_path / "again").folder)
    assert (published / "report.html").read_bytes() == again["report.html"]
    assert (published / "results.csv").read_bytes() == again["tables/results.csv"]
    first = contents(build_report(Store(whole / "store"), WHOLE.name, tmp_path / "first").folder)
    assert first.keys() == again.keys()
    assert len(first) > 50
    # The two pages say with what a run is to be compared: the published results, or the store that they were made from.
    assert {name for name in first if first[name] != again[name]} == {"report.html", "report.md"}
    pages = [re.sub(rb"--against \S+", b"", pages["report.html"]) for pages in (first, again)]
    texts = [re.sub(rb" with the stored ones.*?;", b"", page) for page in pages]
    assert texts[0] == texts[1]


def test_publishing_twice_changes_no_byte_and_removes_what_is_of_an_earlier_time(holey):
    root, made = holey
    published = made.folder
    before = contents(published)
    assert before.keys() == {"README.md", "report.html", "results.csv", "figure.svg", ARCHIVE, INDEX}
    (published / "old.csv").write_text("")
    publish(Store(root / "store"), HOLEY.name, root / "results")
    assert contents(published) == before


def test_a_page_that_is_too_large_is_left_to_the_commands_that_build_it(holey, tmp_path, monkeypatch):
    monkeypatch.setattr(publication, "LARGEST_PAGE", 1000)
    made = publish(Store(holey[0] / "store"), HOLEY.name, tmp_path / "results")
    assert "report.html" not in made.sizes
    text = (made.folder / "README.md").read_text()
    assert "`report.html`" not in text
    assert "The report is too large to be kept here" in text
    assert "wombet unpack results/reacher-smoke unpacked\nwombet report reacher-smoke --store unpacked\n" in text


def test_missing_cells_are_named_by_method_seed_and_reason(holey):
    root, made = holey
    assert made.missing == ["reacher-close, sac: seed 0 failed", "reacher-close, bc: seeds 3 and 4 not run"]
    assert (made.index["planned"], made.index["finished"]) == (15, 12)
    text = (made.folder / "README.md").read_text()
    assert f"**Missing:** {'; '.join(made.missing)}." in text
    assert "12 of 15 planned runs are finished." in text
    assert "wombet run reacher-smoke.toml --store unpacked  # what is missing" in text
    assert "12 of 15 planned runs are finished." in readme_block(made.folder, root)
    failed = unpack(made.folder, root / "unpacked") and load_suite(Store(root / "unpacked"), HOLEY.name)
    assert missing_cells(failed) == made.missing
    assert "the critic loss is not finite" in " ".join(map(str, failed.findings))


def test_the_table_is_that_of_the_report_and_every_cell_has_its_command(whole):
    text = (whole / "results" / WHOLE.name / "README.md").read_text()
    results = load_suite(Store(whole / "store"), WHOLE.name)
    commands = rerun_frame(results)
    assert len(commands) == 6
    page = (whole / "results" / WHOLE.name / "report.html").read_text()
    for row in commands.to_dict("records"):
        assert f"| {row['pair']} | {row['method']} | `{row['command']}` |" in text
        # In the section of commands, and in the list of runs to which a row of a table leads.
        assert page.count(row["command"]) == 2
    assert "wombet check check --against results/reacher-smoke" in page
    assert "missing" not in text.lower()
    assert "wombet run reacher-smoke.toml --store unpacked" not in text
    (line,) = {line for line in text.splitlines() if line.startswith("| wombet | 10/10")}
    assert "0.6" in line


def test_commands_name_a_catalogued_suite_by_name_and_keep_its_settings():
    manifest = {"name": "quickstart@0a1b2c", "suite": {"name": "quickstart"}}
    manifest["overrides"] = {"sac": {"utd": 2, "layer_norm": False, "mixing": "a b", "sizes": [1, 2], "x": {"y": "z"}}}
    words = rerun_command(manifest, "reacher-close", "td3+bc", 3)
    assert words == (
        "wombet run quickstart --set sac.utd=2 --set sac.layer_norm=false --set 'sac.mixing=\"a b\"' "
        "--set 'sac.sizes=[1, 2]' --set 'sac.x={y = \"z\"}' --tasks reacher-close --methods td3+bc --seeds 3 "
        "--store check --no-report"
    )
    from suites.spec import parse_overrides

    texts = re.findall(r"--set ('[^']*'|\S+)", words)
    assert parse_overrides([text.strip("'") for text in texts]) == manifest["overrides"]
    assert compare_command(None).endswith("--against STORE")


def test_the_command_of_a_cell_takes_the_first_finished_seed(holey):
    root, _ = holey
    commands = rerun_frame(load_suite(Store(root / "store"), HOLEY.name)).set_index("method")["command"]
    assert "--seeds 2 " in commands["sac"]
    assert "--seeds 1 " in commands["bc"]


def readme(folder: Path, *blocks: str) -> Path:
    path = folder / "README.md"
    path.write_text("\n".join(["# Before", *blocks, "after", ""]))
    return path


def block(name: str, text: str = "old") -> str:
    return f"{BEGIN.format(name)}\n{text}\n{END}"


def test_a_suites_block_of_a_readme_is_replaced_and_nothing_else(whole):
    other = block("another-suite", "kept")
    path, published = readme(whole, block(WHOLE.name), other), whole / "results" / WHOLE.name
    assert rewrite_readme(path, published)
    text = path.read_text()
    assert text.startswith(f"# Before\n{BEGIN.format(WHOLE.name)}\n")
    assert text.endswith(f"{END}\n{other}\nafter\n")
    assert "old" not in text
    assert "| wombet | 10/10 | 0 |" in text
    assert readme_blocks(path) == {WHOLE.name: readme_block(published, whole), "another-suite": other}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert (whole / target).is_file()
    assert not rewrite_readme(path, published)
    path.write_text(path.read_text().replace("10/10", "9/10", 1))
    assert readme_blocks(path)[WHOLE.name] != readme_block(published, whole)


def test_a_block_without_an_end_is_none_and_does_not_swallow_the_next(tmp_path):
    assert readme_blocks(readme(tmp_path, BEGIN.format("x"), block("y"))) == {"y": block("y")}


def test_a_readme_has_one_block_of_a_suite(tmp_path):
    with pytest.raises(InputError, match="has two blocks of suite x"):
        readme_blocks(readme(tmp_path, block("x"), block("x")))


def test_a_suite_without_a_finished_run_can_be_published(tmp_path):
    suite = SyntheticSuite(methods=("sac",), seeds=2, todo={("sac", 0), ("sac", 1)})
    made = publish(Store(write_store(tmp_path / "store", suite)), suite.name, tmp_path / "results")
    assert "figure.svg" not in made.sizes
    assert made.missing == ["reacher-close, sac: seeds 0 and 1 not run"]
    assert "no run has finished" in readme_block(made.folder, tmp_path)


def run_publish(*arguments: object):
    from typer import Typer
    from typer.testing import CliRunner

    program = Typer()
    program.command()(publish_command)
    return CliRunner().invoke(program, [str(argument) for argument in arguments])


def test_the_verb_tells_sizes_and_holes_and_writes_the_readme(holey, tmp_path):
    root, _ = holey
    path = readme(tmp_path, block("reacher-smoke"))
    asked = ("reacher-smoke", "--store", root / "store", "--to", tmp_path / "results")
    result = run_publish(*asked, "--readme", path)
    assert result.exit_code == 0, result.exception
    size = (tmp_path / "results" / "reacher-smoke" / ARCHIVE).stat().st_size
    assert f"{ARCHIVE}: {size:,} bytes" in result.stdout
    assert "missing: reacher-close, sac: seed 0 failed" in result.stdout
    assert "its block was written" in result.stdout
    assert "| wombet |" in readme_blocks(path)["reacher-smoke"]
    told = json.loads(run_publish(*asked, "--json").stdout)
    assert told["missing"] == ["reacher-close, sac: seed 0 failed", "reacher-close, bc: seeds 3 and 4 not run"]
    assert told["readme_changed"] is False


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nothing",), "has no suite 'nothing'"),
        (("reacher-smoke", "--readme", "NOWHERE"), "there is no file"),
        (
            ("reacher-smoke", "--readme", "WITHOUT"),
            "has no block of suite reacher-smoke; it has blocks of another; write",
        ),
        (("reacher-smoke", "--to", "MINE"), "holds something else than published results"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(holey, tmp_path, arguments, sentence):
    root, _ = holey
    (tmp_path / "mine" / "reacher-smoke").mkdir(parents=True)
    (tmp_path / "mine" / "reacher-smoke" / "thesis.txt").write_text("precious")
    places = {
        "NOWHERE": tmp_path / "nowhere.md",
        "WITHOUT": readme(tmp_path, block("another")),
        "MINE": tmp_path / "mine",
    }
    before = contents(tmp_path)
    arguments = [str(places.get(argument, argument)) for argument in arguments]
    to = () if "--to" in arguments else ("--to", tmp_path / "results")
    result = run_publish(*arguments, "--store", root / "store", *to)
    assert isinstance(result.exception, InputError)
    assert sentence in str(result.exception)
    assert contents(tmp_path) == before
