"""What a version sees in an image before it answers: whether it is dermoscopic, its features and its probabilities."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from components.core.reports.index_contents import ImageLimits
from components.imaging import images
from components.imaging.model_input import ModelInput
from components.serving.image_checks import why_not_dermoscopic
from components.serving.network import Network


@dataclass(frozen=True)
class Sight:
    """`features`: float32 (width,); `probabilities`: float64 (outputs,), of the image as it is; `fault`: why the image is not dermoscopic,
    or None."""

    features: NDArray[np.float32]
    probabilities: NDArray[np.float64]
    fault: str | None


@dataclass(frozen=True)
class Eye:
    """Looks at images with a network that gives features. `limits`: None if images need not be dermoscopic."""

    network: Network
    model_input: ModelInput
    limits: ImageLimits | None

    def decode(self, content: bytes) -> Image.Image:
        """The image as `at_image` takes it, from the bytes of a JPEG or PNG.

        Raises:
            UnreadableImageError: they are not.
        """
        return images.decode(content, images.required_detail(self.model_input.size, self.model_input.resolution))

    def at_file(self, content: bytes) -> Sight:
        """Look at the bytes of a JPEG or PNG, as `decode`."""
        return self.at_image(self.decode(content))

    def at_image(self, image: Image.Image) -> Sight:
        """Look at a decoded image."""
        outputs = self.network.run(images.fit(image, self.model_input.size, self.model_input.resolution))
        if outputs.features is None:
            raise ValueError("the network gives no features")
        return Sight(outputs.features, outputs.probabilities, why_not_dermoscopic(image, self.limits) if self.limits else None)
