import threading
import time
from itertools import count, islice
from pathlib import Path

import pytest

from app.models.image_files import FoundFile
from app.models.predict import MOST_PICTURES, answer_files, answer_lesion, read_pictures
from app.models.prediction_rows import RowForm
from components.core.errors import LesionflowError, UnreadableImageError
from components.runtime.parallel import AHEAD
from components.serving.answers import Contract, answer


class Version:
    """A version that answers with the length of a file, and notes which thread used which predictor."""

    rows, threads = RowForm("lesions", "1", Contract()), 4

    def __init__(self):
        self.used = set()

    def predictor(self):
        version = self

        class Predictor:
            def predict(self, content):
                return self.predict_lesion([content])

            def predict_lesion(self, contents):
                version.used.add((threading.get_ident(), id(self)))
                if b"bad" in contents:
                    raise UnreadableImageError("not an image")
                time.sleep(0.001 * (len(contents[0]) % 7))
                return answer(Contract(), "nevus", {"nevus": float(sum(map(len, contents)))})

        predictor = Predictor()
        self.kept = [*getattr(self, "kept", []), predictor]  # so that no id is used twice
        return predictor


def files(folder: Path, number: int) -> list[FoundFile]:
    found = []
    for index in range(number):
        path = folder / f"{index:03}"
        path.write_bytes(b"bad" if index == 5 else b"x" * index)
        found.append(FoundFile(path))
    return found


def test_rows_are_in_order_of_files_and_each_thread_has_its_own_predictor(tmp_path):
    version = Version()
    rows = list(answer_files(version, files(tmp_path, 40), 1))
    assert [row.image for row in rows] == [str(tmp_path / f"{index:03}") for index in range(40)]
    assert [row.answer.probabilities["nevus"] for row in rows if row.answer] == [index for index in range(40) if index != 5]
    assert rows[5].error == "not an image"
    threads, predictors = zip(*version.used, strict=True)
    assert len(version.used) == len(set(threads)) == len(set(predictors)) <= version.threads


def test_few_files_are_read_ahead(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    taken = count()
    rows = answer_files(Version(), (FoundFile(tmp_path / "a") for _ in iter(lambda: next(taken), -1)), 1)
    assert len(list(islice(rows, 3))) == 3
    assert next(taken) <= AHEAD + 4
    rows.close()


def test_known_problem_of_file_is_its_row(tmp_path):
    (row,) = answer_files(Version(), [FoundFile(tmp_path, "permission denied")], 1)
    assert (row.answer, row.error) == (None, "permission denied")


def test_lesion_is_answered_from_readable_pictures(tmp_path):
    found = [FoundFile(tmp_path / name) for name in ("a", "b", "c", "gone")]
    for file, content in zip(found, (b"x", b"bad", b"xyz"), strict=False):
        file.path.write_bytes(content)
    *unread, row = answer_lesion(Version(), read_pictures(found, 1))
    assert {Path(one.image).name: one.error for one in unread} == {"gone": "no such file or directory", "b": "not an image"}
    assert (row.image, row.answer.probabilities["nevus"]) == (f"{tmp_path / 'a'}, {tmp_path / 'c'}", 4)


def test_lesion_without_readable_picture_has_no_answer(tmp_path):
    rows = answer_lesion(Version(), read_pictures([FoundFile(tmp_path / "a"), FoundFile(tmp_path / "b")], 1))
    assert [row.answer for row in rows] == [None, None]


def test_pictures_that_are_no_lesion_are_refused(tmp_path):
    found = files(tmp_path, MOST_PICTURES + 1)
    (tmp_path / "same").write_bytes(b"x" * 7)
    for pictures, said in (
        (found[:1], "two or more"),
        (found, f"more than {MOST_PICTURES}"),
        ([found[7], FoundFile(tmp_path / "same")], "same picture"),
    ):
        with pytest.raises(LesionflowError, match=said):
            read_pictures(pictures, 1)
