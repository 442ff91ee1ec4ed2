"""Packs: short runs together, long and unknown ones alone, by what such runs have taken."""

import dataclasses

import pytest

from suites.packing import expected_seconds, pack, recorded_rates
from suites.runner import run_cell
from suites.spec import RunSpec
from suites.store import Store, read_rows
from tests.suites import cells

RATES = {("reacher-close", "sac"): 0.5, ("", "sac"): 2.0}


def elsewhere(run: RunSpec) -> RunSpec:
    return dataclasses.replace(run, pair=dataclasses.replace(run.pair, id="elsewhere"))


def test_a_rate_of_the_pair_goes_before_that_of_the_method() -> None:
    assert expected_seconds(cells.cell("sac"), RATES) == 30.0
    assert expected_seconds(elsewhere(cells.cell("sac")), RATES) == 120.0
    assert expected_seconds(cells.cell("bc"), RATES) is None


def test_runs_fill_packs_in_their_order_up_to_the_length() -> None:
    runs = [cells.cell("sac", seed=seed) for seed in range(7)]
    packs = pack(runs, RATES, 125.0, start_seconds=5.0)
    assert [len(some) for some in packs] == [3, 3, 1]
    assert [run for some in packs for run in some] == runs


def test_long_and_unknown_runs_are_alone() -> None:
    short, long, unknown = cells.cell("sac"), elsewhere(cells.cell("sac")), cells.cell("bc")
    assert pack([short, long, short, unknown, short], RATES, 100.0) == [[short], [long], [short], [unknown], [short]]


@pytest.mark.usefixtures("probes")
def test_rates_are_the_mean_of_finished_runs(store: Store) -> None:
    runs = [cells.cell("probe", seed=seed, pause=0.002 * (seed + 1)) for seed in range(2)]
    for run in runs:
        assert run_cell(run, store).ending == "done"
    unknown = cells.cell("sac")
    seconds = [read_rows(store.run_folder(run.folder) / "costs.jsonl")[-1]["wall_s"] for run in runs]
    rates = recorded_rates(store)
    assert rates == {key: pytest.approx(sum(seconds) / 2 / 60) for key in (("reacher-close", "probe"), ("", "probe"))}
    assert rates["", "probe"] >= 0.002
    assert expected_seconds(unknown, rates) is None
