import importlib
import importlib.util
from itertools import dropwhile, takewhile
from pathlib import Path

import pytest
import yaml

from tests.support.project import ROOT

DEPLOYMENTS = {item["name"]: item for item in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]}


def test_no_flow_module_takes_the_name_of_another_package():
    """Prefect loads a flow by its file, with the file's folder first on Python's path."""
    assert [path.stem for path in (ROOT / "flows").glob("*.py") if path.stem != "__init__" and importlib.util.find_spec(path.stem)] == []


def test_the_four_deployments_are_there():
    assert set(DEPLOYMENTS) == {"train-nightly", "train-on-demand", "watch-data", "verify"}


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_deployment_says_what_happens_when_two_of_its_runs_meet_and_in_which_time_zone_it_fires(name):
    deployment = DEPLOYMENTS[name]
    assert deployment["concurrency_limit"]["limit"] == 1
    assert deployment["concurrency_limit"]["collision_strategy"] in ("ENQUEUE", "CANCEL_NEW")
    assert all(schedule["timezone"] and schedule["active"] is True for schedule in deployment["schedules"])


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_deployment_names_a_flow_that_takes_its_parameters(name):
    from prefect import Flow

    module, function = DEPLOYMENTS[name]["entrypoint"].removesuffix(":").split(":")
    spec = importlib.util.find_spec(Path(module).with_suffix("").as_posix().replace("/", "."))
    assert spec is not None
    flow = getattr(importlib.import_module(spec.name), function)
    assert isinstance(flow, Flow)
    assert set(DEPLOYMENTS[name].get("parameters", {})) <= set(flow.parameters.properties)
    assert all(field.get("description") for field in flow.parameters.properties.values())


@pytest.mark.parametrize(("kind", "pool"), [("Docker", "lesionflow-docker"), ("Kubernetes", "lesionflow-kubernetes")])
def test_the_variants_become_a_work_pool_when_their_comment_signs_go(kind, pool):
    lines = iter((ROOT / "prefect.yaml").read_text().splitlines())
    following = list(dropwhile(lambda line: not line.startswith(f"  # {kind}:"), lines))
    start = next(number for number, line in enumerate(following) if "work_pool:" in line)
    body = takewhile(lambda line: line.startswith("  #   "), following[start + 1 :])
    variant = yaml.safe_load("work_pool:\n" + "\n".join(line.removeprefix("  # ") for line in body))["work_pool"]
    assert variant["name"] == pool
    assert variant["job_variables"]["image"]
