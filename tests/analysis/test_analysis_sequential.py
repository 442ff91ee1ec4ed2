"""Group-sequential decisions: known boundaries, error under repeated looks, and a plan that cannot be bent."""

import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from synthetic import SyntheticSuite, write_store
from typer import Typer
from typer.testing import CliRunner

from analysis.commands.decide import decide_command
from analysis.decide import decide, decision_path, make_plan
from analysis.load import load_suite
from analysis.sequential import boundaries, spent
from suites.store import Store
from wombet.errors import InputError


def test_boundaries_are_the_published_ones_of_five_equal_looks():
    # Lan-DeMets spending of the O'Brien-Fleming kind, two-sided 0.05 (Jennison and Turnbull 2000; gsDesign, rpact).
    assert boundaries([0.2, 0.4, 0.6, 0.8, 1.0], 0.05) == pytest.approx([4.877, 3.357, 2.680, 2.290, 2.031], abs=1e-3)


def test_a_single_look_is_an_ordinary_test():
    assert boundaries([1.0], 0.05) == pytest.approx([scipy.stats.norm.isf(0.025)])
    assert spent(1.0, 0.01) == pytest.approx(0.01)


@pytest.mark.parametrize("looks", [[0.5, 0.5, 1.0], [0.0, 1.0], [0.5, 1.2], []])
def test_looks_must_rise_to_the_whole(looks):
    with pytest.raises(InputError, match="rising fractions"):
        boundaries(looks, 0.05)


def test_looking_often_keeps_the_error_that_naive_looks_inflate():
    first, cap, trials = 5, 20, 4000
    looks = np.arange(first, cap + 1)
    nominal = 2 * scipy.stats.norm.sf(boundaries(looks / cap, 0.05))
    values = np.random.default_rng(0).normal(size=(trials, cap))
    p = np.stack([scipy.stats.ttest_1samp(values[:, :n], 0, axis=1).pvalue for n in looks], axis=1)
    margin = 3 * np.sqrt(0.05 * 0.95 / trials)
    assert (p <= nominal).any(axis=1).mean() < 0.05 + margin
    assert (p <= 0.05).any(axis=1).mean() > 0.12


LEVELS = {"wombet": 0.9, "rlpd": 0.6, "sac": 0.6}


def suite(**changes) -> SyntheticSuite:
    values = {
        "methods": tuple(LEVELS),
        "seeds": 10,
        "n_datasets": 10,
        "score": lambda method, progress, rng: LEVELS[method] + rng.normal(0, 0.03),
    }
    return SyntheticSuite(**(values | changes))


def loader(store: Store):
    return lambda: load_suite(store, "reacher-smoke")


def plan(a: str, b: str, **changes):
    values = {"first": 5, "step": 1, "cap": 10, "alpha": 0.05} | changes
    return make_plan("reacher-smoke", a, b, **values)


def test_a_clear_difference_is_decided_before_the_cap_and_the_looks_are_kept(tmp_path):
    store = Store(write_store(tmp_path, suite()))
    decision = decide(store, plan("wombet", "sac"), loader(store), None)
    assert decision.conclusion == "wombet"
    assert len(decision.looks) < 6
    kept = json.loads(decision_path(store, decision.plan).read_text())
    assert [look["seeds"] for look in kept["looks"]] == [look.seeds for look in decision.looks]
    assert kept["foreseen"] == 10
    assert decide(store, plan("wombet", "sac"), loader(store), None) == decision
    assert decide(store, plan("sac", "wombet"), loader(store), None) == decision


def two_levels(store: Store, beforehand: bool):
    def load():
        results = loader(store)()
        return replace(
            results, anchors={name: replace(own, beforehand=beforehand) for name, own in results.anchors.items()}
        )

    return load


def test_over_several_pairs_looks_are_of_normalised_scores_where_the_tables_are_and_stay_so(tmp_path):
    scores = {"wombet": (0.9, -0.3), "sac": (0.5, -0.5), "random": (0.1, -0.9)}
    what = SyntheticSuite(
        methods=tuple(scores),
        levels=("close", "far"),
        seeds=6,
        n_datasets=6,
        level_score=lambda method, level, seed: scores[method][level == "far"] + 0.01 * seed * (method == "wombet"),
    )
    store = Store(write_store(tmp_path, what))
    two, early = plan("wombet", "sac", first=2, step=4, cap=6), plan("wombet", "random", first=2, step=4, cap=6)
    decision = decide(store, two, two_levels(store, True), None)
    assert (decision.scale, decision.looks[0].difference) == ("normalised", pytest.approx((1.0 + 0.5) / 2, abs=0.02))
    raw = decide(store, early, two_levels(store, False), None)
    assert (raw.scale, raw.looks[0].difference) == ("score", pytest.approx(0.7, abs=0.02))
    path = decision_path(store, early)
    content = json.loads(path.read_text())
    del content["scale"]
    path.write_text(json.dumps(content))
    assert decide(store, early, two_levels(store, True), None).scale == "score"


def test_no_difference_is_undecided_at_the_cap(tmp_path):
    store = Store(write_store(tmp_path, suite()))
    decision = decide(store, plan("rlpd", "sac"), loader(store), None)
    assert (decision.conclusion, len(decision.looks)) == ("undecided at the cap", 6)


def test_a_look_uses_the_first_seeds_and_no_others(tmp_path):
    store = Store(write_store(tmp_path, suite()))
    look = decide(store, plan("rlpd", "sac"), loader(store), None).looks[0]
    results = load_suite(store, "reacher-smoke")
    scores = [results.final_scores("reacher-close", method).values[:5] for method in ("rlpd", "sac")]
    assert look.difference == pytest.approx((scores[0] - scores[1]).mean())
    assert look.p == pytest.approx(scipy.stats.ttest_rel(*scores).pvalue)


def test_seeds_are_added_only_as_looks_need_them(tmp_path):
    todo = {(method, seed) for method in LEVELS for seed in range(3, 10)}
    store = Store(write_store(tmp_path, suite(todo=todo)))
    asked = []

    def run(seeds: int) -> None:
        asked.append(seeds)
        write_store(tmp_path, suite(todo={(method, seed) for method in LEVELS for seed in range(seeds, 10)}))

    decision = decide(store, plan("rlpd", "sac", cap=7), loader(store), run)
    assert asked == [5, 6, 7]
    assert decision.foreseen == 3
    assert decision.conclusion == "undecided at the cap"


def test_without_the_seeds_of_a_look_nothing_is_decided(tmp_path):
    store = Store(write_store(tmp_path, suite(failed={("sac", 2)})))
    decision = decide(store, plan("wombet", "sac"), loader(store), None)
    assert (decision.looks, decision.conclusion) == ((), None)
    assert not decision_path(store, decision.plan).exists()


def test_a_plan_cannot_change_after_a_look(tmp_path):
    store = Store(write_store(tmp_path, suite()))
    decide(store, plan("rlpd", "sac"), loader(store), None)
    for change in ({"cap": 9}, {"alpha": 0.1}, {"first": 6}):
        with pytest.raises(InputError, match="another plan"):
            decide(store, plan("rlpd", "sac", **change), loader(store), None)
        with pytest.raises(InputError, match="another plan"):
            decide(store, plan("sac", "rlpd", **change), loader(store), None)


@pytest.mark.parametrize("change", [{"first": 1}, {"first": 11}, {"step": 0}, {"alpha": 0.7}])
def test_a_plan_that_is_none_is_refused(change):
    with pytest.raises(InputError):
        plan("rlpd", "sac", **change)


def invoke(*arguments):
    program = Typer()
    program.command()(decide_command)
    return CliRunner().invoke(program, [str(argument) for argument in arguments])


def test_the_verb_says_what_was_decided_and_that_it_was_not_blind(tmp_path):
    write_store(tmp_path, suite())
    shown = invoke("reacher-smoke", "wombet", "sac", "--store", tmp_path, "--no-run")
    assert shown.exit_code == 0, shown.output
    assert "Decided: wombet scores higher" in shown.stdout
    assert "10 seeds were already finished" in shown.stdout
    write_store(tmp_path / "other", suite(todo={("sac", 0)}))
    assert invoke("reacher-smoke", "wombet", "sac", "--store", tmp_path / "other", "--no-run").exit_code == 1


def test_a_cap_beyond_the_suite_is_refused(tmp_path):
    write_store(tmp_path, suite())
    result = invoke("reacher-smoke", "wombet", "sac", "--store", tmp_path, "--cap", 11, "--no-run")
    assert "has 10 seeds" in str(result.exception)
