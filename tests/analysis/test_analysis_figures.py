"""Figures hold the series they promise, at the places they promise, and a suite is drawn in the form that suits it."""

import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from synthetic import SyntheticSuite, run_folders, write_store
from typer import Typer
from typer.testing import CliRunner

from analysis import figures, panels
from analysis.commands.figure import figure_command
from analysis.curves import learning_curves
from analysis.drawing import parse_formats
from analysis.load import load_suite
from analysis.palette import method_styles
from analysis.published import band_comparisons
from analysis.report import build_report
from suites.store import Store
from wombet.errors import InputError

PAIR = "reacher-close"


def load(root, suite: SyntheticSuite | None = None):
    suite = suite or SyntheticSuite()
    return load_suite(Store(write_store(root, suite)), suite.name)


def edit_manifest(root, **changes):
    path = root / "suites" / "reacher-smoke.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("axis", ["updates", "cpu"])
def test_curves_lie_at_the_mean_costs_of_their_seeds(tmp_path, axis):
    curves = {curve.method: curve for curve in learning_curves(load(tmp_path), PAIR, axis, 0, 1000)}
    expected = {"updates": 500 + np.arange(0, 3001, 600), "cpu": 1 + 2.5 * np.arange(6)}[axis]
    np.testing.assert_allclose(curves["sac"].steps, expected)
    assert curves["bc"].steps.tolist() == [expected[0], expected[-1]]


def test_a_method_whose_costs_were_not_recorded_is_left_out_of_that_axis(tmp_path):
    root = write_store(tmp_path)
    for folder in run_folders(root, PAIR, "rlpd"):
        (folder / "costs.jsonl").unlink()
    results = load_suite(Store(root), "reacher-smoke")
    assert "rlpd" not in {curve.method for curve in learning_curves(results, PAIR, "cpu", 0, 1000)}
    assert "rlpd" in {curve.method for curve in learning_curves(results, PAIR, "total", 0, 1000)}


def test_the_band_of_a_paper_is_a_standard_deviation_about_the_mean(tmp_path):
    results = load(tmp_path, SyntheticSuite(seeds=3))
    curve = next(own for own in learning_curves(results, PAIR, "target", 0, 1000, "std") if own.method == "sac")
    history = results.history(PAIR, "sac")
    last = history[history["target_steps"] == 3000]["score"].to_numpy()
    assert curve.values[-1] == pytest.approx(last.mean())
    assert curve.band[1][-1] - curve.band[0][-1] == pytest.approx(2 * last.std(ddof=1))


def test_a_curve_figure_has_a_line_and_a_label_for_every_method_in_its_colour(tmp_path):
    curves = learning_curves(load(tmp_path), PAIR, "target", 0, 1000)
    styles = method_styles([curve.method for curve in curves])
    svg = figures.curve_figure(curves, styles, "target steps", ("svg",))["svg"].decode()
    ElementTree.fromstring(svg)
    for curve in curves:
        assert f">{curve.method}</text>" in svg
        assert f"stroke: {styles[curve.method].colour.lower()}" in svg
    assert ">target steps</text>" in svg


def test_the_matrix_shows_every_probability_and_what_is_sure_in_bold():
    probability = {("a", "b"): 0.81, ("b", "a"): 0.19}
    svg = figures.matrix_figure(["a", "b"], probability, {("a", "b")}, ("svg",))["svg"].decode()
    bold, plain = (re.search(rf'<text style="([^"]*)"[^>]*>{text}</text>', svg).group(1) for text in ("0.81", "0.19"))
    assert "700" in bold or "bold" in bold
    assert "700" not in plain


def test_names_are_never_taken_for_mathematics(tmp_path):
    suite = SyntheticSuite(methods=("sac", "$x_{$", "_hidden"), seeds=2)
    results = load(tmp_path, suite)
    for form in ("curves", "ablation"):
        svg = panels.suite_figure(results, form, "std", "target", ("svg",))["svg"].decode()
        assert "$x_{$" in svg
        assert "_hidden" in svg


@pytest.mark.parametrize(
    ("methods", "names", "form"),
    [
        (("wombet", "sac", "rlpd"), {}, "curves"),
        (("bc", "random", "zero", "iql", "wombet"), {}, "zero-shot"),
        (("wombet", "half", "none"), {"half": "wombet", "none": "wombet"}, "ablation"),
        (("wombet", "half", "sac", "rlpd"), {"half": "wombet"}, "curves"),
    ],
)
def test_the_form_is_what_the_suite_is_about(tmp_path, methods, names, form):
    root = write_store(tmp_path, SyntheticSuite(methods=methods, seeds=2))
    offline = {name: {"target_steps": 0 if name in ("bc", "random", "zero", "iql") else 3000} for name in methods}
    edit_manifest(root, method_names={name: names.get(name, name) for name in methods}, budgets=offline)
    assert panels.suite_form(load_suite(Store(root), "reacher-smoke")) == form


def test_bars_are_final_scores_or_those_before_any_target_step(tmp_path):
    results = load(tmp_path)
    history = results.history(PAIR, "sac")
    for form, steps in (("ablation", 3000), ("zero-shot", 0)):
        scores = history[history["target_steps"] == steps]["score"].to_numpy()
        bar = next(bar for bar in panels.bars(results, PAIR, form, "std", 0) if bar.method == "sac")
        np.testing.assert_allclose(np.sort(bar.seeds), np.sort(scores))
        assert bar.value == pytest.approx(scores.mean())
        assert bar.band == pytest.approx((scores.mean() - scores.std(ddof=1), scores.mean() + scores.std(ddof=1)))
    summary = next(bar for bar in panels.bars(results, PAIR, "ablation", "ci", 0) if bar.method == "sac")
    assert summary.value == pytest.approx(np.sort(results.final_scores(PAIR, "sac").values)[1:4].mean())


def test_families_and_levels_make_a_grid_and_other_pairs_rows_of_three(tmp_path):
    results = load(tmp_path / "a", SyntheticSuite(levels=("close", "far"), methods=("sac",), seeds=1))
    assert panels._grid(results, results.pairs) == (1, 2)
    results.manifest["pairs"] = [{"id": str(k), "family": str(k), "level": "close"} for k in range(5)]
    assert panels._grid(results, [str(k) for k in range(5)]) == (2, 3)


def run_figure(*arguments):
    program = Typer()
    program.command()(figure_command)
    return CliRunner().invoke(program, [str(argument) for argument in arguments])


def test_the_verb_draws_every_pair_as_a_panel_and_the_same_bytes_again(tmp_path):
    write_store(tmp_path, SyntheticSuite(levels=("close", "far")))
    result = run_figure("reacher-smoke", "--store", tmp_path, "--formats", "svg")
    path = tmp_path / "reports" / "reacher-smoke" / "figures" / "reacher-smoke-curves-std.svg"
    assert result.stdout.splitlines() == [str(path)]
    first = path.read_bytes()
    assert all(f">{pair}</text>".encode() in first for pair in ("reacher-close", "reacher-far"))
    assert run_figure("reacher-smoke", "--store", tmp_path, "--formats", "svg").exit_code == 0
    assert path.read_bytes() == first
    content = json.loads(run_figure("reacher-smoke", "--store", tmp_path, "--band", "ci", "--form", "zero-shot",
                                    "--formats", "svg", "--json").stdout)  # fmt: skip
    assert content["files"][0].endswith("reacher-smoke-zero-shot-ci.svg")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--band", "sd"], "--band is 'sd'"),
        (["--form", "curve"], "--form is 'curve'; did you mean 'curves'?"),
        (["--axis", "steps"], "--axis is 'steps'"),
        (["--formats", "jpg"], "--formats has 'jpg'"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, arguments, sentence):
    write_store(tmp_path, SyntheticSuite(seeds=1, methods=("sac",)))
    result = run_figure("reacher-smoke", "--store", tmp_path, *arguments)
    assert isinstance(result.exception, InputError)
    assert sentence in str(result.exception)


def test_a_suite_without_a_finished_run_has_nothing_to_draw(tmp_path):
    suite = SyntheticSuite(methods=("sac",), seeds=1, todo={("sac", 0)})
    with pytest.raises(InputError, match="no run of suite reacher-smoke has finished"):
        panels.suite_figure(load(tmp_path, suite), "curves", "std", "target", ("svg",))


def test_formats_are_checked_and_named_once():
    assert parse_formats("svg, pdf,svg") == ("svg", "pdf")
    with pytest.raises(InputError, match="is empty"):
        parse_formats(",")


def native_store(root, mean: float, methods: tuple[str, ...] = ("sac",)):
    """Three finished runs of each method on a native task, with a return at 100,000 steps."""
    suite = SyntheticSuite(
        methods=methods, seeds=3, family="native/HalfCheetah-v5", levels=("stock",), horizon=1000,
        target_steps=100_000, count=2, score=lambda method, progress, rng: mean / 1000,
    )  # fmt: skip
    write_store(root, suite)
    return root


def test_returns_outside_of_a_published_band_are_a_finding_and_a_row(tmp_path):
    for mean, verdict in ((20.0, "fail"), (6156.0, "pass")):
        root = native_store(tmp_path / verdict, mean)
        edit_manifest(root, method_defaults={"sac": {}}, method_names={"sac": "sac"})
        report = build_report(Store(root), "reacher-smoke", root / "out", resamples=1000)
        (own,) = band_comparisons(Store(root), report.results.manifest)
        assert own.verdict == verdict
        found = [finding for finding in report.results.findings if finding.kind == "bands"]
        assert [finding.where for finding in found] == (["HalfCheetah-v5, sac"] if verdict == "fail" else [])
        assert f'<td class="words">{verdict}</td>' in report.page.read_text()


def test_rows_of_a_suite_are_held_against_the_curve_and_the_settings_of_their_method(tmp_path):
    names = {"slow": "sac", "sac": "sac", "other": "td3"}
    tau = {"slow": 0.001, "sac": 0.005, "other": 0.1}
    root = native_store(tmp_path, 7000.0, tuple(names))
    for row, method in names.items():
        for folder in run_folders(root, "native/HalfCheetah-v5-stock", row):
            spec = json.loads((folder / "spec.json").read_text())
            (folder / "spec.json").write_text(json.dumps(spec | {"method": method, "config": {"tau": tau[row]}}))
    own = {"sac": {"tau": 0.005}, "td3": {"tau": 0.1}}
    edit_manifest(root, method_names=names, method_defaults={row: own[method] for row, method in names.items()})
    manifest = json.loads((root / "suites" / "reacher-smoke.json").read_text())
    found = [(each.method, each.changed, each.verdict) for each in band_comparisons(Store(root), manifest)]
    assert sorted(found, key=str) == [
        ("sac", {"tau": 0.001}, "pass"),
        ("sac", {}, "pass"),
        ("td3", {}, "fail"),
    ]


def test_a_manifest_without_the_methods_settings_sends_to_wombet_check(tmp_path):
    root = native_store(tmp_path, 20.0)
    page = build_report(Store(root), "reacher-smoke", root / "out", resamples=1000).page.read_text()
    assert "`wombet check` makes this comparison" in page
