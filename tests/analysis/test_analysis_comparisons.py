"""Comparisons of a synthetic store: verdicts follow from the p-values of the whole table, and few seeds say so."""

import json
from dataclasses import replace

import numpy as np
import pytest
from synthetic import SyntheticSuite, run_folders, write_store
from typer import Typer
from typer.testing import CliRunner

from analysis.commands.compare import compare_command
from analysis.commands.power import power_command
from analysis.comparisons import compare, tally
from analysis.curves import equal_target_steps
from analysis.load import load_suite
from analysis.power import power_table
from suites.store import Store
from wombet.errors import InputError

LEVELS = {"wombet": 0.9, "rlpd": 0.501, "sac": 0.5, "bc": 0.1}


def level_score(spread: float):
    return lambda method, progress, rng: LEVELS[method] + rng.normal(0, spread)


def suite(**changes) -> SyntheticSuite:
    values = {"methods": tuple(LEVELS), "seeds": 12, "n_datasets": 12, "score": level_score(0.005)}
    return SyntheticSuite(**(values | changes))


def results_of(root, what: SyntheticSuite):
    return load_suite(Store(write_store(root, what)), what.name)


def cell(table, scope: str, a: str, b: str):
    return table[(table["scope"] == scope) & (table["a"] == a) & (table["b"] == b)].iloc[0]


def stored(root, pair: str, method: str) -> np.ndarray:
    lines = [(folder / "evals.jsonl").read_text().splitlines()[-1] for folder in run_folders(root, pair, method)]
    by_seed = {
        folder.name: np.mean(json.loads(line)["returns"]) / 50
        for folder, line in zip(run_folders(root, pair, method), lines, strict=True)
    }
    return np.array([by_seed[name] for name in sorted(by_seed, key=lambda name: int(name[1:].split("-")[0]))])


def test_clear_differences_win_and_small_ones_with_little_noise_are_equivalent(tmp_path):
    table = compare(results_of(tmp_path, suite()), resamples=1000)
    assert cell(table, "pair", "wombet", "sac")["verdict"] == "win"
    assert cell(table, "pair", "sac", "bc")["verdict"] == "win"
    assert cell(table, "pair", "rlpd", "sac")["verdict"] == "equivalent"


def test_order_of_the_methods_turns_the_verdict(tmp_path):
    results = results_of(tmp_path, suite())
    assert cell(compare(results, ["sac", "wombet"], resamples=1000), "pair", "sac", "wombet")["verdict"] == "loss"


def test_over_several_pairs_differences_are_of_normalised_scores_where_the_tables_are(tmp_path):
    scores = {"wombet": (0.9, -0.3), "sac": (0.5, -0.5), "random": (0.1, -0.9)}
    results = results_of(
        tmp_path,
        SyntheticSuite(
            methods=tuple(scores),
            levels=("close", "far"),
            level_score=lambda method, level, seed: scores[method][level == "far"],
        ),
    )
    raw = cell(compare(results, resamples=1000), "all", "wombet", "sac")
    assert raw["difference"] == pytest.approx((0.4 + 0.2) / 2)
    measured = {name: replace(own, beforehand=True) for name, own in results.anchors.items()}
    table = compare(replace(results, anchors=measured), resamples=1000)
    over_all = cell(table, "all", "wombet", "sac")
    assert over_all["difference"] == pytest.approx((1.0 + 0.5) / 2)
    assert over_all["note"].startswith("of normalised scores")
    close = table[(table["scope"] == "pair") & (table["group"] == "reacher-close") & (table["b"] == "sac")].iloc[0]
    assert (close["difference"], "normalised" in close["note"]) == (pytest.approx(0.4), False)


def test_methods_can_be_compared_at_equal_target_steps(tmp_path):
    root = write_store(
        tmp_path, SyntheticSuite(methods=("wombet", "sac", "bc"), score=lambda _, progress, __: progress)
    )
    command = Typer()
    command.command()(compare_command)

    def differences(*options: str) -> dict[str, float]:
        asked = ["wombet", "sac", "bc", "--suite", "reacher-smoke", "--store", str(root), "--resamples", "1000"]
        told = CliRunner().invoke(command, [*asked, "--json", *options])
        assert told.exit_code == 0, told.output
        rows = json.loads(told.output)["comparisons"]
        return {f"{row['a']} - {row['b']}": row["difference"] for row in rows if row["scope"] == "pair"}

    assert differences() == pytest.approx({"wombet - sac": 0.0, "wombet - bc": 1.0, "sac - bc": 1.0})
    half = differences("--target-steps", "1700")
    assert half == pytest.approx({"wombet - sac": 0.0, "wombet - bc": 0.4, "sac - bc": 0.4})


def test_methods_evaluated_at_different_steps_are_compared_at_the_last_common_one(tmp_path):
    what = SyntheticSuite(methods=("wombet", "sac"), score=lambda _, progress, __: progress)
    root = write_store(tmp_path, what)
    results = load_suite(Store(root), what.name)
    rows = results.evaluations
    grid = sorted(set(rows["target_steps"]))
    thinned = replace(results, evaluations=rows[(rows["method"] == "wombet") | (rows["target_steps"] != grid[-1])])
    asked = ["wombet", "sac"]
    assert equal_target_steps(thinned, asked, grid[-1] * 5) == dict.fromkeys(results.pairs, grid[-2])
    assert equal_target_steps(results, asked, grid[-1] * 5) == dict.fromkeys(results.pairs, grid[-1])
    with pytest.raises(InputError, match="not all evaluated at one number of target steps up to 1 on reacher-close"):
        equal_target_steps(results, asked, 1)


def test_a_comparison_read_backwards_is_the_same_mirrored(tmp_path):
    results = results_of(tmp_path, suite(score=level_score(0.2)))
    forwards, backwards = (
        cell(compare(results, names, resamples=1000), "pair", *names)
        for names in (["wombet", "sac"], ["sac", "wombet"])
    )
    mirrored = [-backwards["difference"], -backwards["high"], -backwards["low"]]
    assert [forwards["difference"], forwards["low"], forwards["high"]] == pytest.approx(mirrored)


def test_noise_makes_a_tie_and_says_what_could_have_been_seen(tmp_path):
    row = cell(compare(results_of(tmp_path, suite(score=level_score(0.2))), resamples=1000), "pair", "rlpd", "sac")
    assert row["verdict"] == "tie"
    assert 0.1 < row["detectable"] < 0.5
    assert row["low"] < 0 < row["high"]


def test_the_difference_is_that_of_the_stored_scores_by_seed(tmp_path):
    results = results_of(tmp_path, suite(score=level_score(0.1), failed={("sac", 3)}))
    row = cell(compare(results, ["wombet", "sac"], resamples=1000), "pair", "wombet", "sac")
    ours, theirs = stored(tmp_path, "reacher-close", "wombet"), stored(tmp_path, "reacher-close", "sac")
    kept = [seed for seed in range(12) if seed != 3]
    assert row["difference"] == pytest.approx((ours[kept] - theirs[kept]).mean())
    assert row["seeds"] == 11


@pytest.mark.parametrize(("seeds", "datasets"), [(5, 5), (12, 2)])
def test_too_few_independent_units_have_no_p_value(tmp_path, seeds, datasets):
    row = cell(
        compare(results_of(tmp_path, suite(seeds=seeds, n_datasets=datasets)), resamples=1000), "pair", "wombet", "sac"
    )
    assert row["verdict"] == "too few seeds"
    assert np.isnan(row["p"])
    assert row["units"] == datasets


def test_adjustment_is_over_all_comparisons_of_a_scope(tmp_path):
    results = results_of(tmp_path, suite(seeds=6, n_datasets=6))
    pair = cell(compare(results, ["wombet", "bc"], resamples=1000), "pair", "wombet", "bc")
    among_all = cell(compare(results, resamples=1000), "pair", "wombet", "bc")
    assert (pair["p"], pair["p_holm"], pair["verdict"]) == (2 / 64, 2 / 64, "win")
    assert (among_all["p"], among_all["verdict"]) == (2 / 64, "tie")
    assert among_all["p_holm"] > 0.05


def test_null_methods_are_rarely_told_apart_anywhere(tmp_path):
    methods = ("sac", "one", "two", "three")
    false = 0
    for trial in range(12):
        what = SyntheticSuite(
            methods=methods,
            levels=("close", "far"),
            seeds=7,
            family=f"reacher{trial}",
            score=lambda m, p, rng: rng.normal(),
        )
        table = compare(results_of(tmp_path / str(trial), what), resamples=1000)
        assert (table["p"].notna()).all()
        false += bool((table[table["scope"] == "pair"]["verdict"].isin(["win", "loss"])).any())
    assert false <= 3


def test_verdicts_are_counted_over_families(tmp_path):
    counts = tally(compare(results_of(tmp_path, suite()), resamples=1000)).set_index("method")
    assert counts.loc["wombet", "win"] == 3
    assert counts.loc["bc", "loss"] == 3
    assert counts.loc["rlpd", ["win", "equivalent", "loss"]].tolist() == [1, 1, 1]


def test_several_pairs_have_a_comparison_over_all_of_them(tmp_path):
    table = compare(results_of(tmp_path, suite(levels=("close", "far"))), ["wombet", "sac"], resamples=1000)
    parts = [row["difference"] for _, row in table[table["scope"] == "pair"].iterrows()]
    assert cell(table, "all", "wombet", "sac")["difference"] == pytest.approx(np.mean(parts))
    assert cell(table, "all", "wombet", "sac")["units"] == 12
    assert "24 differences on 12" in cell(table, "all", "wombet", "sac")["note"]


def test_a_comparison_without_common_seeds_is_named(tmp_path):
    what = suite(todo={("sac", seed) for seed in range(12)})
    row = cell(compare(results_of(tmp_path, what), resamples=1000), "pair", "wombet", "sac")
    assert (row["note"], row["verdict"]) == ("no seed that both finished", "too few seeds")


def test_power_says_how_many_seeds_a_difference_needs(tmp_path):
    results = results_of(tmp_path, suite(score=level_score(0.1)))
    row = power_table(results, 0.1, ["wombet", "sac"]).iloc[0]
    ours, theirs = stored(tmp_path, "reacher-close", "wombet"), stored(tmp_path, "reacher-close", "sac")
    effect = 0.1 / (ours - theirs).std(ddof=1)
    assert row["standard_error"] == pytest.approx((ours - theirs).std(ddof=1) / np.sqrt(12))
    assert row["seeds_needed"] == pytest.approx((1.96 + 0.84) ** 2 / effect**2 + 2, abs=2)
    assert row["seeds_cautious"] > row["seeds_needed"]
    assert power_table(results, 0.2, ["wombet", "sac"]).iloc[0]["seeds_needed"] < row["seeds_needed"]


def test_over_several_pairs_the_power_is_that_of_normalised_differences_where_the_tables_are(tmp_path):
    spreads = {"wombet": 0.01, "sac": 0.0, "random": 0.0}
    lows = {"wombet": 0.9, "sac": 0.5, "random": 0.1}
    results = results_of(
        tmp_path,
        SyntheticSuite(
            methods=tuple(lows),
            levels=("close", "far"),
            seeds=10,
            n_datasets=10,
            level_score=lambda method, level, seed: (lows[method] + seed * spreads[method]) / (1 + (level == "far")),
        ),
    )
    raw = power_table(results, 0.1, ["wombet", "sac"])
    measured = {name: replace(own, beforehand=True) for name, own in results.anchors.items()}
    table = power_table(replace(results, anchors=measured), 0.1, ["wombet", "sac"])
    over_all, pairs = table[table["scope"] == "all"].iloc[0], table[table["scope"] == "pair"]
    assert over_all["note"].startswith("of normalised scores")
    assert over_all["standard_error"] > 1.5 * raw[raw["scope"] == "all"].iloc[0]["standard_error"]
    assert pairs["note"].str.contains("normalised").sum() == 0
    assert pairs["standard_error"].tolist() == raw[raw["scope"] == "pair"]["standard_error"].tolist()


def invoke(command, *arguments):
    program = Typer()
    program.command()(command)
    return CliRunner().invoke(program, [str(argument) for argument in arguments])


def test_the_verbs_print_tables_and_json(tmp_path):
    write_store(tmp_path, suite())
    options = ("--store", tmp_path)
    shown = invoke(compare_command, "wombet", "sac", "--suite", "reacher-smoke", *options, "--resamples", 1000)
    assert shown.exit_code == 0, shown.output
    assert "win" in shown.stdout
    content = invoke(
        compare_command, "wombet", "sac", "--suite", "reacher-smoke", *options, "--json", "--resamples", 1000
    )
    rows = json.loads(content.stdout)["comparisons"]
    assert {row["verdict"] for row in rows} == {"win"}
    needed = json.loads(invoke(power_command, "reacher-smoke", "--difference", 0.01, *options, "--json").stdout)
    assert all(row["seeds_needed"] >= 2 for row in needed["comparisons"])


@pytest.mark.parametrize(
    ("command", "arguments", "sentence"),
    [
        (compare_command, ["wombet", "sacc", "--suite", "reacher-smoke"], "no method 'sacc'; did you mean 'sac'"),
        (compare_command, ["sac", "--suite", "reacher-smoke"], "needs two different methods"),
        (compare_command, ["sac", "bc", "--suite", "reacher-smoke", "--margin", "0"], "the margin is 0"),
        (compare_command, ["sac", "bc", "--suite", "reacher-smoke", "--alpha", "2"], "alpha is 2"),
        (compare_command, ["sac", "bc", "--suite", "reacher-smoke", "--resamples", "3"], "resamples is 3"),
        (power_command, ["reacher-smoke", "--difference", "0"], "the difference is 0"),
        (power_command, ["reacher-smoke", "--difference", "0.1", "--power", "1.5"], "power is 1.5"),
        (power_command, ["reacher-smok", "--difference", "0.1"], "no suite 'reacher-smok'"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, command, arguments, sentence):
    write_store(tmp_path, suite(seeds=2))
    result = invoke(command, *arguments, "--store", tmp_path)
    assert isinstance(result.exception, InputError)
    assert sentence in str(result.exception)
