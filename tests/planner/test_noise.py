"""Coloured noise has the spectrum it is named after and unit variance at every time."""

import numpy as np
import pytest
import torch

from wombet.noise import coloured_noise, noise_filter


def noise(length, exponent, n=20000):
    return coloured_noise(torch.randn(n, length, generator=torch.Generator().manual_seed(0)), exponent)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0, 3.0])
def test_exponent_is_recovered_from_the_spectrum(exponent):
    power = torch.fft.rfft(noise(64, exponent)).abs().square().mean(0)[1:-1]
    slope, _ = np.polyfit(np.log(np.arange(1, 32)), np.log(power.numpy()), 1)
    assert slope == pytest.approx(-exponent, abs=0.03)


@pytest.mark.parametrize("length", [1, 2, 7, 12])
@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.5])
def test_variance_is_one_at_every_time(length, exponent):
    variance = noise_filter(length, exponent).square().sum(0)
    torch.testing.assert_close(variance, torch.ones(length))
    assert noise(length, exponent).var(0).numpy() == pytest.approx(1.0, abs=0.05)


def test_exponent_zero_leaves_white_noise_alone():
    white = torch.randn(3, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(coloured_noise(white, 0.0), white)


def test_a_larger_exponent_is_smoother():
    steps = [float(noise(20, exponent).diff(dim=1).square().mean()) for exponent in (0.0, 1.0, 2.0, 4.0)]
    assert steps == sorted(steps, reverse=True)
    assert steps[0] == pytest.approx(2.0, rel=0.05)
