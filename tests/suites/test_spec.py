"""Suites and runs as data: validated with one sentence, hashed by what matters, nothing else."""

import copy
import dataclasses
import re
import tomllib
from pathlib import Path

import pytest

from baselines.registry import method, method_names
from suites.matrix import build_matrix
from suites.spec import (
    CATALOG,
    load_suite,
    parse_overrides,
    parse_suite,
    run_spec_from_json,
    suite_names,
    variant_name,
)
from wombet.errors import InputError

SMOKE = tomllib.loads((CATALOG / "smoke.toml").read_text())


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_of_the_catalogue_is_valid_and_names_registered_methods_only(name: str) -> None:
    suite = load_suite(name)
    assert suite.name == name
    assert {suite.variant(row).method for row in suite.methods} <= set(method_names())
    matrix = build_matrix(suite)
    assert len(matrix.runs) == len(suite.pairs) * len(suite.methods) * suite.seeds
    assert len({run.folder for run in matrix.runs}) == len(matrix.runs)


def changed(**entries: object) -> dict:
    return {**copy.deepcopy(SMOKE), **entries}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (changed(seed=3), "no entry 'seed'; did you mean 'seeds'"),
        (changed(seeds="five"), "seeds is 'five'"),
        (changed(seeds=0), "seeds is 0"),
        (changed(budgets={"target_steps": -5}), "budgets.target_steps is -5"),
        (changed(budgets={"target_stepps": 5}), "no entry 'budgets.target_stepps'; did you mean 'target_steps'"),
        ({name: entry for name, entry in SMOKE.items() if name != "budgets"}, "suite.toml: budgets is missing$"),
        (changed(evaluation={"episodes": 2}), "suite.toml: evaluation.count is missing$"),
        (
            changed(method_budgets={"sac": {"target_step": 5}}),
            "no entry 'method_budgets.sac.target_step'; did you mean 'target_steps'",
        ),
        (
            changed(pairs=[{"family": "reacher", "level": "close", "source": ["far"]}]),
            "no entry 'pairs.0.source'; did you mean 'sources'",
        ),
        (
            changed(pairs=[{"family": "reacher", "level": "close", "sources": [{"name": "far", "levle": "far"}]}]),
            "levle'; did you mean 'level'",
        ),
        (changed(config={"SAC": {"utd": 2}}), "config names 'SAC'.*; did you mean 'sac'"),
        (changed(evaluation={"count": 1, "episodes": 2}), "evaluation.count is 1"),
        (changed(methods=["sac", "sac"]), "named twice"),
        (changed(config={"sca": {"utd": 2}}), "config names 'sca'"),
        (changed(data={"collection": "pur"}), "data.collection is 'pur'"),
    ],
)
def test_a_bad_entry_is_said_in_one_sentence(content: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        parse_suite(content, "suite.toml")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("suite.toml: ")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (changed(methods=["sacc"]), "no method 'sacc'; did you mean 'sac'"),
        (changed(methods=["BC"]), "no method 'BC'; did you mean 'bc'"),
        (changed(shared={"utd": float("nan")}), "utd is nan, which a config cannot hold"),
        (changed(pairs=[{"family": "reachr", "level": "close"}]), "did you mean 'reacher'"),
        (changed(pairs=[{"family": "reacher", "level": "closer"}]), "did you mean 'close'"),
        (changed(shared={"hidden_with": 3}), "did you mean 'hidden_width'"),
        (changed(config={"sac": {"utd": "x"}}), "method sac: utd is 'x'"),
        (changed(data={"profile": "quik"}), "did you mean 'quick'"),
        (
            changed(pairs=[{"family": "reacher", "level": "close", "data": {"mode": "pure"}}]),
            "data has no entry 'mode'",
        ),
        (
            changed(pairs=[{"family": "reacher", "level": "close", "horizon": horizon} for horizon in (20, 50)]),
            "has the task pair reacher-close 2 times",
        ),
        (
            changed(data={"collection": "guided", "profile": "quick", "generation": {"agent_steps": 10**6}}),
            "raise agent.replay_capacity too",
        ),
    ],
)
def test_what_does_not_exist_or_fit_is_said_in_one_sentence(content: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        build_matrix(parse_suite(content, "suite.toml"))


def test_unknown_suites_and_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'quickstart'"):
        load_suite("quickstrat")
    with pytest.raises(InputError, match="no suite file"):
        load_suite(str(tmp_path / "mine.toml"))
    (tmp_path / "mine.toml").write_text("seeds = = 3")
    with pytest.raises(InputError, match="not valid TOML"):
        load_suite(str(tmp_path / "mine.toml"))


def test_a_run_is_identified_by_what_defines_its_results() -> None:
    run = build_matrix(load_suite("smoke")).runs[-1]
    same = run_spec_from_json(run.to_json())
    assert same == run
    assert same.run_id == run.run_id
    others = [
        dataclasses.replace(run, seed=run.seed + 1),
        dataclasses.replace(run, config={**run.config, "utd": 3}),
        dataclasses.replace(run, method_version=2),
        dataclasses.replace(run, evaluation={"count": 3, "episodes": 9}),
        dataclasses.replace(run, pair=dataclasses.replace(run.pair, target_fingerprint="other")),
        dataclasses.replace(run, dataset=dataclasses.replace(run.dataset, dataset_seed=9)),
    ]
    assert len({run.run_id, *(other.run_id for other in others)}) == 1 + len(others)


def test_a_budget_that_a_method_does_not_use_does_not_change_its_runs() -> None:
    longer = build_matrix(parse_suite(changed(budgets={"target_steps": 400, "offline_updates": 50}), "x"))
    ids = {(run.method, run.seed): run.run_id for run in build_matrix(load_suite("smoke")).runs}
    same = {run.method for run in longer.runs if ids[run.method, run.seed] == run.run_id}
    assert same == {"zero", "random", "bc"}


def test_levels_of_one_family_share_their_datasets_and_seeds_take_turns() -> None:
    pairs = [{"family": "reacher", "level": level} for level in ("close", "far")]
    matrix = build_matrix(parse_suite(changed(pairs=pairs, seeds=4, n_datasets=2), "x"))
    assert len(matrix.recipes) == 2
    assert {run.dataset.dataset_seed for run in matrix.runs if run.dataset and run.seed in (1, 3)} == {1}


def test_evaluations_are_evenly_spaced_with_both_ends() -> None:
    run = next(run for run in build_matrix(load_suite("quickstart")).runs if run.method == "sac")
    assert run.evaluation_steps() == [0, 600, 1200, 1800, 2400, 3000]


def test_a_pretrained_run_is_evaluated_one_step_after_the_switch_too() -> None:
    variants = {
        "pretrained": {"method": "wombet", "config": {"pretraining_updates": 20}},
        "begun-cold": {"method": "wombet", "config": {"pretraining_updates": 0}},
    }
    runs = build_matrix(parse_suite(changed(methods=["sac", "bc", *variants], variants=variants), "x")).runs
    steps = {run.row: run.evaluation_steps() for run in runs if run.seed == 0}
    assert steps["pretrained"] == sorted({1, *steps["sac"]})
    assert steps["begun-cold"] == steps["sac"]
    assert 1 not in steps["sac"]
    assert {run.row for run in runs if "after_switch" in run.evaluation} == {"pretrained"}


def test_overrides_are_typed_and_give_the_results_a_name_of_their_own() -> None:
    overrides = parse_overrides(["sac.utd=2", "wombet.mixing=fixed", "rlpd.actor_lr = 1e-4"])
    assert overrides == {"sac": {"utd": 2}, "wombet": {"mixing": "fixed"}, "rlpd": {"actor_lr": 1e-4}}
    suite = load_suite("smoke")
    assert variant_name(suite, {}) == "smoke"
    assert variant_name(suite, overrides).startswith("smoke@")
    configs = {run.method: run.config for run in build_matrix(suite, overrides).runs}
    assert configs["wombet"]["mixing"] == "fixed"
    with pytest.raises(InputError, match=r"METHOD\.FIELD=VALUE"):
        parse_overrides(["utd=3"])
    with pytest.raises(InputError, match="does not run"):
        build_matrix(suite, {"ppo": {"x": 1}})


def with_variants(**variants: dict) -> dict:
    return changed(methods=["sac", "wombet", *variants], variants=variants)


def test_a_variant_is_a_row_of_its_own_with_its_methods_settings_and_its_own_in_front() -> None:
    content = with_variants(
        half={"method": "wombet", "config": {"mixing": "fixed"}}, rows={"method": "wombet", "data_part": "source"}
    )
    content["config"] = {"wombet": {"utd": 2}, "half": {"offline_fraction": 0.25}}
    content["method_budgets"] = {"wombet": {"target_steps": 300}, "half": {"target_steps": 400}}
    matrix = build_matrix(parse_suite(content, "x"))
    by_row = {run.row: run for run in matrix.runs if run.seed == 0}
    half, rows, plain = by_row["half"], by_row["rows"], by_row["wombet"]
    assert {run.method for run in (half, rows, plain)} == {"wombet"}
    assert (half.config["mixing"], half.config["offline_fraction"], half.config["utd"]) == ("fixed", 0.25, 2)
    assert (plain.config["mixing"], rows.config) == ("proportional", plain.config)
    assert (half.budgets.target_steps, plain.budgets.target_steps) == (400, 300)
    assert (rows.data_part, plain.data_part) == ("source", None)
    assert len({run.run_id for run in by_row.values()}) == 4
    assert [cell["method"] for cell in matrix.manifest()["cells"]][:4] == ["sac", "wombet", "half", "rows"]
    assert {run.row for run in matrix.select([], ["half"], None).runs} == {"half"}
    assert build_matrix(matrix.suite, {"half": {"utd": 3}}).runs[2].config["utd"] == 3


def test_a_variant_that_changes_nothing_is_the_same_run() -> None:
    matrix = build_matrix(parse_suite(with_variants(again={"method": "wombet"}), "x"))
    assert matrix.runs[1].run_id == matrix.runs[2].run_id
    assert matrix.runs[1].row != matrix.runs[2].row


def test_a_variant_cannot_take_the_name_of_another_method() -> None:
    with pytest.raises(InputError, match=r"^x: variants names 'bc', which is a method of its own, .* is 'wombet'"):
        parse_suite(with_variants(bc={"method": "wombet"}), "x")
    assert parse_suite(with_variants(bc={"method": "bc"}), "x").variant("bc").method == "bc"


@pytest.mark.parametrize(
    ("variant", "sentence"),
    [
        ({"method": "wombat"}, "did you mean 'wombet'"),
        ({"method": "wombet", "config": {"mixin": "fixed"}}, "method v: there is no field 'mixin'"),
        ({"method": "wombet", "data_part": "sourc"}, "did you mean 'source'"),
        ({"method": "sac", "data_part": "source"}, "sac is given no data"),
        ({"config": {}}, "variants.v.method"),
    ],
)
def test_a_bad_variant_is_said_in_one_sentence(variant: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        build_matrix(parse_suite(with_variants(v=variant), "x"))


def test_a_part_of_a_suite_can_be_chosen_by_name() -> None:
    matrix = build_matrix(load_suite("smoke"))
    part = matrix.select(["reacher-close"], ["sac"], 1)
    assert [run.label for run in part.runs] == ["reacher-close sac seed 0"]
    for arguments, sentence in (
        ((["reacher-clse"], [], None), "did you mean 'reacher-close'"),
        (([], ["scc"], None), "no method 'scc'"),
        (([], [], 3), "1 to 2 seeds"),
    ):
        with pytest.raises(InputError, match=sentence):
            matrix.select(*arguments)


def test_generation_settings_go_in_front_of_the_profiles_and_the_budget_follows() -> None:
    data = {
        "collection": "guided",
        "profile": "smoke",
        "generation": {"early_fraction": 0.5, "planner": {"horizon": 3}},
    }
    pairs = [{"family": "reacher", "level": "close", "data": {"generation": {"planner": {"population": 20}}}}]
    changes = {"generation": {"planner": {"penalty_scale": 0.0}, "random_steps": 900}}
    content = with_variants(free={"method": "wombet", "data": changes}) | {"data": data, "pairs": pairs}
    runs = {run.row: run for run in build_matrix(parse_suite(content, "x")).runs if run.seed == 0}
    plain, free = runs["wombet"].dataset.config, runs["free"].dataset.config
    assert (plain["early_fraction"], plain["planner"]["horizon"], plain["planner"]["population"]) == (0.5, 3, 20)
    assert (free["early_fraction"], free["planner"]["horizon"], free["planner"]["population"]) == (0.5, 3, 20)
    assert (plain["planner"]["penalty_scale"], free["planner"]["penalty_scale"]) == (1.0, 0.0)
    assert free["source_steps"] - plain["source_steps"] == 900 - plain["random_steps"] > 0
    assert runs["free"].dataset.id != runs["wombet"].dataset.id
    assert runs["free"].config == runs["wombet"].config


def test_a_variant_may_have_its_data_made_otherwise() -> None:
    content = with_variants(real={"method": "wombet", "data": {"rollouts": "executed"}})
    matrix = build_matrix(parse_suite(content, "x"))
    recipes = {run.row: run.dataset for run in matrix.runs if run.seed == 1 and run.dataset}
    assert (recipes["wombet"].rollouts, recipes["real"].rollouts) == ("imagined", "executed")
    assert {recipe.profile for recipe in recipes.values()} == {"smoke"}
    assert len(matrix.recipes) == 2


@pytest.mark.parametrize(
    ("variant", "sentence"),
    [
        ({"method": "wombet", "data": {"rollout": "executed"}}, "variant v: data has no entry 'rollout'; did you mean"),
        ({"method": "wombet", "data": {"generation": {"earli": 1}}}, "data.generation: there is no field 'earli'"),
        ({"method": "wombet", "data": {"generation": {"planner": {"horizon": 0}}}}, "horizon is 0"),
        ({"method": "wombet", "data": {"generation": {"rollouts": "executed"}}}, "set data.rollouts instead"),
        ({"method": "wombet", "data": {"generation": 3}}, "generation is 3"),
        ({"method": "wombet", "data": {"generation": {"source_steps": 9}}}, "source_steps is 9"),
        ({"method": "sac", "data": {"rollouts": "executed"}}, "sac is given no data; leave data out"),
        ({"method": "wombet", "data_part": "matched-al"}, "did you mean 'matched-dual'"),
    ],
)
def test_bad_data_of_a_variant_is_said_in_one_sentence(variant: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        build_matrix(parse_suite(with_variants(v=variant), "x"))
    assert "\n" not in str(caught.value)


IMPORT = {"imported": "reacher-0123456789ab"}
PURE = {"collection": "pure", "profile": "smoke"}
GUIDED = {**PURE, "collection": "guided"}
SIZES = {"hidden_width": 32, "layer_norm": True}  # those of the source agent of profile smoke


@pytest.mark.parametrize(
    ("data", "variant", "sentence"),
    [
        (IMPORT, {"method": "source-policy"}, "source-policy with these settings needs the agent"),
        (IMPORT, {"method": "sac-continued"}, "sac-continued with these settings needs the agent"),
        (IMPORT, {"method": "target-planning"}, "target-planning with these settings needs the model"),
        (IMPORT, {"method": "mopo", "config": {"dynamics": "source"}}, "mopo with these settings needs the model"),
        (IMPORT, {"method": "combo", "config": {"dynamics": "source"}}, "combo with these settings needs the model"),
        (IMPORT, {"method": "wombet", "config": {"penalised_rows": "all"}}, "wombet .* needs the model"),
        (IMPORT, {"method": "wombet", "config": {"init": "source"}}, "wombet .* needs the agent"),
        (IMPORT, {"method": "wombet-iterated"}, "wombet-iterated .* needs the model"),
        (IMPORT, {"method": "bc", "data_part": "unfiltered"}, "reacher-0123456789ab has no part 'unfiltered'"),
        (IMPORT, {"method": "bc", "data_part": "matched-dual"}, "reacher-0123456789ab has no part 'matched-dual'"),
        (PURE, {"method": "source-policy"}, "source-policy .* needs a source agent, and the dataset's collection is"),
        (PURE, {"method": "sac-continued"}, "sac-continued .* needs a source agent"),
        (PURE, {"method": "wombet", "config": {"init": "source"}}, "wombet .* needs a source agent"),
        (PURE, {"method": "bc", "data_part": "policy"}, "data_part 'policy' needs a source agent"),
        (
            GUIDED,
            {"method": "sac-continued", "config": {"hidden_width": 31}},
            "have hidden_width = 31, layer_norm = False, and the source agent .* hidden_width = 32",
        ),
        (
            GUIDED,
            {"method": "wombet", "config": {"init": "source", **SIZES, "n_critics": 3}},
            "have n_critics = 3, and the source agent .* n_critics = 2;",
        ),
    ],
)
def test_a_row_that_cannot_work_with_the_suites_data_is_refused_by_name(
    data: dict, variant: dict, sentence: str
) -> None:
    content = changed(methods=["v"], variants={"v": variant}, data=data, shared={})
    with pytest.raises(InputError, match=f"^suite smoke, pair reacher-close, row v: .*{sentence}") as caught:
        build_matrix(parse_suite(content, "x"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "variant"),
    [
        (IMPORT, {"method": "mopo"}),
        (IMPORT, {"method": "wombet"}),
        (IMPORT, {"method": "wombet", "config": {"penalised_rows": "all", "target_penalty": 0.0}}),
        (IMPORT, {"method": "wombet-iterated", "config": {"iterations": 1}}),
        (PURE, {"method": "target-planning"}),
        (PURE, {"method": "mopo", "config": {"dynamics": "source"}}),
        (PURE, {"method": "bc", "data_part": "unfiltered"}),
        (GUIDED, {"method": "source-policy"}),
        (GUIDED, {"method": "wombet", "config": {"n_critics": 3}}),
        (GUIDED, {"method": "sac-continued", "config": SIZES}),
    ],
)
def test_a_row_that_can_work_with_the_suites_data_is_not_refused(data: dict, variant: dict) -> None:
    content = changed(methods=["v"], variants={"v": variant}, data=data, shared={})
    assert build_matrix(parse_suite(content, "x")).runs


def test_a_method_that_only_asks_the_source_agent_may_have_networks_of_any_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(method("source-policy"), "Config", method("sac").Config)
    content = changed(methods=["source-policy"], data=GUIDED, shared={"hidden_width": 31}, config={}, variants={})
    assert build_matrix(parse_suite(content, "x")).runs[0].config["hidden_width"] == 31


def test_a_method_that_generates_again_has_the_source_steps_that_this_can_take() -> None:
    content = changed(methods=["wombet", "wombet-iterated"], config={"wombet-iterated": {"iterations": 3}})
    runs = {run.row: run for run in build_matrix(parse_suite(content, "x")).runs if run.seed == 0}
    config = runs["wombet-iterated"].dataset.config
    again = config["calibration_trajectories"] * min(config["calibration_steps"], config["trajectory_steps"])
    assert runs["wombet-iterated"].budgets.source_steps == 2 * again > 0
    assert runs["wombet"].budgets.source_steps == 0
    content["config"]["wombet-iterated"]["iterations"] = 1
    alone = build_matrix(parse_suite(content, "x")).runs
    assert {run.budgets.source_steps for run in alone} == {0}


def test_every_ablation_of_the_documentation_is_a_row_of_the_suite_it_names() -> None:
    text = (CATALOG.parents[1] / "docs" / "ablations.md").read_text()
    table = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("|")]
    lines = [cells for cells in table if "paper-fig" in cells[2] or "ablations" in cells[2]]
    named: dict[str, set[str]] = {}
    for _, _, names, rows in lines:
        for name in re.findall(r"`([a-z0-9-]+)`", names):
            known = set(load_suite(name).methods)
            assert set(re.findall(r"`([a-z0-9-]+)`", rows)) <= known, name
            named.setdefault(name, set()).update(re.findall(r"`([a-z0-9-]+)`", rows))
    for name in ("paper-fig5", "ablations"):
        assert named[name] == set(load_suite(name).methods)
    for name in ("paper-fig5", "paper-fig6"):
        assert load_suite(name).methods == load_suite(f"{name}-pocket").methods
