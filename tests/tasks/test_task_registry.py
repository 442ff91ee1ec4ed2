"""Families from outside: registered by hand, or declared by an installed package."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from suites.tasks import register_family
from suites.tasks.registry import families, family
from wombet.errors import InputError

REPOSITORY = Path(__file__).parents[2]
PENDULUM = """
    from suites.tasks import Family, InitialStates, JointObservation, Level

    def upright(obs, action, next_obs, *, weight):
        forward = next_obs[..., 0] - obs[..., 0]
        return 1.0 + forward - weight * abs(next_obs[..., 1]) - 0.01 * (action * action).mean(-1)

    def too_low(next_obs, *, limit):
        return ~(abs(next_obs[..., 1]) < limit)

    def make(name="double"):
        return Family(
            name=name, env_id="InvertedDoublePendulum-v5", kwargs={}, observation=JointObservation(nq=3, nv=3),
            action_dim=1, reward=upright, reward_parameters={}, terminated=too_low,
            terminated_parameters={"limit": 0.5}, horizon=30,
            levels={
                "source": Level(InitialStates(0.01), {"weight": 1.0}),
                "far": Level(InitialStates(0.05), {"weight": 2.0}),
            },
        )
"""
USE = """
    import numpy as np
    from suites.tasks import families, make_task
    task = make_task("double", "far")
    env = task.make_env()
    obs, info = env.reset(seed=0)
    next_obs, reward, *rest = env.step([0.5])
    assert float(task.relabel(obs[None], np.array([[0.5]]), next_obs[None])[0][0]) == reward
    assert task.sim_state_from_obs(obs).shape == info["sim_state"].shape
    assert abs(task.reward(obs, np.zeros(1), obs) - (1 - 2 * abs(obs[1]))) < 1e-6
    assert env.spec.make().unwrapped.task == task
    assert len(families()) == 10
    print("used")
"""


def run(folder, *parts):
    script = "\n".join(textwrap.dedent(part) for part in parts)
    return subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": f"{folder}:{REPOSITORY}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def package(tmp_path):
    """Give a function that installs a package whose entry point is as told."""

    def install(target):
        (tmp_path / "pendula.py").write_text(textwrap.dedent(PENDULUM) + "DOUBLE = make()\n")
        info = tmp_path / "pendula-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pendula\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[wombet.families]\npendula = {target}\n")
        return tmp_path

    return install


@pytest.mark.parametrize("target", ["pendula:DOUBLE", "pendula:make"])
def test_a_family_declared_by_a_package_works(package, target):
    done = run(package(target), USE)
    assert done.stdout.strip() == "used", done.stderr


def test_a_callable_may_declare_several_families(package):
    folder = package("pendula:several")
    with open(folder / "pendula.py", "a") as module:
        module.write("def several():\n    return [make(), make('other')]\n")
    done = run(folder, "from suites.tasks import families; print(len(families()), 'other' in families())")
    assert done.stdout.strip() == "11 True", done.stderr


def test_a_family_registered_by_hand_works(tmp_path):
    done = run(tmp_path, PENDULUM, "from suites.tasks import register_family", "register_family(make())", USE)
    assert done.stdout.strip() == "used", done.stderr


@pytest.mark.parametrize("target", ["pendula:missing", "nowhere:make", "pendula:too_low"])
def test_a_broken_declaration_is_named_and_spares_the_families_built_in(package, target):
    done = run(
        package(target),
        """
        from suites.tasks import families, make_task
        from wombet.errors import InputError
        make_task("reacher")
        try:
            families()
        except InputError as error:
            print(error)
        """,
    )
    assert f"entry point pendula = {target}" in done.stdout, done.stderr


def test_a_broken_declaration_is_named_beside_the_list_of_the_families_that_are_whole(package):
    arguments = "import sys; sys.argv = ['wombet', 'list', 'tasks', '--json']"
    done = run(package("nowhere:make"), arguments, "from suites.cli import main; main()")
    assert "entry point pendula = nowhere:make" in done.stderr
    assert '"family": "reacher"' in done.stdout


def test_a_taken_name_and_unusable_families_are_refused(tmp_path):
    taken = family("reacher")
    with pytest.raises(InputError, match="'reacher' is already registered"):
        register_family(taken)
    with pytest.raises(InputError, match="only a Family"):
        register_family(None)
    done = run(
        tmp_path,
        PENDULUM,
        """
        import dataclasses
        from suites.tasks import register_family
        for change in ({"name": "a/b"}, {"levels": {}}, {"version": 0}):
            try:
                register_family(dataclasses.replace(make(), **change))
            except ValueError as error:
                print(error)
        """,
    )
    assert "the family name 'a/b' must be" in done.stdout
    assert "must include 'source'" in done.stdout
    assert "version of family 'double' is 0; it must be a whole number of at least 1" in done.stdout


def test_the_answer_to_what_families_there_are_is_a_copy():
    families().clear()
    assert len(families()) == 9


def test_describing_tasks_loads_no_simulator(tmp_path):
    done = run(
        tmp_path,
        """
        import sys
        from suites.tasks import families, make_task
        from suites.tasks.anchors import read_anchors
        for name in families():
            task = make_task(name, "far")
            task.obs_dim, task.action_dim, task.fingerprint(), task.sim_state_from_obs([0.0] * task.obs_dim)
        read_anchors()
        print([name for name in ("gymnasium", "mujoco", "torch") if name in sys.modules])
        """,
    )
    assert done.stdout.strip() == "[]", done.stderr
