"""A registered version's predictor: the bytes of an image in, the answer out, with numpy, Pillow and ai-edge-litert alone.

A version has a copy of this module and of all it imports, made when it was registered (packaging.py): it decodes images with the code
that it was trained with.
"""

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.core import decision
from components.core.errors import LesionflowError
from components.imaging import images
from components.imaging.symmetries import symmetric_views
from components.serving import activation, answers, neighbours
from components.serving.activation import Head
from components.serving.answers import NOT_DERMOSCOPIC, REASONS, UNLIKE_TRAINING, Answer, Contract, Spread
from components.serving.contents import Contents
from components.serving.image_checks import why_not_dermoscopic
from components.serving.neighbours import Index, Neighbours
from components.serving.network import Network

CANDIDATE = "candidate/candidate.json"
NETWORKS = ("export/server.tflite", "export/model_float32.tflite")
"""The files that a version predicts with, the first that it has; the second gives neither features nor maps."""
INDEX = "index"
"""Folder of the training cases; a version without it has no similar cases."""


@dataclass(frozen=True)
class Look:
    """What the network sees in one image.

    Attributes:
        views: float64 (views, outputs), probabilities of each view.
        features: float32 (width,), of the image as it is; None if the version has no `server.tflite`.
        reasons: why the version would abstain from it, other than that it is too uncertain.
        near: its neighbours in training; None if the version has no index.
    """

    views: NDArray[np.float64]
    features: NDArray[np.float32] | None
    reasons: tuple[str, ...] = ()
    near: Neighbours | None = None


@dataclass(frozen=True)
class Training:
    """What a version keeps of its training: the cases, and the head, which explains outputs."""

    index: Index
    head: Head

    @classmethod
    def of_contents(cls, contents: Contents) -> "Training | None":
        """Read it from a version's artifacts; None if it has none.

        Raises:
            LesionflowError: a file is missing, or is not as it was registered.
        """
        if f"{INDEX}/{neighbours.CONTENTS}" not in contents:
            return None
        index = Index.load(lambda name: contents.read(f"{INDEX}/{name}"))
        return cls(index, Head.of_bytes(contents.read(f"{INDEX}/{activation.FILE}")))


class Predictor:
    """Answers about images. Not for several threads at once: each thread needs its own.

    Attributes:
        contract: what the version promises.
    """

    def __init__(self, contents: Contents, contract: Contract, network: Network, resolution: int | None) -> None:
        self.contract = contract
        self._contents = contents
        self._network = network
        self._resolution = resolution
        self._training = Training.of_contents(contents)

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
        return cls(contents, Contract.of_candidate(candidate), Network(contents.read(chosen), threads), candidate.get("resolution"))

    def for_another_thread(self) -> "Predictor":
        """A predictor that may work at the same time as this one. They share what both only read: the network's file and the index."""
        other = copy.copy(self)
        other._network = self._network.for_another_thread()
        return other

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
        near = self._nearest_cases(looks)
        reasons = {*found.abstained, *(reason for look in looks for reason in look.reasons)}
        return replace(
            found,
            similar=near.similar if near else (),
            neighbour_counts=near.counts if near else {},
            in_training=any(look.near is not None and look.near.in_training for look in looks),
            abstained=tuple(reason for reason in REASONS if reason in reasons),
            view_spread=_widest([answers.spread(self.contract, look.views) for look in looks]),
            picture_spread=answers.spread(self.contract, means) if len(looks) > 1 else None,
            pictures=len(looks),
        )

    def activation_map(self, content: bytes, output: str) -> NDArray[np.float64]:
        """How much each place of an image's centered square adds to the logit of an output, shape (height, width): coarse, and no evidence.

        Args:
            content: the bytes of a JPEG or PNG.
            output: its name.

        Raises:
            UnreadableImageError: they are not; the message gives the reason.
            LesionflowError: the version gives no maps, or has no such output.
        """
        if output not in self.contract.outputs:
            raise LesionflowError(f"{output!r} is not an output of this version. Use one of {', '.join(self.contract.outputs)}.")
        maps = self._network.run(images.load_pixels(content, self._network.size, self._resolution)).maps
        if maps is None or self._training is None:
            raise LesionflowError("this version gives no activation maps: it was registered by an older release.")
        return self._training.head.map_of(maps, self.contract.outputs.index(output)).values

    def thumbnail(self, number: int) -> bytes:
        """The JPEG of a similar case, by the number in `SimilarCase.thumbnail`.

        Raises:
            LesionflowError: the version has no such file, or it is not as it was registered.
        """
        return self._contents.read(f"{INDEX}/{neighbours.thumbnail_name(number)}")

    def _look(self, content: bytes) -> Look:
        image = images.decode(content, images.required_detail(self._network.size, self._resolution))
        pixels = images.fit(image, self._network.size, self._resolution)
        outputs = [self._network.run(view) for view in symmetric_views(pixels, self.contract.views)]
        views, features = np.stack([found.probabilities for found in outputs]), outputs[0].features
        if features is None or self._training is None:
            return Look(views, features)
        index = self._training.index
        limits, near = index.contents.image_limits, index.search(features)
        found = {
            NOT_DERMOSCOPIC: limits is not None and why_not_dermoscopic(image, limits) is not None,
            UNLIKE_TRAINING: near.unlike_training,
        }
        return Look(views, features, tuple(reason for reason, applies in found.items() if applies), near)

    def _nearest_cases(self, looks: Sequence[Look]) -> Neighbours | None:
        """The cases that are nearest to an image, or to the mean features of several; None if the version has no index."""
        if len(looks) == 1:
            return looks[0].near
        features = [look.features for look in looks if look.features is not None]
        if self._training is None or not features:
            return None
        return self._training.index.search(neighbours.unit_length(np.stack(features)).mean(axis=0))


def _widest(spreads: Sequence[Spread]) -> Spread:
    """Of each range the widest."""
    outputs = {name: max((found.outputs[name] for found in spreads), key=_width) for name in spreads[0].outputs}
    malignant = [found.malignant for found in spreads if found.malignant is not None]
    return Spread(outputs, max(malignant, key=_width, default=None))


def _width(bounds: tuple[float, float]) -> float:
    return bounds[1] - bounds[0]
