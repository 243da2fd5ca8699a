import numpy as np

from benchmarks import int8


def row(seed: int, file: str, same_top1: float, balanced_accuracy: float = 0.6, speed: float = 2.0) -> dict:
    split = {"same_top1": same_top1, "balanced_accuracy": balanced_accuracy}
    values = {"bytes": 2_760_000, "images": 576, "keras": {"validation": 0.61, "test": 0.6}, "median_ms": 3.5, "speed": speed}
    return {"seed": seed, "file": file, "validation": split, "test": split, **values}


def test_report_has_a_line_per_file_and_judges_the_worst_seed():
    exported = [row(1, int8.EXPORTED_INT8, 0.97), row(2, int8.EXPORTED_INT8, 0.949, balanced_accuracy=0.609)]
    text = int8.report([row(1, "float16", 1.0), *exported])
    lines = {cells[1].strip(): [cell.strip() for cell in cells[2:-1]] for line in text.splitlines() if len(cells := line.split("|")) > 2}
    assert lines["float16"][:3] == ["1.000", "1.000", "0.600"]
    assert lines[int8.EXPORTED_INT8][1] == "0.960"
    assert lines["agreement, test"] == ["0.949", ">= 0.95", "MISSED"]
    assert lines["difference of balanced accuracy to Keras"] == ["0.009", "<= 0.01", "met"]
    assert lines["MB"] == ["2.76", "<= 3", "met"]
    assert lines["speed, float16 is 1"] == ["2.00", ">= 1.7", "met"]


def test_report_without_the_exported_file_judges_nothing():
    assert "target" not in int8.report([row(1, "float16", 1.0)])


def test_compare_counts_images_with_the_class_of_keras():
    expected = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]], dtype=np.float32)
    images = int8.Images(np.arange(4, dtype=np.uint8)[:, None, None, None], np.array([0, 1, 0, 1]), expected)

    def infer(pixels: np.ndarray) -> np.ndarray:
        number = int(pixels[0, 0, 0, 0])
        return expected[number] if number else expected[number][::-1]

    found = int8.compare(infer, images)
    assert found["same_top1"] == 0.75
    assert found["balanced_accuracy"] == 0.75
    assert np.isclose(found["largest_probability_difference"], 0.8)
