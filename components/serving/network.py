"""Runs a version's TFLite file, without TensorFlow."""

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.runtime.streams import silence_stream

PROBABILITIES = "probabilities"
OUTPUTS = (PROBABILITIES, "features", "maps")
"""Names of the outputs of `server.tflite`; every other file has only the first, under any name."""
LOADING = threading.Lock()
"""Held while standard error is silent: two threads that silence it at once would leave it so."""


@dataclass(frozen=True)
class Outputs:
    """What the network gives for one image.

    Attributes:
        probabilities: float64 (outputs,), which sum to one; one sigmoid becomes the two outputs.
        features: float32 (width,), pooled; None if the file does not give them.
        maps: float32 (height, width, channels), what is pooled; None if the file does not give them.
    """

    probabilities: NDArray[np.float64]
    features: NDArray[np.float32] | None
    maps: NDArray[np.float32] | None


class Network:
    """A TFLite file, ready to run. Not for several threads at once: each thread needs its own.

    Args:
        content: the file.
        threads: that one image is computed on.

    Raises:
        ValueError: the bytes are not a TFLite file.
    """

    def __init__(self, content: bytes, threads: int = 1) -> None:
        from ai_edge_litert.interpreter import Interpreter

        with LOADING, silence_stream(2):  # it tells each process that it uses XNNPACK
            self._engine = Interpreter(model_content=content, num_threads=threads)
            self._engine.allocate_tensors()
        self._content, self._threads = content, threads
        self._source = self._engine.get_input_details()[0]
        self._targets = self._find_targets()

    def for_another_thread(self) -> "Network":
        """A network of the same file, which both only read."""
        return Network(self._content, self._threads)

    def _find_targets(self) -> dict[str, int]:
        """Tensor of each output by name."""
        details = self._engine.get_output_details()
        if len(details) == 1:
            return {PROBABILITIES: details[0]["index"]}
        (signature,) = self._engine.get_signature_list()
        runner = self._engine.get_signature_runner(signature)
        return {name: detail["index"] for name, detail in runner.get_output_details().items()}

    @property
    def size(self) -> int:
        """Side of the input in pixels."""
        return int(self._source["shape"][1])

    def run(self, pixels: NDArray[Any]) -> Outputs:
        """Run one image: shape (size, size, 3), values from 0 to 255."""
        self._engine.set_tensor(self._source["index"], np.ascontiguousarray(pixels, dtype=np.float32)[None])
        self._engine.invoke()
        found = {name: self._engine.get_tensor(index)[0] for name, index in self._targets.items()}
        return Outputs(_of_every_output(found[PROBABILITIES]), found.get("features"), found.get("maps"))


def _of_every_output(found: NDArray[np.float32]) -> NDArray[np.float64]:
    probabilities = found.astype(np.float64)
    return np.array([1 - probabilities[0], probabilities[0]]) if len(probabilities) == 1 else probabilities
