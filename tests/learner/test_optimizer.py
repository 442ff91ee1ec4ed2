"""Adam on a flat vector equals torch.optim.Adam."""

import pytest
import torch

from wombet.errors import InputError
from wombet.optimizer import Adam
from wombet.serialization import dumps, loads


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
def test_equals_torch_optim(dtype, tolerance):
    generator = torch.Generator().manual_seed(0)
    ours = torch.randn(1000, generator=generator, dtype=dtype)
    theirs = torch.nn.Parameter(ours.clone())
    adam, reference = Adam(ours, 1e-2), torch.optim.Adam([theirs], lr=1e-2)
    for step in range(200):
        gradient = torch.randn(1000, generator=generator, dtype=dtype) * 10.0 ** (step % 7 - 5)
        gradient[:10] = 0  # units that never get a gradient
        adam.step(gradient)
        theirs.grad = gradient.clone()
        reference.step()
    torch.testing.assert_close(ours, theirs.detach(), rtol=tolerance, atol=tolerance)
    assert adam.state()["steps"] == 200


def test_first_step_is_the_learning_rate():
    """The bias corrections make the first step lr * sign(gradient), whatever the gradient's size (closed form)."""
    vector = torch.zeros(3, dtype=torch.float64)
    Adam(vector, 0.01).step(torch.tensor([5.0, -1e-3, 0.0], dtype=torch.float64))
    assert vector.tolist() == pytest.approx([-0.01, 0.01, 0.0], rel=1e-4)


def test_restored_optimiser_goes_on_as_if_never_stopped():
    gradients = torch.randn(20, 50, generator=torch.Generator().manual_seed(0))
    vector, other = torch.zeros(50), torch.zeros(50)
    adam, restored = Adam(vector, 1e-2), Adam(other, 1e-2)
    for step, gradient in enumerate(gradients):
        if step == 11:
            other.copy_(vector)
            restored.restore(loads(dumps(adam.state())))
        adam.step(gradient)
        if step >= 11:
            restored.step(gradient)
    assert torch.equal(vector, other)
    with pytest.raises(InputError, match="same configuration"):
        Adam(torch.zeros(49), 1e-2).restore(adam.state())
