"""Finding a version in MLflow's database without MLflow; tests/mlflow/test_served.py holds it to a real store."""

import json
import sqlite3

import pytest

from components.registry.local_versions import LocalVersion, find_local_version
from components.registry.promotion_record import RUN_TAG

MODEL = "lesions"
TABLES = """
CREATE TABLE model_versions (name TEXT, version INTEGER, status TEXT, storage_location TEXT);
CREATE TABLE registered_model_aliases (name TEXT, alias TEXT, version INTEGER);
CREATE TABLE registered_model_tags (name TEXT, "key" TEXT, value TEXT);
CREATE TABLE params (run_uuid TEXT, "key" TEXT, value TEXT);
"""


@pytest.fixture
def store(tmp_path):
    """A store with versions 1 and 2 in a folder whose name has a space; version 2 is champion, as the record says."""
    root = tmp_path / "own project/mlruns"
    for number in (1, 2):
        folder = root / f"artifacts/m-{number}"
        folder.mkdir(parents=True)
        (folder / "MLmodel").touch()
    connection = sqlite3.connect(root / "mlflow.db")
    connection.executescript(TABLES)
    for number in (1, 2):
        location = (root / f"artifacts/m-{number}").as_uri()
        connection.execute("INSERT INTO model_versions VALUES (?, ?, 'READY', ?)", (MODEL, number, location))
    connection.execute("INSERT INTO registered_model_aliases VALUES (?, 'champion', 2), (?, 'challenger', 1)", (MODEL, MODEL))
    connection.execute("INSERT INTO registered_model_tags VALUES (?, ?, 'run')", (MODEL, RUN_TAG))
    entries = [("0001", json.dumps({"after": "1"})), ("0001.moved", "yes"), ("0002", json.dumps({"after": "2"})), ("0002.moved", "yes")]
    connection.executemany("INSERT INTO params VALUES ('run', ?, ?)", entries)
    connection.commit()
    return root, connection


def find(root, wanted="champion"):
    return find_local_version(f"sqlite:///{root}/mlflow.db", MODEL, wanted)


@pytest.mark.parametrize(("wanted", "number"), [("champion", 2), ("challenger", 1), ("1", 1), ("2", 2)])
def test_version_is_found_by_alias_and_number(store, wanted, number):
    assert find(store[0], wanted) == LocalVersion(str(number), store[0] / f"artifacts/m-{number}")


@pytest.mark.parametrize("wanted", ["other", "3", "9999999999999999999999"])
def test_unknown_version_is_left_to_mlflow(store, wanted):
    assert find(store[0], wanted) is None


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE registered_model_aliases SET version = 1 WHERE alias = 'champion'",
        "DELETE FROM params WHERE key = '0002.moved'",
        "DELETE FROM registered_model_aliases WHERE alias = 'champion'",
        "DELETE FROM registered_model_tags",
        "DROP TABLE params",
        "ALTER TABLE model_versions RENAME COLUMN storage_location TO place",
        "UPDATE model_versions SET storage_location = 's3://bucket/m-1'",
        "UPDATE model_versions SET storage_location = 'file:///elsewhere/mlruns/artifacts/m-1'",
        "UPDATE params SET value = '{'",
    ],
)
def test_anything_unexpected_is_left_to_mlflow(store, change):
    root, connection = store
    connection.execute(change)
    connection.commit()
    assert find(root, "1") is None


def test_version_in_another_folder_is_left_to_mlflow(store, tmp_path):
    root, connection = store
    other = tmp_path / "other"
    other.mkdir()
    (other / "MLmodel").touch()
    connection.execute("UPDATE model_versions SET storage_location = ?", (other.as_uri(),))
    connection.commit()
    assert find(root, "1") is None


def test_other_stores_are_left_to_mlflow(tmp_path):
    assert find_local_version("http://127.0.0.1:5000", MODEL, "champion") is None
    assert find_local_version(f"sqlite:///{tmp_path}/none.db", MODEL, "champion") is None
    (tmp_path / "text.db").write_text("text" * 1000)
    assert find_local_version(f"sqlite:///{tmp_path}/text.db", MODEL, "champion") is None
