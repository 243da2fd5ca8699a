"""A seed decides the weights and the dropout of a network, and the other threads of the process do not."""

import random

import numpy as np
import pytest

from components.modeling.classifier import build_head
from components.modeling.determinism import seed_everything
from tests.support.models import HEAD

pytestmark = pytest.mark.slow


def variables(drawn_elsewhere: int) -> list[np.ndarray]:
    """The initial weights and states of a head, while other code draws so many numbers from Python's generator."""
    seed_everything(7)
    for _ in range(drawn_elsewhere):
        random.random()
    return [variable.numpy() for variable in build_head(5, HEAD, 3).variables]


def test_draws_of_other_threads_do_not_change_a_network():
    for one, other in zip(variables(0), variables(3), strict=True):
        np.testing.assert_array_equal(one, other)


def test_network_is_the_one_that_keras_alone_would_make():
    import keras
    from keras.src.random import seed_generator

    found = variables(0)
    seed_generator.python_random = random
    keras.utils.set_random_seed(7)

    for one, other in zip(found, build_head(5, HEAD, 3).variables, strict=True):
        np.testing.assert_array_equal(one, other.numpy())
