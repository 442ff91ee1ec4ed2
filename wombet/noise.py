"""Noise whose power falls with frequency along time, for smooth action sequences."""

import torch
from torch import Tensor


def noise_filter(length: int, exponent: float) -> Tensor:
    """Return the (length, length) matrix that turns white noise along its rows into noise of power f**-exponent.

    The noise has unit variance at every time. The mean over the sequence gets the power of the lowest frequency, which
    would otherwise be infinite. An exponent of 0 gives the identity. Source: power-law noise in iCEM (2008.06389).
    """
    if exponent == 0 or length == 1:
        return torch.eye(length)
    frequency = torch.fft.fftfreq(length, dtype=torch.float64).abs()
    frequency[0] = 1 / length
    amplitude = frequency ** (-exponent / 2)
    amplitude = amplitude / amplitude.square().mean().sqrt()
    impulse = torch.fft.ifft(amplitude).real
    offset = (torch.arange(length)[:, None] - torch.arange(length)[None, :]) % length
    return impulse[offset].to(torch.float32)


def coloured_noise(white: Tensor, exponent: float) -> Tensor:
    """Return noise of power f**-exponent and unit variance along the last axis, made of white noise (..., length)."""
    return white @ noise_filter(white.shape[-1], exponent).to(white)
