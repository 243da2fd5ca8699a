import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from components.exporting import rounding

FILTERS = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=25),
    elements=st.one_of(st.just(0.0), st.floats(-4, 4, width=32, allow_subnormal=False)).filter(lambda tap: tap == 0 or abs(tap) > 1e-6),
)
TOLERANCE = 1e-6


@given(filters=FILTERS)
def test_sums_change_by_at_most_half_a_step(filters):
    steps = rounding.step_sizes(filters)
    change = (rounding.round_keeping_sums(filters) - filters).sum(axis=1, keepdims=True)
    assert (np.abs(change) <= steps * (0.5 + TOLERANCE)).all()


@given(filters=FILTERS)
def test_taps_change_by_at_most_one_step_and_stay_on_the_grid(filters):
    steps = rounding.step_sizes(filters)
    rounded = rounding.round_keeping_sums(filters)
    assert (np.abs(rounded - filters) <= steps * (1 + TOLERANCE)).all()
    levels = rounded / steps
    assert np.abs(levels - np.rint(levels)).max() < TOLERANCE
    assert np.abs(levels).max() <= rounding.LEVELS + TOLERANCE


@given(filters=FILTERS)
@pytest.mark.parametrize("rounded_by", [rounding.round_keeping_sums, rounding.round_to_nearest])
def test_values_on_the_grid_stay(filters, rounded_by):
    rounded = rounded_by(filters).astype(np.float32)
    assert np.allclose(rounded_by(rounded), rounded, rtol=1e-5, atol=0)


def test_taps_with_the_largest_error_move():
    filters = np.array([[127, -60.4, -60.3, -6.3, 0.2]])  # the sum is 0.2; rounded to the nearest, 1
    assert rounding.round_keeping_sums(filters).tolist() == [[127, -61, -60, -6, 0]]
    assert rounding.round_to_nearest(filters).tolist() == [[127, -60, -60, -6, 0]]


def test_filter_of_zeros_stays():
    assert rounding.round_keeping_sums(np.zeros((2, 9))).tolist() == np.zeros((2, 9)).tolist()


def test_depthwise_filters_are_in_the_order_of_the_outputs():
    kernel = np.arange(2 * 3 * 4 * 2).reshape(2, 3, 4, 2)
    filters = rounding.depthwise_filters(kernel)
    assert filters.shape == (8, 6)
    assert filters[3].tolist() == kernel[:, :, 1, 1].reshape(-1).tolist()
    assert (filters.T.reshape(kernel.shape) == kernel).all()


def test_convolution_filters_are_in_the_order_of_the_outputs():
    kernel = np.arange(2 * 2 * 3 * 5).reshape(2, 2, 3, 5)
    assert rounding.convolution_filters(kernel)[4].tolist() == kernel[..., 4].reshape(-1).tolist()


def test_output_shift_is_the_change_of_the_output_on_even_input():
    random = np.random.default_rng(0)
    color = np.array([0.2, -1.0, 3.0])
    error = random.normal(size=(3, 3, 3, 4))
    expected = sum(color @ error[row, column] for row in range(3) for column in range(3))
    assert np.allclose(rounding.output_shift(error, color, depthwise=False), expected)
    depthwise = random.normal(size=(3, 3, 3, 2))
    expected = [color[channel] * depthwise[:, :, channel, number].sum() for channel in range(3) for number in range(2)]
    assert np.allclose(rounding.output_shift(depthwise, color, depthwise=True), expected)
