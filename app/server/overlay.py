"""An activation map as a layer over the image that it explains."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def overlay(values: NDArray[np.floating]) -> str:
    """The map as a PNG in a data: URL: the more a place adds to the score, the less transparent it is.

    Args:
        values: float (height, width).
    """
    raised = np.maximum(values, 0)
    shares = raised / raised.max() if raised.max() > 0 else raised
    opacity = Image.fromarray(np.rint(shares * 255).astype(np.uint8)).resize((192, 192), Image.Resampling.BICUBIC)
    layer = Image.new("RGB", opacity.size, (0, 190, 255))
    layer.putalpha(opacity)
    stream = io.BytesIO()
    layer.save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
