"""Folders of versions as `logged_model` lays them out, with a network that answers in milliseconds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.core.files import write_json
from components.modeling.determinism import seed_generators
from components.serving.contents import FILE, write_digests

OUTPUTS = ("melanoma", "nevus", "keratosis")
SIZE = 16


def tiny_classifier(outputs: int = 3, size: int = SIZE) -> Any:
    """A Keras classifier whose probabilities depend on every pixel, so that each view of an image has others."""
    import keras

    seed_generators(2)
    pixels = keras.Input((size, size, 3), name="pixels")
    maps = keras.layers.Conv2D(6, 5, strides=2, activation="tanh", name="maps")(keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels))
    features = keras.layers.GlobalAveragePooling2D(name="features")(maps)
    logits = keras.layers.Dense(outputs, kernel_initializer=keras.initializers.RandomNormal(stddev=20.0), name="logits")(features)
    found = keras.layers.Activation("sigmoid" if outputs == 1 else "softmax", name="probabilities")(logits)
    return keras.Model(pixels, found)


def as_tflite(classifier: Any, server: bool = False) -> bytes:
    """The classifier as TFLite; `server`: with its features and maps as outputs."""
    import keras

    from components.exporting.tflite import convert_to_tflite

    if server:
        layer = classifier.get_layer("features")
        outputs = {"probabilities": classifier.output, "features": layer.output, "maps": layer.input}
        classifier = keras.Model(classifier.input, outputs)
    return convert_to_tflite(classifier, "float32", lambda: ())


def candidate(outputs: Sequence[str] = OUTPUTS, **changes: Any) -> dict[str, Any]:
    """The content of candidate.json that a predictor reads."""
    return {
        "abstention_threshold": 0.0,
        "class_shares": dict.fromkeys(outputs, 1 / len(outputs)),
        "decision_offsets": [0.0] * len(outputs),
        "image_size": SIZE,
        "label_set": {"name": "x", "outputs": list(outputs), "malignant": [outputs[0]], "critical": outputs[0]},
        "operating_points": {"triage": 0.2},
        "measured_points": {"triage": {"sensitivity": 0.95, "specificity": 0.4}},
        "outputs": list(outputs),
        "resolution": None,
        "set_thresholds": [0.1] * len(outputs),
        "views": 1,
        **changes,
    }


def write_version(folder: Path, content: bytes, name: str = "server.tflite", **changes: Any) -> Path:
    """Write the artifacts of a version with this TFLite file; `changes` of candidate.json. Return the folder."""
    write_json(folder / "candidate/candidate.json", candidate(**changes))
    (folder / "export").mkdir()
    (folder / "export" / name).write_bytes(content)
    write_digests(folder / FILE, {part: folder / part for part in ("candidate", "export")})
    return folder
