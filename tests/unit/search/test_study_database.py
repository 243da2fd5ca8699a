"""The database of a study: what is wrong with it is one line that never holds the password."""

import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import OperationalError

from components.core.errors import LesionflowError, ServiceUnavailable
from components.search.levels import head_level
from components.search.study import open_study
from components.search.study_database import DATABASE, VARIABLE, database_errors, database_url, require_database
from flows.processes import free_port
from tests.unit.search.test_study import tuned

SECRET = "s3cr/et"


def message_of(fault: BaseException) -> str:
    text = str(fault)
    assert "\n" not in text
    assert VARIABLE in text
    assert not any(part in text for part in ("s3cr", "et@", "/et"))
    return text


@pytest.mark.parametrize(
    "url",
    ["nonsense", f"postgresql:/lab:{SECRET}@db/study", f"postgresql://lab:{SECRET}@db:s3cr/study", "postgresql://lab:a@s3cr/et@db/study"],
)
def test_what_is_not_a_url_is_refused_without_quoting_it(url, monkeypatch):
    monkeypatch.setenv(VARIABLE, url)

    with pytest.raises(LesionflowError, match="Write it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE") as fault:
        database_url()

    assert "is not the URL of a database" in message_of(fault.value)


@pytest.mark.parametrize("driver", ["postgres", "https", "postgresql+asyncpg", "postgresql+pg8000"])
def test_url_without_driver_is_refused(driver, monkeypatch):
    monkeypatch.setenv(VARIABLE, f"{driver}://lab:{SECRET}@db/study")

    with pytest.raises(LesionflowError, match="there is no driver here") as fault:
        require_database()

    assert f"{driver}://" in message_of(fault.value)


@pytest.mark.parametrize("driver", ["postgresql", "postgresql+psycopg2"])
def test_server_that_is_down_is_named(driver, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    port = free_port()
    monkeypatch.setenv(VARIABLE, f"{driver}://lab:{SECRET}@127.0.0.1:{port}/study")

    for open_database in (require_database, lambda: open_study("made", tuned(), head_level(tuned()))):
        with pytest.raises(ServiceUnavailable, match="Connection refused") as fault:
            open_database()
        assert str(port) in message_of(fault.value)


def test_reason_is_that_of_the_driver_without_the_password(monkeypatch):
    monkeypatch.setenv(VARIABLE, "postgresql://lab:s3cret@db/study")
    lost = OperationalError("SELECT 1", {}, Exception("s3cret: server closed the connection\nThis probably means"))

    with pytest.raises(ServiceUnavailable) as fault, database_errors():
        raise StorageInternalError("An exception is raised during the commit.") from lost

    assert "cannot be used: ***: server closed the connection. Check" in message_of(fault.value)


def test_project_has_a_database_of_its_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)

    require_database()

    assert database_url().database == str((tmp_path / DATABASE).resolve())
