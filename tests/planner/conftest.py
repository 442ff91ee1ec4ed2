"""Planners of small systems."""

import pytest
import torch

from wombet.planner import Planner, PlannerConfig


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def make_planner():
    def make(model, task, *, penalty=0.0, seed=0, guide=None, **settings):
        small = {"horizon": 4, "population": 64, "iterations": 4, "n_elites": 8, "noise_beta": 0.0}
        config = PlannerConfig(**{**small, **settings})
        return Planner(model, task, config, penalty, torch.Generator().manual_seed(seed), guide)

    return make


@pytest.fixture
def watch(monkeypatch):
    """Records what a planner evaluates: a list of (sequences, values)."""

    def attach(planner):
        calls, evaluate = [], planner.evaluate

        def spy(obs, sequences):
            values = evaluate(obs, sequences)
            calls.append((sequences.clone(), values.clone()))
            return values

        monkeypatch.setattr(planner, "evaluate", spy)
        return calls

    return attach
