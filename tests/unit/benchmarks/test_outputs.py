import json

import pytest

from benchmarks import outputs


@pytest.fixture
def checkouts(tmp_path):
    for name, latency, timestamp in (("before", 1.0, "20261126T201602.956084Z"), ("after", 2.0, "20261127T080000.000001Z")):
        root = tmp_path / name
        (root / "build/scans" / timestamp).mkdir(parents=True)
        (root / "reports/validation").mkdir(parents=True)
        (root / "build/model.keras").write_bytes(b"weights")
        (root / "build/scans" / timestamp / "a.npz").write_text(timestamp)
        (root / "reports/validation/index.html").write_text(f"made {timestamp}: 18 of 18 met")
        (root / "reports/export.json").write_text(json.dumps({"int8": {"bytes": 7, "median_latency_ms": latency}}))
    return tmp_path / "before", tmp_path / "after"


def test_compared_ignores_timestamps_and_latencies(checkouts):
    names, different = outputs.compared(*checkouts)
    assert names == ["build/model.keras", "reports/export.json", "reports/validation/index.html"]
    assert different == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("build/model.keras", "other weights"),
        ("build/new.parquet", "additional file"),
        ("reports/export.json", '{"int8": {"bytes": 8, "median_latency_ms": 1.0}}'),
        ("reports/export.json", "broken"),
        ("reports/validation/index.html", "made 20261127T080000.000001Z: 17 of 18 met"),
    ],
)
def test_compared_names_other_differences(checkouts, name, text):
    (checkouts[1] / name).write_text(text)
    assert outputs.compared(*checkouts)[1] == [name]


def test_compared_names_missing_file(checkouts):
    (checkouts[1] / "build/model.keras").unlink()
    assert outputs.compared(*checkouts)[1] == ["build/model.keras"]
