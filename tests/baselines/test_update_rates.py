"""The table of updates per second has a row for every phase of methods that need more than a plain minibatch."""

from typing import Any

import pytest

from benchmarks import updates_per_second


@pytest.mark.parametrize(("name", "library"), [("cal-ql", "d3rlpy, the same algorithm"), ("mtop-state", "")])
def test_both_phases_are_measured(name: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates_per_second, "SECONDS", 0.01)
    small: dict[str, Any] = {"hidden_width": 16, "batch_size": 8, "n_action_samples": 2, "model_width": 16}
    whole = updates_per_second.pocket
    assert whole(name)["hidden_width"] == 128
    monkeypatch.setattr(
        updates_per_second,
        "pocket",
        lambda method: {**whole(method), **{k: small[k] for k in small if k in whole(method)}},
    )
    rates = list(updates_per_second.rates_of(name))
    assert [(rate.phase, rate.library) for rate in rates] == [("offline", library), ("online", library)]
    assert all(rate.per_second > 0 for rate in rates)
