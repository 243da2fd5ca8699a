"""Rounds kernels to the symmetric int8 grid of TFLite, one step per filter, and measures what the rounding adds to a layer's output.

A filter of a depthwise convolution has few taps, 9 or 25, which often cancel: on evenly colored skin an edge filter answers with the
sum of its taps times the color. Rounded to the nearest, its taps gain up to half a step each, so the filter answers where it should not.
"""

import numpy as np
from numpy.typing import NDArray

LEVELS = 127
"""Largest value of the symmetric int8 grid."""


def step_sizes(filters: NDArray[np.floating]) -> NDArray[np.float64]:
    """Distance between neighboring grid values of each filter: its largest absolute tap is the grid's largest value.

    Args:
        filters: shape (filters, taps).

    Returns:
        Shape (filters, 1); 1 for a filter of zeros.
    """
    largest = np.abs(filters.astype(np.float64)).max(axis=1, keepdims=True)
    return np.where(largest > 0, largest / LEVELS, 1.0)


def round_to_nearest(filters: NDArray[np.floating]) -> NDArray[np.float64]:
    """Round each tap of the filters, shape (filters, taps), to the nearest grid value."""
    steps = step_sizes(filters)
    return np.rint(filters / steps) * steps


def round_keeping_sums(filters: NDArray[np.floating]) -> NDArray[np.float64]:
    """Round the taps of each filter to the grid so that their sum changes by at most half a step.

    Each tap is rounded to the nearest grid value; then as many taps as the sum lost in steps are moved by one step, those first whose
    rounding error is largest in that direction. No tap changes by more than one step.

    Args:
        filters: shape (filters, taps).
    """
    steps = step_sizes(filters)
    exact = filters / steps
    nearest = np.rint(exact)
    error = exact - nearest
    lost = np.rint(error.sum(axis=1, keepdims=True))
    direction = np.sign(lost)
    order = np.argsort(-direction * error, axis=1, kind="stable")
    rank = np.argsort(order, axis=1, kind="stable")
    return (nearest + direction * (rank < np.abs(lost))) * steps


def depthwise_filters(kernel: NDArray[np.floating]) -> NDArray[np.floating]:
    """The filters (channels * multiplier, height * width) of a depthwise kernel (height, width, channels, multiplier)."""
    height, width, channels, multiplier = kernel.shape
    return kernel.reshape(height * width, channels * multiplier).T


def convolution_filters(kernel: NDArray[np.floating]) -> NDArray[np.floating]:
    """The filters (outputs, other axes) of a kernel whose last axis is that of the outputs: of a convolution or a dense layer."""
    return kernel.reshape(-1, kernel.shape[-1]).T


def output_shift(error: NDArray[np.floating], mean_input: NDArray[np.floating], depthwise: bool) -> NDArray[np.float64]:
    """What an error of the kernel adds to the layer's output on average, which its bias can take back (Nagel et al. 2019, section 4.2).

    Zeros that pad the input are left out of account.

    Args:
        error: rounded less exact kernel: (height, width, channels, multiplier) if depthwise, else (height, width, channels, outputs).
        mean_input: mean of the layer's input per channel, shape (channels,).
        depthwise: whether each channel has filters of its own.

    Returns:
        Shape (outputs,), or (channels * multiplier,) if depthwise.
    """
    summed = error.sum(axis=(0, 1), dtype=np.float64)
    return (summed * mean_input[:, None]).reshape(-1) if depthwise else mean_input @ summed
