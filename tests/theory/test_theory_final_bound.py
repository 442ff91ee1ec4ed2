"""The final bound: its arithmetic, what it needs to say anything, and that it says so when it does not."""

import math

import pytest

from wombet.errors import InputError
from wombet.theory import final_bound

REAL = {
    "penalised_return": 40.0,
    "n_rows": 10_000,
    "n_parameters": 70_000,
    "lipschitz": 5.0,
    "model_error": 0.05,
    "offline_share": 0.5,
    "reward_range": (-1.0, 1.0),
    "discount": 0.99,
    "horizon": 200,
}
SMALL = {**REAL, "discount": 0.5, "n_parameters": 1, "n_rows": 10**6, "parameter_bits": 1, "penalised_return": 1.0}


def value_of(found, symbol):
    (term,) = (term for term in found["terms"] if term["symbol"] == symbol)
    return term["value"]


def label_of(found, symbol):
    (term,) = (term for term in found["terms"] if term["symbol"] == symbol)
    return term["label"]


def test_terms_add_up_as_in_the_equations():
    found = final_bound(**{**SMALL, "delta": 0.1, "reward_range": (-0.5, 2.0), "horizon": 2})
    v_max = 2.0 * (1 + 0.5)
    estimation = v_max / 0.5 * math.sqrt((math.log(2) + math.log(10)) / 10**6)
    dynamics = 0.5 * 0.5 * 5.0 / 0.5 * 0.05
    assert value_of(found, "V_max") == pytest.approx(v_max)
    assert value_of(found, "log|F|") == pytest.approx(math.log(2))
    assert value_of(found, "|Q - Q_alpha|") == pytest.approx(estimation)
    assert value_of(found, "|Q_alpha - Q*|") == pytest.approx(dynamics)
    assert found["lower_bound"] == pytest.approx(1.0 - 2 / 0.5 * (estimation + dynamics))
    assert (found["lowest_return"], found["largest_return"]) == pytest.approx((-0.5 * 1.5, 3.0))


def test_real_figures_make_it_vacuous_and_the_sentence_says_so_with_values():
    found = final_bound(**REAL)
    largest = (1 - 0.99**200) / 0.01
    assert found["vacuous"] is True
    assert found["lower_bound"] < -1e6 < -largest
    for figure in ("vacuous", f"{found['lower_bound']:.4g}", f"{largest:.4g}", "200 steps"):
        assert figure in found["sentence"]


def test_a_small_class_and_a_good_model_make_it_say_something():
    found = final_bound(**{**SMALL, "model_error": 1e-4})
    assert found["vacuous"] is False
    assert found["lowest_return"] < found["lower_bound"] < 1.0
    assert "not vacuous" in found["sentence"]


def test_rows_needed_is_where_the_estimation_alone_stops_being_vacuous():
    # A coarse class, so that one row more is visible in double precision.
    alone = {**REAL, "n_parameters": 1, "parameter_bits": 8, "lipschitz": 0.0, "discount": 0.9}
    needed = final_bound(**alone)["rows_needed"]
    assert not final_bound(**{**alone, "n_rows": needed})["vacuous"]
    assert final_bound(**{**alone, "n_rows": needed - 1})["vacuous"]


def test_model_error_needed_is_where_the_dynamics_alone_stop_being_vacuous():
    alone = {**SMALL, "n_rows": 10**18}
    needed = final_bound(**alone)["model_error_needed"]
    assert not final_bound(**{**alone, "model_error": 0.999 * needed})["vacuous"]
    assert final_bound(**{**alone, "model_error": 1.001 * needed})["vacuous"]


def test_nothing_helps_a_penalised_return_below_all_possible_ones():
    found = final_bound(**{**REAL, "penalised_return": -1e3})
    assert found["rows_needed"] is None
    assert found["model_error_needed"] is None
    assert found["vacuous"]


def test_online_data_alone_leave_no_dynamics_term():
    found = final_bound(**{**REAL, "offline_share": 0.0})
    assert value_of(found, "|Q_alpha - Q*|") == 0.0
    assert found["model_error_needed"] is None


def test_positive_rewards_are_least_when_the_episode_ends_at_once():
    found = final_bound(**{**REAL, "reward_range": (0.5, 1.0)})
    assert found["lowest_return"] == 0.5
    assert found["largest_return"] == pytest.approx((1 - 0.99**200) / 0.01)


def test_labels_say_which_terms_are_bounds_and_a_mixture_is_an_estimate():
    found = final_bound(**REAL, reward_label="estimate", model_error_label="bound")
    assert label_of(final_bound(**REAL), "V_max") == "bound"
    assert label_of(found, "V_max") == "estimate"
    assert label_of(found, "Delta") == "bound"
    assert label_of(found, "log|F|") == "bound"
    for symbol in ("J~", "L_V", "|Q - Q_alpha|", "|Q_alpha - Q*|", "2 / (1 - gamma) [(11) + (12)]"):
        assert label_of(found, symbol) == "estimate"
    assert all(term["basis"] for term in found["terms"])


@pytest.mark.parametrize(
    "change",
    [
        {"discount": 1.0},
        {"n_rows": 0},
        {"n_parameters": 0},
        {"lipschitz": -1.0},
        {"model_error": math.inf},
        {"offline_share": 1.1},
        {"reward_range": (1.0, -1.0)},
        {"reward_range": (-math.inf, 1.0)},
        {"horizon": 0},
        {"delta": 0.0},
        {"penalised_return": math.nan},
        {"reward_label": "guess"},
    ],
)
def test_bad_input_is_named(change):
    with pytest.raises(InputError, match="must be"):
        final_bound(**{**REAL, **change})
