"""The split of noise, tolerance intervals, failures counted, and rankings under other choices."""

import numpy as np
import pytest
import scipy.stats
from synthetic import SyntheticSuite, write_store

from analysis.load import load_suite
from analysis.noise import noise_table, tolerance_interval, variance_parts
from analysis.sensitivity import failure_table, rank_stability, ranking_table
from suites.store import Store


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def results_of(root, suite: SyntheticSuite | None = None):
    suite = suite or SyntheticSuite()
    return load_suite(Store(write_store(root, suite)), suite.name)


def test_the_split_finds_the_variances_it_was_given():
    seeds, episodes = 400, 10
    scores = generator().normal(0, 0.2, (seeds, 1)) + generator(1).normal(0, 0.5, (seeds, episodes))
    seed_std, episode_std, share, low, high, enough = variance_parts(scores)
    assert seed_std == pytest.approx(0.2, rel=0.1)
    assert episode_std == pytest.approx(0.5, rel=0.03)
    assert share == pytest.approx(0.025 / (0.04 + 0.025), rel=0.15)
    assert low < share < high
    assert enough == pytest.approx(0.25 / (0.1 * 0.04), rel=0.25)


def test_the_split_is_that_of_an_analysis_of_variance():
    scores = generator(2).normal(size=(6, 1)) + generator(3).normal(size=(6, 5))
    share = variance_parts(scores)[2]
    assert 1 / share == pytest.approx(scipy.stats.f_oneway(*scores).statistic)


def test_the_interval_of_the_share_holds_it_as_often_as_it_says():
    rng, truth, held, trials = generator(4), 0.2 / 1.2, 0, 1000
    for _ in range(trials):
        scores = rng.normal(0, 1, (6, 1)) + rng.normal(0, 1, (6, 5))
        _, _, _, low, high, _ = variance_parts(scores)
        held += low <= truth <= high
    assert abs(held / trials - 0.95) < 3 * np.sqrt(0.95 * 0.05 / trials)


def test_seeds_that_do_not_differ_leave_no_number_of_episodes_that_is_enough():
    rows = np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]])
    assert variance_parts(rows)[5] is None
    assert variance_parts(np.repeat([[0.1], [0.2], [0.4]], 4, axis=1))[5] == 1


@pytest.mark.parametrize(("n", "kind"), [(8, "normal"), (45, "normal"), (46, "order statistics")])
def test_nine_runs_in_ten_lie_inside_with_95_percent_confidence(n, kind):
    rng, trials, held = generator(5), 1500, 0
    for _ in range(trials):
        low, high, found = tolerance_interval(rng.normal(size=n))
        assert found == kind
        held += scipy.stats.norm.cdf(high) - scipy.stats.norm.cdf(low) >= 0.9
    assert held / trials > 0.95 - 3 * np.sqrt(0.95 * 0.05 / trials) - 0.005
    assert held / trials < 0.985


def test_a_cell_has_its_spread_and_its_worst_runs(tmp_path):
    results = results_of(tmp_path, SyntheticSuite(seeds=12, n_datasets=12))
    row = noise_table(results).set_index("method").loc["sac"]
    scores = np.sort(results.final_scores("reacher-close", "sac").values)
    assert (row["worst_runs"], row["worst_decile"]) == (2, pytest.approx(scores[:2].mean()))
    assert row["episode_std"] == pytest.approx(np.std([-1, -0.5, 0, 0.5, 1], ddof=1) / 50)
    assert (row["seeds"], row["episodes"]) == (12, 5)


def test_one_seed_has_no_split_and_says_so(tmp_path):
    row = noise_table(results_of(tmp_path, SyntheticSuite(seeds=1))).iloc[0]
    assert np.isnan(row["seed_std"])
    assert "two seeds" in row["note"]


def test_failed_runs_count_as_the_random_policy(tmp_path):
    results = results_of(tmp_path, SyntheticSuite(failed={("sac", 1), ("sac", 2)}))
    (row,) = failure_table(results).to_dict("records")
    scores = results.final_scores("reacher-close", "sac").values
    low = results.usable("reacher-close", "random")["score"].mean()
    assert (row["method"], row["failed"], row["finished"]) == ("sac", 2, 3)
    assert row["iqm"] == pytest.approx(scores.mean())
    assert row["iqm_with_failures"] == pytest.approx(scipy.stats.trim_mean([*scores, low, low], 0.25))
    assert row["scored_as"] == "the random policy"


def test_without_a_random_policy_failures_count_as_the_lowest_score(tmp_path):
    suite = SyntheticSuite(methods=("wombet", "sac"), failed={("sac", 1)})
    results = results_of(tmp_path, suite)
    (row,) = failure_table(results).to_dict("records")
    assert row["failure_score"] == pytest.approx(results.runs[results.runs["usable"]]["score"].min())
    assert row["scored_as"] == "the lowest final score of the pair"


def ranks(table, variant: str) -> dict[str, int]:
    return table[table["variant"] == variant].set_index("method")["rank"].to_dict()


def test_leaving_out_the_one_task_that_carries_a_method_changes_the_ranking(tmp_path):
    def score(method: str, progress: float, rng: np.random.Generator) -> float:
        return {"sac": 0.5, "bc": 0.4}[method] + rng.normal(0, 0.01)

    results = results_of(tmp_path, SyntheticSuite(methods=("sac", "bc"), levels=("close", "far"), score=score))
    runs = results.runs
    runs.loc[(runs["method"] == "bc") & (runs["pair"] == "reacher-far"), "score"] = 0.9
    table = ranking_table(results)
    assert ranks(table, "mean of scores") == {"sac": 2, "bc": 1}
    assert ranks(table, "IQM without reacher-far") == {"sac": 1, "bc": 2}
    assert ranks(table, "IQM without reacher-close") == {"sac": 2, "bc": 1}


def test_failures_can_cost_the_first_rank(tmp_path):
    def score(method: str, progress: float, rng: np.random.Generator) -> float:
        return {"sac": 0.5, "rlpd": 0.55, "random": 0.1}[method] + rng.normal(0, 0.001)

    failed = {("rlpd", seed) for seed in range(3)}
    results = results_of(tmp_path, SyntheticSuite(methods=("sac", "rlpd", "random"), score=score, failed=failed))
    table = ranking_table(results)
    assert ranks(table, "IQM of scores")["rlpd"] == 1
    assert ranks(table, "IQM, failures as random")["rlpd"] == 2


def test_a_clear_winner_stays_first_and_even_methods_share(tmp_path):
    def score(method: str, progress: float, rng: np.random.Generator) -> float:
        return {"wombet": 0.9, "sac": 0.5, "bc": 0.5}[method] + rng.normal(0, 0.05)

    suite = SyntheticSuite(methods=("wombet", "sac", "bc"), levels=("close", "far"), seeds=8, score=score)
    table = rank_stability(results_of(tmp_path, suite), resamples=2000).set_index("method")
    assert table.loc["wombet"].tolist() == [1.0, 1.0]
    assert table["first_over_seeds"].sum() == pytest.approx(1.0)


def test_rankings_over_one_pair_have_no_resampled_pairs(tmp_path):
    assert rank_stability(results_of(tmp_path), resamples=1000)["first_over_pairs"].isna().all()
