"""Start-up settings are made in a process of their own, so that the tests' own process keeps its."""

import subprocess
import sys

import pytest

from wombet.errors import InputError
from wombet.process import check_device, prepare_process

THREADS = """
import torch
from wombet.process import prepare_process
for _ in range(2):
    prepare_process({threads})
    assert (torch.get_num_threads(), torch.get_num_interop_threads()) == ({threads}, {threads})
torch.set_num_threads(4)
torch.ones(1000).sum()
prepare_process({threads})
assert torch.get_num_threads() == {threads}
"""

LATE = """
import torch
from wombet.process import prepare_process
torch.set_num_interop_threads(3)
prepare_process(1)
assert (torch.get_num_threads(), torch.get_num_interop_threads()) == (1, 3)
"""

PAGE_FAULTS = """
import resource, torch
from wombet.learner import ActorCritic, Batch, LearnerConfig
from wombet.process import prepare_process
torch.set_num_threads(1)
if {prepare}:
    prepare_process()
config = LearnerConfig(hidden_width=128, n_critics=10, layer_norm=True, actor_aggregate="mean")
learner = ActorCritic(4, 2, config, torch.Generator().manual_seed(0))
batch = Batch(*(torch.zeros(256, *width) for width in ((4,), (2,), (), (4,), (), ())))
faults = [resource.getrusage(resource.RUSAGE_SELF).ru_minflt for _ in range(30) if learner.update([batch])]
print(faults[-1] - faults[9])
"""


def run(program: str) -> str:
    """Return what a program prints, run by a fresh interpreter; a failing program fails the test."""
    return subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True).stdout


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_set_and_a_second_call_changes_nothing(threads):
    run(THREADS.format(threads=threads))


def test_what_torch_no_longer_lets_change_is_left_as_it_is():
    run(LATE)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of glibc")
def test_freed_memory_is_kept():
    """Twenty updates of ten critics: without the settings, thousands of pages are given back and fetched again."""
    kept, returned = (int(run(PAGE_FAULTS.format(prepare=prepare))) for prepare in (True, False))
    assert kept < 0.2 * returned


def test_no_thread_is_refused():
    with pytest.raises(InputError, match="threads is 0"):
        prepare_process(0)


def test_a_device_that_is_not_there_is_refused_and_the_cpu_never_is(monkeypatch):
    check_device("cpu")
    for wrong in ("gpu", "cuda:x", "cpu:1", ""):
        with pytest.raises(InputError, match=r'it must be "cpu", "cuda" or "cuda:N"'):
            check_device(wrong)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(InputError, match="finds 0 GPUs"):
        check_device("cuda")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    check_device("cuda")
    check_device("cuda:1")
    with pytest.raises(InputError, match=r"'cuda:2'.*finds 2 GPUs"):
        check_device("cuda:2")
