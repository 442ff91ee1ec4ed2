"""The offline share: every rule, against what it must do to a given signal."""

import itertools

import pytest

from wombet.errors import InputError
from wombet.mixing import MixingConfig, Mixture
from wombet.serialization import dumps, loads


def run(rule: str, errors: list[float], scale: float = 1.0, **settings: float) -> list[float]:
    """Feed one measurement per 100 updates; return the share after each."""
    mixture = Mixture(MixingConfig(mixing=rule, **settings))
    shares = []
    for i, error in enumerate(errors):
        mixture.observe(error * scale, scale, updates=100 * (i + 1))
        shares.append(mixture.fraction)
    return shares


def test_proportional_stays_at_the_maximum_while_the_error_is_what_it_was_and_follows_it_down() -> None:
    constant = run("proportional", [0.5] * 60)
    assert constant == pytest.approx([0.75] * 60)
    falling = run("proportional", [0.5] * 20 + [0.1] * 100)
    assert falling[-1] == pytest.approx(0.05 + 0.7 * 0.2, abs=1e-3)
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(falling))


def test_proportional_rises_again_with_the_error() -> None:
    shares = run("proportional", [0.5] * 20 + [0.1] * 50 + [0.4] * 50)
    assert shares[-1] > shares[69] + 0.2


@pytest.mark.parametrize("rule", ["proportional", "integral", "leaky_integral"])
def test_adaptive_rules_do_not_depend_on_the_scale_of_the_reward(rule: str) -> None:
    errors = [0.5 / (1 + 0.1 * i) for i in range(60)]
    assert run(rule, errors) == pytest.approx(run(rule, errors, scale=10.0))


def test_integral_runs_to_the_bounds_under_a_constant_signal() -> None:
    high = run("integral", [0.5] * 20 + [0.9] * 500)
    low = run("integral", [0.5] * 20 + [0.1] * 500)
    assert high[-1] == 0.75
    assert low[-1] == 0.05


def test_leaky_integral_settles_between_the_bounds() -> None:
    shares = run("leaky_integral", [0.5] * 20 + [0.2] * 600)
    assert 0.05 < shares[-1] < 0.75
    assert shares[-1] == pytest.approx(shares[-50], abs=1e-6)


def test_fixed_and_online_only_and_schedule_listen_to_no_error() -> None:
    assert set(run("fixed", [0.1, 9.0], offline_fraction=0.3)) == {0.3}
    assert set(run("online_only", [0.1, 9.0])) == {0.0}
    mixture = Mixture(MixingConfig(mixing="schedule"))
    shares = []
    for progress in (0.0, 0.5, 1.0):
        mixture.advance(progress, 0.5)
        shares.append(mixture.fraction)
    assert shares == pytest.approx([0.75, 0.40, 0.05])
    assert not mixture.measures


def test_append_takes_offline_rows_by_their_share_of_all_rows() -> None:
    mixture = Mixture(MixingConfig(mixing="append"))
    for share in (0.99, 0.4, 0.01):
        mixture.observe(10.0, 1.0, updates=9999)
        mixture.advance(0.5, share)
        assert mixture.fraction == share


def test_restored_it_goes_on_as_if_never_stopped() -> None:
    config = MixingConfig()
    whole, stopped = Mixture(config), Mixture(config)
    for i in range(80):
        if i in (5, 20, 50):
            state = loads(dumps(stopped.state()))
            stopped = Mixture(config)
            stopped.restore(state)
        for mixture in (whole, stopped):
            mixture.observe(0.5 / (1 + i), 1.0, 100 * (i + 1))
        assert whole.fraction == stopped.fraction


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"mixing": "adaptive"}, "must be one of"),
        ({"mixing_minimum": 0.8}, "minimum <= maximum"),
        ({"offline_fraction": 1.5}, "between 0 and 1"),
        ({"mixing_interval": 0}, "at least 1"),
    ],
)
def test_bad_settings_are_refused(settings: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Mixture(MixingConfig(**settings))
