"""The process that reads findings and writes decisions."""

import asyncio
import base64
import hashlib
import io
import json
from contextlib import chdir
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from app.server.errors import Refusal
from app.server.review import desk
from app.server.review.assistant import Assistant
from components.core import spreadsheets
from components.data_quality import decisions
from tests.support.images import encoded, noise

FILES = ("nevus/a.png", "melanoma/=b.png")


@pytest.fixture
def dataset(tmp_path: Path):
    """A folder with a finding about two files, which is the current one."""
    rows = []
    for number, name in enumerate(FILES):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(encoded(noise(number)))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        rows.append(("label_conflict", 3, 1.0, name, "quarantine", "", "two classes", digest, path.parent.name))
    columns = ["kind", "number", "rank", "path", "then", "left_out", "says", "sha256", "diagnosis"]
    (tmp_path / "build").mkdir()
    spreadsheets.write(pd.DataFrame(rows, columns=columns), tmp_path / "build/findings.csv")
    with chdir(tmp_path):
        yield tmp_path


def ask(call: str, **arguments: object) -> dict:
    return desk.answer(json.dumps({"call": call, **arguments}))


def test_findings_pictures_and_decisions(dataset):
    found = ask("findings", kind="no such kind", page=1)["result"]
    assert (found["kinds"], found["kind"], found["pages"]) == ({"label_conflict": 1}, "label_conflict", 1)
    files = found["findings"][0]["files"]
    assert [(file["path"], file["position"], file["decided"]) for file in files] == [(FILES[0], 0, ""), (FILES[1], 1, "")]
    picture = ask("picture", number=3, position=1)["result"]
    assert Image.open(io.BytesIO(base64.b64decode(picture["jpeg"]))).format == "JPEG"
    told = ask("decide", number=3, position=1, sha256=files[1]["sha256"], decision="drop", to="")
    assert told == {"result": "drop"}
    table = decisions.load_decisions(dataset / decisions.DECISIONS)
    assert table[["path", "decision", "note"]].values.tolist() == [[FILES[1], "drop", "label_conflict: two classes"]]


def test_findings_that_changed_are_told_and_nothing_is_written(dataset):
    digest = ask("findings", kind="", page=1)["result"]["findings"][0]["files"][0]["sha256"]
    for changed in ({"sha256": "0" * 64}, {"number": 4}, {"position": 2}, {"decision": "delete"}):
        given = {"number": 3, "position": 0, "sha256": digest, "decision": "keep", "to": ""} | changed
        assert "error" in ask("decide", **given), changed
    assert not (dataset / decisions.DECISIONS).exists()
    (dataset / "build/findings.csv").unlink()
    assert "dvc repro" in ask("findings", kind="", page=1)["error"]


@pytest.mark.slow
@pytest.mark.usefixtures("dataset")
def test_process_that_ended_is_started_again_and_ends_with_its_input():
    async def script():
        assistant = Assistant()
        first = await assistant.ask("findings", kind="", page=1)
        assistant._process.kill()
        await assistant._process.wait()
        assert await assistant.ask("findings", kind="", page=1) == first
        with pytest.raises(Refusal, match="have changed"):
            await assistant.ask("picture", number=9, position=0)
        assistant._process.stdin.close()
        assert await asyncio.wait_for(assistant._process.wait(), 20) == 0

    asyncio.run(script())
