"""A registered version's predictor: the bytes of an image in, the answer out, with numpy, Pillow and ai-edge-litert alone.

A version has a copy of this module and of all it imports, made when it was registered (packaging.py): it decodes images with the code
that it was trained with.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.core import decision
from components.imaging import images
from components.imaging.symmetries import symmetric_views
from components.serving import answers
from components.serving.answers import REASONS, Answer, Contract, Spread
from components.serving.contents import Contents
from components.serving.network import Network

CANDIDATE = "candidate/candidate.json"
NETWORKS = ("export/server.tflite", "export/model_float32.tflite")
"""The files that a version predicts with, the first that it has; the second gives neither features nor maps."""


@dataclass(frozen=True)
class Look:
    """What the network sees in one image.

    Attributes:
        views: float64 (views, outputs), probabilities of each view.
        features: float32 (width,), of the image as it is; None if the version has no `server.tflite`.
        reasons: why the version would abstain from it, other than that it is too uncertain.
    """

    views: NDArray[np.float64]
    features: NDArray[np.float32] | None
    reasons: tuple[str, ...] = ()


class Predictor:
    """Answers about images. Not for several threads at once: each thread needs its own.

    Attributes:
        contract: what the version promises.
    """

    def __init__(self, contract: Contract, network: Network, resolution: int | None) -> None:
        self.contract = contract
        self._network = network
        self._resolution = resolution

    @classmethod
    def of_folder(cls, folder: Path, threads: int = 1) -> "Predictor":
        """Load a version from the folder of its artifacts: sha256.json, candidate/, export/ and, if it has one, index/.

        Args:
            folder: the folder.
            threads: that one image is computed on.

        Raises:
            LesionflowError: a file is missing, or is not as it was registered.
        """
        contents = Contents.of_folder(folder)
        candidate = json.loads(contents.read(CANDIDATE))
        chosen = next((name for name in NETWORKS if name in contents), NETWORKS[-1])
        return cls(Contract.of_candidate(candidate), Network(contents.read(chosen), threads), candidate.get("resolution"))

    def predict(self, content: bytes) -> Answer:
        """Answer about an image.

        Args:
            content: the bytes of a JPEG or PNG.

        Raises:
            UnreadableImageError: they are not; the message gives the reason.
        """
        return self.predict_lesion([content])

    def predict_lesion(self, contents: Sequence[bytes]) -> Answer:
        """Answer about one lesion from one or more images of it: the mean of their probabilities.

        Args:
            contents: the bytes of each image.

        Raises:
            UnreadableImageError: one of them is not a readable JPEG or PNG.
            ValueError: there are no images.
        """
        if not contents:
            raise ValueError("a lesion needs one or more images")
        looks = [self._look(content) for content in contents]
        means = np.stack([look.views.mean(axis=0) for look in looks])
        mean = means.mean(axis=0)
        named = decision.named_outputs(mean[None], self.contract.decision_offsets)[0]
        found = answers.answer(self.contract, self.contract.outputs[named], dict(zip(self.contract.outputs, mean.tolist(), strict=True)))
        reasons = {*found.abstained, *(reason for look in looks for reason in look.reasons)}
        return replace(
            found,
            abstained=tuple(reason for reason in REASONS if reason in reasons),
            view_spread=_widest([answers.spread(self.contract, look.views) for look in looks]),
            picture_spread=answers.spread(self.contract, means) if len(looks) > 1 else None,
            pictures=len(looks),
        )

    def _look(self, content: bytes) -> Look:
        pixels = images.load_pixels(content, self._network.size, self._resolution)
        outputs = [self._network.run(view) for view in symmetric_views(pixels, self.contract.views)]
        return Look(np.stack([found.probabilities for found in outputs]), outputs[0].features)


def _widest(spreads: Sequence[Spread]) -> Spread:
    """Of each range the widest."""
    outputs = {name: max((found.outputs[name] for found in spreads), key=_width) for name in spreads[0].outputs}
    malignant = [found.malignant for found in spreads if found.malignant is not None]
    return Spread(outputs, max(malignant, key=_width, default=None))


def _width(bounds: tuple[float, float]) -> float:
    return bounds[1] - bounds[0]
