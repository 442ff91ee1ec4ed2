"""The stored returns of policies that learn nothing."""

import dataclasses

import pytest

from suites.spec import load_suite, suite_names
from suites.tasks import families, make_task
from suites.tasks.anchors import main, measure_anchor, read_anchors
from suites.tasks.measured import matching, row_name
from wombet.errors import InputError

LEVELS = ("source", "aligned", "close", "moderate", "far")


POCKET = ("halfcheetah", "hopper", "walker2d", "ant", "swimmer")


def test_every_task_has_an_anchor_of_its_present_numbers_and_pocket_families_one_of_200_steps_too():
    anchors = read_anchors()
    tasks = [make_task(family, level) for family in families() for level in LEVELS]
    tasks += [make_task(family, level, horizon=200) for family in POCKET for level in LEVELS]
    assert sorted(anchors) == sorted(row_name(task) for task in tasks)
    for task in tasks:
        anchor = anchors[row_name(task)]
        assert (anchor.fingerprint, anchor.horizon, anchor.episodes) == (task.fingerprint(), task.horizon, 50)


def test_a_row_is_named_after_its_horizon_only_where_that_is_not_the_familys_own():
    assert row_name(make_task("ant", "close")) == row_name(make_task("ant", "close", horizon=1000)) == "ant/close"
    assert row_name(make_task("ant", "close", horizon=200)) == "ant/close/200"
    assert row_name(make_task("cartpole", "far", horizon=200)) == "cartpole/far"


def test_every_pair_of_the_pocket_suites_has_a_measured_random_policy():
    entries = [entry for name in suite_names() if name.endswith("-pocket") for entry in load_suite(name).pairs]
    assert len(entries) > 20
    for entry in entries:
        task = make_task(entry.family, entry.level, entry.shift, entry.horizon)
        name, _ = matching(read_anchors(), task.fingerprint(), task.horizon)
        assert name == row_name(task)


@pytest.mark.parametrize(
    ("family", "level", "horizon"),
    [
        ("cartpole", "moderate", None), ("reacher", "source", None), ("walker2d", "far", None), ("hopper", "far", 200),
    ],
)  # fmt: skip
def test_a_row_is_measured_again_with_the_same_result(family, level, horizon):
    task = make_task(family, level, horizon=horizon)
    stored = read_anchors()[row_name(task)]
    fresh = measure_anchor(task, stored.episodes, stored.seed)
    # Processors may differ in the last bits of a sine.
    returns = ("random_mean", "random_std", "zero_mean", "zero_std")
    numbers = {field: pytest.approx(getattr(stored, field), abs=2e-4) for field in returns}
    assert dataclasses.asdict(fresh) == dataclasses.asdict(stored) | numbers


def test_the_anchor_of_a_resting_reacher_is_its_return(tmp_path):
    task = make_task("reacher", horizon=3)
    anchor = measure_anchor(task, episodes=1, seed=4)
    # At rest nothing moves but by the small speed of the start: three times the same reward, near enough.
    assert anchor.zero_std == 0
    assert anchor.zero_mean == pytest.approx(1.5, abs=0.1)
    assert measure_anchor(task, episodes=2, seed=5).random_mean != anchor.random_mean


def test_the_command_writes_the_same_file_again_and_keeps_other_rows(tmp_path, capsys):
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    for path, order in ((first, ("reacher", "cartpole")), (second, ("cartpole", "reacher"))):
        for name in order:
            assert main(["--families", name, "--episodes", "2", "--output", str(path)]) == 0
    assert first.read_bytes() == second.read_bytes()
    anchors = read_anchors(first)
    assert len(anchors) == 10
    assert anchors["reacher/aligned"] == anchors["reacher/source"]
    assert anchors["reacher/far"].episodes == 2
    own = first.read_text()
    assert main(["--families", "reacher", "--horizon", "3", "--episodes", "2", "--output", str(first)]) == 0
    for table in own.strip().split("\n\n"):
        assert table in first.read_text()
    longer = read_anchors(first)
    assert len(longer) == 15
    assert {name: longer[name] for name in anchors} == anchors
    assert (longer["reacher/far/3"].horizon, longer["reacher/aligned/3"]) == (3, longer["reacher/source/3"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--families", "recher"], "did you mean 'reacher'"),
        (["--episodes", "0"], "at least 1"),
        (["--horizon", "0"], "whole number of at least 1"),
    ],
)
def test_wrong_arguments_are_named_and_write_nothing(arguments, message, tmp_path, capsys):
    output = tmp_path / "anchors.toml"
    assert main([*arguments, "--output", str(output)]) == 2
    assert message in capsys.readouterr().err
    assert not output.exists()


def test_a_missing_or_damaged_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no file of anchors .*none\.toml"):
        read_anchors(tmp_path / "none.toml")
    for text in ("not = [toml", '["reacher/far"]\nmean = 3.0\n', "reacher = 3\n"):
        (tmp_path / "bad.toml").write_text(text)
        with pytest.raises(InputError, match=r"bad\.toml is not a file of anchors"):
            read_anchors(tmp_path / "bad.toml")
