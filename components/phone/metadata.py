"""Writes TFLite metadata: what MediaPipe Tasks and ML Kit must know of a classifier before they load it.

The metadata are a FlatBuffer within the file (metadata_schema.fbs of google-ai-edge/mediapipe), and the files that it names are a zip
archive behind it. No library that writes them can be installed here: tflite-support ended with Python 3.11, and MediaPipe 1.2 cannot import
its own writer.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from numpy.typing import NDArray

from components.core.errors import LesionflowError

IDENTIFIER = b"M001"
MODEL_IDENTIFIER = b"TFL3"
BUFFER = "TFLITE_METADATA"
PARSER_VERSION = "1.0.0"
"""Oldest version of the schema that has every field written here."""
ALIGNMENT = 16
"""TFLite maps tensors from the file at multiples of this many bytes."""
EARLIEST = (1980, 1, 1, 0, 0, 0)
"""Date of every file in the archive, the earliest of the format: equal content gives equal bytes."""
UNIX = 3

MODEL = ("name", "description", "version", "subgraph_metadata", "author", "license", "associated_files", "min_parser_version")
SUBGRAPH = ("name", "description", "input_tensor_metadata", "output_tensor_metadata")
TENSOR = ("name", "description", "dimension_names", "content", "process_units", "stats", "associated_files")
CONTENT = ("content_properties_type", "content_properties")
FEATURE: tuple[str, ...] = ()
IMAGE = ("color_space", "default_size")
IMAGE_SIZE = ("width", "height")
PROCESS_UNIT = ("options_type", "options")
NORMALIZATION = ("mean", "std")
STATS = ("max", "min")
FILE = ("name", "description", "type", "locale")
"""Fields of the schema's tables, in the order of their slots, as far as they are written here."""
FEATURE_PROPERTIES, IMAGE_PROPERTIES = np.uint8(1), np.uint8(2)
NORMALIZATION_OPTIONS = np.uint8(1)
RGB = np.int8(1)
TENSOR_AXIS_LABELS = np.int8(2)
"""Values of the schema's unions and enumerations."""


@dataclass(frozen=True)
class Labels:
    """A file with one label a line, in the order of the outputs. `locale`: language of names for people; None for ids."""

    name: str
    lines: tuple[str, ...]
    locale: str | None = None

    @property
    def content(self) -> bytes:
        """The file."""
        return "".join(f"{line}\n" for line in self.lines).encode()


@dataclass(frozen=True)
class Classifier:
    """What the metadata say about a classifier of images; its input is RGB, float32 from 0 to 255, and `size` pixels wide and high."""

    name: str
    description: str
    version: str
    size: int
    input: str
    output: str
    labels: tuple[Labels, ...]


@dataclass(frozen=True)
class Table:
    """A table of a FlatBuffer: the names of its slots, and the values of some."""

    fields: Sequence[str]
    values: Mapping[str, Any]


def with_metadata(network: bytes, classifier: Classifier, files: Mapping[str, bytes]) -> bytes:
    """A TFLite file with metadata, and an archive of the labels and `files`. Equal arguments give equal bytes.

    Args:
        network: a TFLite file with one input and one output.
        classifier: what the metadata say.
        files: further files of the archive, by name.

    Raises:
        LesionflowError: the network does not give one value for each label.
    """
    packed = {labels.name: labels.content for labels in classifier.labels} | dict(files)
    return _with_archive(_with_buffer(network, metadata(classifier), len(classifier.labels[0].lines)), packed)


def metadata(classifier: Classifier) -> bytes:
    """The FlatBuffer of the metadata."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(_written(builder, _model(classifier)), IDENTIFIER)
    return bytes(builder.Output())


def _model(classifier: Classifier) -> Table:
    subgraph = Table(SUBGRAPH, {"input_tensor_metadata": [_input(classifier)], "output_tensor_metadata": [_output(classifier)]})
    about = {"name": classifier.name, "description": classifier.description, "version": classifier.version}
    return Table(MODEL, {**about, "subgraph_metadata": [subgraph], "min_parser_version": PARSER_VERSION})


def _input(classifier: Classifier) -> Table:
    size = Table(IMAGE_SIZE, {"width": np.uint32(classifier.size), "height": np.uint32(classifier.size)})
    image = Table(IMAGE, {"color_space": RGB, "default_size": size})
    as_it_is = Table(NORMALIZATION, {"mean": _floats(0), "std": _floats(1)})
    return Table(
        TENSOR,
        {
            "name": "image",
            "description": classifier.input,
            "content": Table(CONTENT, {"content_properties_type": IMAGE_PROPERTIES, "content_properties": image}),
            "process_units": [Table(PROCESS_UNIT, {"options_type": NORMALIZATION_OPTIONS, "options": as_it_is})],
            "stats": Table(STATS, {"max": _floats(255), "min": _floats(0)}),
        },
    )


def _output(classifier: Classifier) -> Table:
    feature = Table(FEATURE, {})
    return Table(
        TENSOR,
        {
            "name": "probability",
            "description": classifier.output,
            "content": Table(CONTENT, {"content_properties_type": FEATURE_PROPERTIES, "content_properties": feature}),
            "stats": Table(STATS, {"max": _floats(1), "min": _floats(0)}),
            "associated_files": [_label_file(labels) for labels in classifier.labels],
        },
    )


def _label_file(labels: Labels) -> Table:
    language = {"locale": labels.locale} if labels.locale else {}
    described = "names for people" if labels.locale else "ids"
    return Table(FILE, {"name": labels.name, "description": described, "type": TENSOR_AXIS_LABELS, **language})


def _floats(*values: float) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


def _written(builder: flatbuffers.Builder, value: Any) -> int:
    """Write a string, an array of numbers, a table or a list of tables; return its offset."""
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, np.ndarray):
        return int(builder.CreateNumpyVector(value))
    if isinstance(value, list):
        offsets = [_written(builder, item) for item in value]
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())
    return _written_table(builder, value)


def _written_table(builder: flatbuffers.Builder, table: Table) -> int:
    kinds = {np.int8: builder.PrependInt8Slot, np.uint8: builder.PrependUint8Slot, np.uint32: builder.PrependUint32Slot}
    offsets = {name: _written(builder, value) for name, value in table.values.items() if type(value) not in kinds}
    builder.StartObject(len(table.fields))
    for name, value in table.values.items():
        slot = table.fields.index(name)
        if name in offsets:
            builder.PrependUOffsetTRelativeSlot(slot, offsets[name], 0)
        else:
            kinds[type(value)](slot, int(value), 0)
    return int(builder.EndObject())


class _AlignedBuilder(flatbuffers.Builder):
    """Aligns arrays as TFLite's schema demands, which the classes generated from it do not do in Python."""

    def CreateNumpyVector(self, x: NDArray[Any]) -> int:  # noqa: N802
        self.Prep(ALIGNMENT, x.nbytes)
        return int(super().CreateNumpyVector(x))


def _with_buffer(network: bytes, content: bytes, classes: int) -> bytes:
    """The TFLite file, which gives this number of values, with a buffer of metadata."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(network, 0))
    graph = model.subgraphs[0]
    shapes = [[int(side) for side in graph.tensors[number].shape] for number in graph.outputs]
    if shapes != [[1, classes]]:
        raise LesionflowError(f"a TFLite file has outputs of the shapes {shapes}, and {[[1, classes]]} is needed: a value for each class")
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(content, dtype=np.uint8)
    entry.name, entry.buffer = BUFFER, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    builder = _AlignedBuilder(len(network) + len(content))
    builder.Finish(model.Pack(builder), MODEL_IDENTIFIER)
    return bytes(builder.Output())


def _with_archive(network: bytes, files: Mapping[str, bytes]) -> bytes:
    """The file with a zip archive behind it."""
    stream = io.BytesIO(network)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, EARLIEST)
            entry.create_system, entry.external_attr = UNIX, 0o644 << 16
            archive.writestr(entry, content)
    return stream.getvalue()
