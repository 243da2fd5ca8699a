"""The service, held to its API's description by requests that are generated from it."""

import subprocess
import sys

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Config, GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi import checks

load_all_checks()
REFUSED = [400, 403, 404, 405, 408, 413, 414, 415, 421, 422, 431]
CONFIGURATION = {"checks": {"negative_data_rejection": {"expected-statuses": REFUSED}}}
NOT_IN_A_SCHEMA = (checks.positive_data_acceptance,)
"""A schema cannot say that bytes must be a readable image, or which outputs the version has."""


def test_generated_requests_are_answered_as_described(service):
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json", config=Config.from_dict(CONFIGURATION))
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == 9
    for operation in operations:
        takes_input = operation.method == "post" or "{" in operation.path
        for mode in GenerationMode if takes_input else (GenerationMode.POSITIVE,):

            @settings(max_examples=4, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def check(case):
                case.call_and_validate(excluded_checks=NOT_IN_A_SCHEMA)

            check()


@pytest.mark.sweep
def test_many_generated_requests_are_answered_as_described(service, tmp_path):
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(tmp_path / "schemathesis.toml"), "run"]
    (tmp_path / "schemathesis.toml").write_text(f"[checks.negative_data_rejection]\nexpected-statuses = {REFUSED}\n", encoding="utf-8")
    options = ["--max-examples", "200", "--no-color", "--exclude-checks", "positive_data_acceptance"]
    done = subprocess.run([*command, f"{service.url}/openapi.json", *options], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
