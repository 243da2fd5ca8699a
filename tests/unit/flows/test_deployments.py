import importlib
import importlib.util
from itertools import dropwhile, takewhile
from pathlib import Path

import pytest
import yaml

from tests.support.project import ROOT

DEPLOYMENTS = {item["name"]: item for item in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]}


def test_flow_modules_do_not_shadow_installed_packages():
    """Prefect loads a flow by its file, with the folder of the file first in sys.path."""
    assert [path.stem for path in (ROOT / "flows").glob("*.py") if path.stem != "__init__" and importlib.util.find_spec(path.stem)] == []


def test_prefect_yaml_has_these_deployments():
    assert set(DEPLOYMENTS) == {"train-nightly", "train-on-demand", "watch-data", "verify", "cross-validate", "tune-weekly"}


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_deployment_has_concurrency_limit_and_timezone(name):
    deployment = DEPLOYMENTS[name]
    assert deployment["concurrency_limit"]["limit"] == 1
    assert deployment["concurrency_limit"]["collision_strategy"] in ("ENQUEUE", "CANCEL_NEW")
    assert all(schedule["timezone"] and schedule["active"] is True for schedule in deployment["schedules"])


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_deployment_parameters_exist_in_its_flow(name):
    from prefect import Flow

    module, function = DEPLOYMENTS[name]["entrypoint"].removesuffix(":").split(":")
    spec = importlib.util.find_spec(Path(module).with_suffix("").as_posix().replace("/", "."))
    assert spec is not None
    flow = getattr(importlib.import_module(spec.name), function)
    assert isinstance(flow, Flow)
    assert set(DEPLOYMENTS[name].get("parameters", {})) <= set(flow.parameters.properties)
    assert all(field.get("description") for field in flow.parameters.properties.values())


@pytest.mark.parametrize(("kind", "pool"), [("Docker", "lesionflow-docker"), ("Kubernetes", "lesionflow-kubernetes")])
def test_commented_work_pools_are_valid_yaml(kind, pool):
    lines = iter((ROOT / "prefect.yaml").read_text().splitlines())
    following = list(dropwhile(lambda line: not line.startswith(f"  # {kind}:"), lines))
    start = next(number for number, line in enumerate(following) if "work_pool:" in line)
    body = takewhile(lambda line: line.startswith("  #   "), following[start + 1 :])
    variant = yaml.safe_load("work_pool:\n" + "\n".join(line.removeprefix("  # ") for line in body))["work_pool"]
    assert variant["name"] == pool
    assert variant["job_variables"]["image"]
