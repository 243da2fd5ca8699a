"""Class activation maps: how much each place of an image adds to the logit of an output.

The head sees the mean of the maps over all places. So with one linear layer the map is exact: its mean and the layer's bias are the logit
(Zhou et al. 2016). With hidden layers the logit is linear in the features around an image, and the gradient takes the place of the weights
(HiResCAM, Draelos and Carin 2020); the mean of that map and `offset` are the logit, too. The temperature is not in it.
"""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FILE = "head.npz"
"""File of an index with the head's weights."""


@dataclass(frozen=True)
class ActivationMap:
    """`values`: float64 (height, width), what each place adds to the logit times the number of places; `offset`: what no place adds;
    `logit`: their mean plus the offset."""

    values: NDArray[np.float64]
    offset: float

    @property
    def logit(self) -> float:
        """The output's logit."""
        return float(self.values.mean() + self.offset)


@dataclass(frozen=True)
class Head:
    """The head of a classifier: dense layers with ReLU between them.

    `kernels`: of each layer (inputs, units); `biases`: of each layer (units,).
    """

    kernels: tuple[NDArray[np.floating], ...]
    biases: tuple[NDArray[np.floating], ...]

    @classmethod
    def of_bytes(cls, content: bytes) -> "Head":
        """Read what `to_bytes` wrote."""
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            layers = range(len(arrays.files) // 2)
            return cls(tuple(arrays[f"kernel_{number}"] for number in layers), tuple(arrays[f"bias_{number}"] for number in layers))

    def to_bytes(self) -> bytes:
        """A NumPy archive of the weights; equal weights give equal bytes."""
        arrays: dict[str, Any] = {f"kernel_{number}": kernel for number, kernel in enumerate(self.kernels)}
        arrays |= {f"bias_{number}": bias for number, bias in enumerate(self.biases)}
        stream = io.BytesIO()
        np.savez(stream, **arrays)
        return stream.getvalue()

    def map_of(self, maps: NDArray[np.floating], output: int) -> ActivationMap:
        """The activation map of an output.

        Args:
            maps: float (height, width, channels), what is averaged to the head's features.
            output: its position. With one logit, that is the second of two outputs, and the first has the opposite one.
        """
        features = maps.mean(axis=(0, 1), dtype=np.float64)
        logits, gradients = self._logits_and_gradients(features)
        if len(logits) == 1:
            logits, gradients = np.array([-logits[0], logits[0]]), np.stack([-gradients[:, 0], gradients[:, 0]], axis=1)
        gradient = gradients[:, output]
        return ActivationMap(maps.astype(np.float64) @ gradient, float(logits[output] - features @ gradient))

    def _logits_and_gradients(self, features: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The logits for features, shape (width,), and their gradients by them, shape (width, logits)."""
        values, gradients = features, np.eye(len(features))
        for number, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            if number:
                active = values > 0
                values, gradients = np.where(active, values, 0), gradients * active
            values, gradients = values @ kernel + bias, gradients @ kernel
        return values, gradients
