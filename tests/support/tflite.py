"""TFLite files made without TensorFlow, and a reader of their metadata that shares no code with what writes them."""

import io
import zipfile
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import number_types
from flatbuffers.table import Table

SIZE = 16


def tiny_network(outputs: int = 9, size: int = SIZE, seed: int = 0) -> bytes:
    """A network from the pixels (1, size, size, 3) to probabilities (1, outputs) that depend on every pixel: one layer and a softmax."""
    random, model = np.random.default_rng(seed), schema.ModelT()
    weights = random.normal(0, 2 / (255 * size), (outputs, size * size * 3)).astype(np.float32)
    constants = [weights, random.normal(0, 0.1, outputs).astype(np.float32)]
    model.version, model.description = 3, "tiny"
    model.buffers = [_buffer(None), *map(_buffer, constants)]
    model.operatorCodes = [_code(schema.BuiltinOperator.FULLY_CONNECTED), _code(schema.BuiltinOperator.SOFTMAX)]
    graph = schema.SubGraphT()
    shapes = [(1, size, size, 3), *(constant.shape for constant in constants), (1, outputs), (1, outputs)]
    graph.tensors = [_tensor(shape, name, buffer) for shape, name, buffer in zip(shapes, "pwblo", (0, 1, 2, 0, 0), strict=True)]
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    graph.inputs, graph.outputs = [0], [4]
    graph.operators = [
        _operator(0, [0, 1, 2], [3], schema.BuiltinOptions.FullyConnectedOptions, schema.FullyConnectedOptionsT()),
        _operator(1, [3], [4], schema.BuiltinOptions.SoftmaxOptions, softmax),
    ]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _buffer(values: Any) -> Any:
    buffer = schema.BufferT()
    buffer.data = None if values is None else np.frombuffer(values.tobytes(), dtype=np.uint8)
    return buffer


def _code(operator: int) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = operator
    code.version = 1
    return code


def _tensor(shape: tuple[int, ...], name: str, buffer: int) -> Any:
    tensor = schema.TensorT()
    tensor.shape, tensor.name, tensor.buffer, tensor.type = list(shape), name, buffer, schema.TensorType.FLOAT32
    return tensor


def _operator(code: int, inputs: list[int], outputs: list[int], kind: int, options: Any) -> Any:
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, inputs, outputs
    operator.builtinOptionsType, operator.builtinOptions = kind, options
    return operator


class Reader:
    """A table of metadata_schema.fbs, read by the numbers of its slots."""

    def __init__(self, content: bytes, position: int) -> None:
        self._table = Table(bytearray(content), position)

    @classmethod
    def of_root(cls, content: bytes) -> "Reader":
        return cls(content, int.from_bytes(content[:4], "little"))

    def _at(self, slot: int) -> int:
        offset = self._table.Offset(4 + 2 * slot)
        return self._table.Pos + offset if offset else 0

    def text(self, slot: int) -> str | None:
        place = self._at(slot)
        return self._table.String(place).decode() if place else None

    def number(self, slot: int, kind: Any = number_types.Uint8Flags) -> int:
        place = self._at(slot)
        return int(self._table.Get(kind, place)) if place else 0

    def table(self, slot: int) -> "Reader":
        return Reader(self._table.Bytes, self._table.Indirect(self._at(slot)))

    def tables(self, slot: int) -> list["Reader"]:
        offset = self._table.Offset(4 + 2 * slot)
        if not offset:
            return []
        start = self._table.Vector(offset)
        return [Reader(self._table.Bytes, self._table.Indirect(start + 4 * number)) for number in range(self._table.VectorLen(offset))]

    def floats(self, slot: int) -> list[float]:
        return self._table.GetVectorAsNumpy(number_types.Float32Flags, self._table.Offset(4 + 2 * slot)).tolist()


def read_metadata(content: bytes) -> Reader:
    """The metadata of a TFLite file."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    (number,) = [entry.buffer for entry in model.metadata if entry.name in (b"TFLITE_METADATA", "TFLITE_METADATA")]
    buffer = bytes(model.buffers[number].data)
    assert buffer[4:8] == b"M001"
    return Reader.of_root(buffer)


def packed_files(content: bytes) -> dict[str, bytes]:
    """The files of the archive behind a TFLite file."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def run(content: bytes, pixels: np.ndarray) -> np.ndarray:
    """The output of a TFLite file for one image, (size, size, 3)."""
    from ai_edge_litert.interpreter import Interpreter

    engine = Interpreter(model_content=content)
    engine.allocate_tensors()
    engine.set_tensor(engine.get_input_details()[0]["index"], pixels[None].astype(np.float32))
    engine.invoke()
    return engine.get_tensor(engine.get_output_details()[0]["index"])[0].copy()
