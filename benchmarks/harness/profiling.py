"""Profiles TensorFlow's time by kind of operation."""

import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

MOST = 10


def by_kind(run: Callable[[], object]) -> list[dict[str, Any]]:
    """Kinds of operation that took most time in `run`: seconds summed over threads, share of the total, and number of operations.

    Operations run in parallel and some contain others, so the sum may exceed wall time.
    """
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        try:
            run()
        finally:
            tf.profiler.experimental.stop()
        traces = [path.read_bytes() for path in Path(folder).rglob("*.xplane.pb")]
    seconds: defaultdict[str, float] = defaultdict(float)
    counts: defaultdict[str, int] = defaultdict(int)
    for kind, picoseconds in (event for trace in traces for event in _operations(trace)):
        seconds[kind] += picoseconds / 1e12
        counts[kind] += 1
    whole, longest = sum(seconds.values()), sorted(seconds, key=lambda kind: -seconds[kind])[:MOST]
    return [
        {"kind": kind, "seconds": round(seconds[kind], 3), "share": round(seconds[kind] / whole, 4), "operations": counts[kind]}
        for kind in longest
    ]


def _operations(trace: bytes) -> list[tuple[str, int]]:
    """Kind and picoseconds of each operation in a trace, whose events are named "<node>:<kind>#<more>"."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    found: list[tuple[str, int]] = []
    for plane in xplane_pb2.XSpace.FromString(trace).planes:
        kinds = {number: kind_of(metadata.name) for number, metadata in plane.event_metadata.items()}
        events = [(kinds[event.metadata_id], event.duration_ps) for line in plane.lines for event in line.events]
        found += [(kind, duration) for kind, duration in events if kind]
    return found


def kind_of(name: str) -> str | None:
    """Kind of operation in an event's name, or None if the event is not an operation."""
    node, colon, kind = name.partition("#")[0].rpartition(":")
    return kind if colon and node and not node.endswith(":") and kind.isidentifier() else None
