"""The page of a report: golden bytes, what leads where, tables that sort, folds that open, and what each part says."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic import SyntheticSuite, run_folders, write_datasets, write_store, write_training

from analysis.artefacts import DIAGNOSIS_FORMAT, read_artefacts
from analysis.load import load_suite
from analysis.report import build_report
from analysis.traces import QUANTITIES, SHARE, read_traces, round_table, value_table
from analysis.views import MOST_ROWS, Anchors, frame_view
from suites.store import Store
from wombet.files import sha256_of_file

GOLDEN = Path(__file__).parent / "golden"
SUITE = SyntheticSuite(methods=("wombet", "sac", "bc"), levels=("close", "far"), failed={("bc", 2)})
CHROMIUM = shutil.which("chromium")


def text_of_page(path: Path) -> str:
    """A page without its figures, whose bytes are matplotlib's."""
    return re.sub(r"<svg .*?</svg>", "<svg/>", path.read_text(), flags=re.DOTALL)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    root = write_store(tmp_path_factory.mktemp("golden"), SUITE)
    write_training(root, SUITE)
    write_datasets(root, SUITE)
    return build_report(Store(root), SUITE.name, root / "out", resamples=1000)


@pytest.fixture(scope="module")
def results(report):
    return load_suite(Store(report.folder.parent), SUITE.name)


def test_the_report_is_the_golden_one_byte_for_byte(report):
    """After a change that is meant: WOMBET_GOLDEN=write .venv/bin/pytest tests/analysis/test_analysis_page.py"""
    texts = {
        "report.html": text_of_page(report.page),
        "report.md": (report.folder / "report.md").read_text(),
        "comparisons.tex": (report.folder / "tables" / "comparisons.tex").read_text(),
        "lower-bounds.csv": (report.folder / "tables" / "lower-bounds.csv").read_text(),
    }
    for name, text in texts.items():
        if os.environ.get("WOMBET_GOLDEN") == "write":
            (GOLDEN / name).write_text(text)
        assert text == (GOLDEN / name).read_text(), name


def test_every_row_of_every_table_leads_to_the_folders_of_its_runs(report, results):
    page = report.page.read_text()
    lists = {
        name: re.findall(r"<code>(runs/[^<]*)</code>", body)
        for name, body in re.findall(r'<details id="([^"]+)">(.*?)</details>', page, re.DOTALL)
    }
    for pair in results.pairs:
        for method in results.methods:
            own = results.runs[(results.runs["pair"] == pair) & (results.runs["method"] == method)]
            assert sorted(lists[Anchors(results).cell(pair, method)]) == sorted(own["folder"])
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    led = [row for row in rows if 'href="#' in row]
    assert {target for row in led for target in re.findall(r'href="#([^"]+)"', row)} <= lists.keys()
    assert all('href="#' in row for row in rows if 'class="swatch"' in row)


def test_links_of_a_row_are_those_of_the_pair_methods_and_dataset_that_it_names(results):
    anchors = Anchors(results)
    close = anchors.cell("reacher-close", "wombet"), anchors.cell("reacher-close", "sac")
    rows = [
        ({"pair": "reacher-close", "method": "wombet"}, close[:1]),
        ({"scope": "pair", "group": "reacher-close", "a": "wombet", "b": "sac"}, close),
        ({"scope": "family", "group": "reacher", "a": "wombet", "b": "sac"},
         (anchors.method("wombet"), anchors.method("sac"))),
        ({"dataset": anchors.datasets[1]}, (anchors.dataset(anchors.datasets[1]),)),
        ({"variant": "IQM"}, ()),
    ]  # fmt: skip
    for row, expected in rows:
        assert tuple(link.anchor for link in anchors.links(row)) == expected
    assert [link.runs for link in anchors.links({"method": "wombet"})] == [10]
    assert [link.runs for link in anchors.links({"pair": "reacher-far", "method": "bc"})] == [4]


def test_a_table_that_is_cut_says_so_and_where_the_rest_is(results):
    frame = pd.DataFrame({"method": ["sac"] * (MOST_ROWS + 5), "value": 1.0})
    view = frame_view(frame, "many", "Many", "", Anchors(results))
    assert len(view.rows) == MOST_ROWS
    assert view.more == f"The first {MOST_ROWS} of {MOST_ROWS + 5} rows; all are in tables/many.csv."
    assert view.frame is frame


def test_method_cards_tell_tuning_deviations_and_what_was_set(tmp_path):
    root = write_store(tmp_path, SyntheticSuite(methods=("half", "sac"), seeds=2))
    path = root / "suites" / "reacher-smoke.json"
    manifest = json.loads(path.read_text())
    manifest |= {
        "method_names": {"half": "wombet", "sac": "sac"},
        "method_tuned": {"half": "the signal, on reacher", "sac": "nothing"},
        "method_defaults": {"half": {"mixing": "proportional", "utd": 1}, "sac": {"utd": 1}},
        "method_configs": {"half": {"mixing": "fixed <b>", "utd": 1}, "sac": {"utd": 1}},
    }
    path.write_text(json.dumps(manifest))
    page = build_report(Store(root), "reacher-smoke", root / "out", resamples=1000).page.read_text()
    half, sac = re.findall(r'<article class="card">(.*?)</article>', page, re.DOTALL)
    assert "a variant of wombet" in half
    assert "Tuned: the signal, on reacher." in half
    assert "Deviation: is not real" in half
    assert "mixing = fixed &lt;b&gt; (its own: proportional)" in half
    assert "all 2 settings" in half
    assert "Set for this suite" not in sac


def test_of_runs_with_several_datasets_each_is_listed(tmp_path):
    suite = SyntheticSuite(methods=("wombet", "sac"), seeds=2, dataset=lambda method, seed: f"reacher-{seed}")
    root = write_store(tmp_path, suite)
    write_datasets(root, suite)
    path = root / "suites" / "reacher-smoke.json"
    path.write_text(path.read_text().replace('"dataset": "reacher-0"', '"dataset": "reacher-0+reacher-1"'))
    artefacts = read_artefacts(Store(root), load_suite(Store(root), suite.name))
    assert artefacts.datasets["dataset"].tolist() == ["reacher-0", "reacher-1"]
    assert artefacts.notes == ()


def test_the_summary_counts_differences_and_says_what_the_budget_was(report):
    summary = re.findall(r'aria-label="Summary">(.*?)</section>', report.page.read_text(), re.DOTALL)[0]
    assert "of 3 paired differences stand after correction" in summary or "too few independent seeds" in summary
    assert "wombet reached its final score on 2 of 2 task pairs" in summary
    assert "28 of 30 planned runs are finished (2 failed)" in summary


def test_traces_are_means_over_seeds_of_what_the_runs_recorded(report, results):
    traces = read_traces(Store(report.folder.parent), results)
    assert set(traces.rows["method"]) == {"wombet"}
    (curve,) = traces.curves("reacher-close", SHARE, results.methods)
    assert curve.steps.tolist() == list(range(0, 3001, 300))
    assert curve.values[0] == pytest.approx(0.75 + 0.01 * 2)
    assert curve.band is not None
    assert traces.curves("reacher-close", "mixing_signal", results.methods)[0].steps[0] == 300
    assert len(list((report.folder / "figures").glob("reacher-close-trace-*.svg"))) == len(QUANTITIES)
    rounds = round_table(traces)
    assert rounds[rounds["pair"] == "reacher-close"]["acceptance"].tolist() == [0.2, 0.4]
    assert rounds["iteration"].tolist() == [1, 2, 1, 2]


def test_what_the_critics_believed_is_set_beside_what_came(tmp_path):
    suite = SyntheticSuite(methods=("wombet",), seeds=2)
    root = write_store(tmp_path, suite)
    write_training(root, suite)
    for number, folder in enumerate(run_folders(root, "reacher-close", "wombet")):
        spec = json.loads((folder / "spec.json").read_text())
        (folder / "spec.json").write_text(json.dumps(spec | {"config": {"discount": 0.9}}))
        rows = [json.loads(line) for line in (folder / "evals.jsonl").read_text().splitlines()]
        for row in rows:
            late = row["target_steps"] >= 2700
            row |= {"estimated_returns": [5.0 + number, 7.0 if late else 99.0], "discounted_returns": [2.0, 4.0]}
        (folder / "evals.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        done = json.loads((folder / "done.json").read_text())
        done["evals_sha256"] = sha256_of_file(folder / "evals.jsonl")
        (folder / "done.json").write_text(json.dumps(done))
    results = load_suite(Store(root), suite.name)
    (row,) = value_table(read_traces(Store(root), results), Store(root), results).to_dict("records")
    # The last tenth holds the rows at 2,700 and 3,000 steps; the seeds' offsets are 0 and 1.
    assert row["mean_q"] == pytest.approx((18 + 20) / 2 + 0.5)
    assert (row["estimated_return"], row["discounted_return"]) == (pytest.approx(6.25), pytest.approx(3.0))
    assert row["overestimation"] == pytest.approx(3.25)


def test_without_records_of_what_the_critics_believed_mean_q_stands_alone(tmp_path):
    suite = SyntheticSuite(methods=("wombet",), seeds=2)
    root = write_store(tmp_path, suite)
    write_training(root, suite)
    results = load_suite(Store(root), suite.name)
    (row,) = value_table(read_traces(Store(root), results), Store(root), results).to_dict("records")
    assert row["mean_q"] == pytest.approx((18 + 20) / 2 + 0.5)
    assert np.isnan([row["estimated_return"], row["overestimation"]]).all()


def test_rows_that_cannot_be_read_are_named(tmp_path):
    suite = SyntheticSuite(methods=("wombet",), seeds=2)
    root = write_store(tmp_path, suite)
    write_training(root, suite)
    folder = run_folders(root, "reacher-close", "wombet")[0]
    with open(folder / "train.jsonl", "a") as file:
        file.write('{"phase": "onl')
    page = build_report(Store(root), suite.name, root / "out", resamples=1000).page.read_text()
    assert (
        f"Not all could be read: runs/reacher-close/wombet/{folder.name}: the last line of train.jsonl is torn" in page
    )


def test_datasets_tell_cost_acceptance_and_the_measured_lower_bound(report, results):
    found = read_artefacts(Store(report.folder.parent), results)
    first, second = found.datasets.to_dict("records")
    assert (first["source_steps"], first["candidates"], first["accepted"], first["cpu_s"]) == (10_000, 200, 50, 1800)
    assert found.bounds["recipe"].tolist() == [False, True, False]
    assert found.bounds["share"].tolist() == [0.125, 0.625, 0.875]
    assert set(found.bounds["dataset"]) == {first["dataset"]} != {second["dataset"]}
    page = report.page.read_text()
    assert "it is vacuous." in page
    assert "−16,710,018" in page


def test_a_diagnosis_of_other_data_is_left_out_and_named(tmp_path):
    suite = SyntheticSuite(methods=("wombet",), seeds=2)
    root = write_store(tmp_path, suite)
    name = write_datasets(root, suite)[0]
    path = root / "datasets" / name / "card.json"
    path.write_text(path.read_text().replace('"sha256": "', '"sha256": "0'))
    found = read_artefacts(Store(root), load_suite(Store(root), suite.name))
    assert found.bounds.empty
    assert f"{name}: diagnosis.json is of other data" in found.notes[0]


def test_the_form_of_the_diagnosis_is_the_one_that_is_written():
    text = (Path(__file__).parents[2] / "suites" / "diagnosis.py").read_text()
    assert re.search(r"^FORMAT = (\d+)$", text, re.MULTILINE).group(1) == str(DIAGNOSIS_FORMAT)


def test_figures_of_formats_that_were_not_drawn_again_are_removed(tmp_path):
    root = write_store(tmp_path, SyntheticSuite(methods=("sac",), seeds=2))
    figure = root / "out" / "figures" / "reacher-close-seeds.png"
    build_report(Store(root), "reacher-smoke", root / "out", resamples=1000, formats=("png",))
    assert figure.is_file()
    assert figure.with_suffix(".svg").is_file()
    assert "(figures/reacher-close-seeds.png)" in (root / "out" / "report.md").read_text()
    build_report(Store(root), "reacher-smoke", root / "out", resamples=1000)
    assert not figure.exists()


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, to run the page's script")
def test_in_a_browser_tables_sort_by_numbers_with_dashes_last_and_links_open_folds(report, tmp_path):
    script = """<script>
    const table = document.querySelector("#table-0 table"), heads = [...table.tHead.rows[0].cells];
    const column = heads.findIndex((head) => head.textContent.startsWith("IQM"));
    const names = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent.trim()).join(" ");
    const cells = table.tBodies[0].rows;
    cells[0].cells[column].textContent = "−1.5"; cells[1].cells[column].textContent = "12,000";
    cells[2].cells[column].textContent = "–";
    const button = heads[column].querySelector("button"), seen = [];
    button.click(); seen.push(names() + " " + heads[column].getAttribute("aria-sort"));
    button.click(); seen.push(names() + " " + heads[column].getAttribute("aria-sort"));
    heads[0].querySelector("button").click(); seen.push(names());
    location.hash = "runs-0-0"; reveal();
    seen.push(document.getElementById("runs-0-0").open);
    document.body.innerHTML = "<pre>" + seen.join("\\n") + "</pre>";
    </script></body>"""
    page = tmp_path / "page.html"
    page.write_text(report.page.read_text().replace("</body>", script))
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    done = subprocess.run([CHROMIUM, *options, page.as_uri()], capture_output=True, text=True, timeout=60, check=True)
    seen = re.search(r"<pre>(.*?)</pre>", done.stdout, re.DOTALL).group(1).splitlines()
    assert seen == ["sac wombet bc descending", "wombet sac bc ascending", "bc sac wombet", "true"]
