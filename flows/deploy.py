"""Register the deployments of prefect.yaml with the Prefect server that PREFECT_API_URL names, with the pool they run in."""

import argparse
import os
import subprocess
import sys
from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import Any

import yaml
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import get_current_settings

from flows.processes import ROOT

SET_FOLDER = "prefect.deployments.steps.set_working_directory"
HEARTBEAT = "prefect.flow-run.heartbeat"
ENDED = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Crashed", "Cancelled")}
SILENCE = "Crash runs that fell silent"
SILENT = "no heartbeat any more: the run was killed, or its machine went away"
MISSED = 3


def deployments() -> list[dict[str, Any]]:
    """The deployments as prefect.yaml describes them."""
    return list(yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"])


def crash_silent_runs() -> None:
    """Have the server mark a run as crashed whose heartbeat stopped: its worker was killed or its machine went away.

    Without it such a run is Running for ever and keeps its deployment's only slot.
    """
    beat = get_current_settings().flows.heartbeat_frequency
    if beat is None:
        raise RuntimeError("flows.heartbeat_frequency is not set: run this from the project's root, where prefect.toml is")
    wanted = AutomationCore(
        name=SILENCE,
        description="A run that is killed cannot say so; its deployment would wait for it for ever.",
        trigger=EventTrigger(
            after={HEARTBEAT},
            expect={HEARTBEAT, *ENDED},
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=MISSED * beat),
        ),
        actions=[ChangeFlowRunState(name=None, state=StateType.CRASHED, message=SILENT, force=False)],
    )
    with get_client(sync_client=True) as client:
        known = client.read_automations_by_name(SILENCE)
        if known:
            client.update_automation(known[0].id, wanted)
        else:
            client.create_automation(wanted)


def create_pools() -> None:
    """Make the process pools that prefect.yaml names; pools of other types are made by who runs them."""
    names = {item["work_pool"]["name"] for item in deployments()}
    with get_client(sync_client=True) as client:
        for name in sorted(names):
            try:
                client.create_work_pool(WorkPoolCreate(name=name, type="process"))
            except ObjectAlreadyExists:
                continue


def folders(registered: Iterable[DeploymentResponse], names: Collection[str]) -> set[str]:
    """The folders in which these deployments run, as far as they run in one: one that clones the code names none."""
    steps = [step for item in registered if item.name in names for step in item.pull_steps or []]
    return {str(step[SET_FOLDER]["directory"]) for step in steps if SET_FOLDER in step}


def refuse_foreign() -> None:
    """Stop where the deployments on the server run in another folder: both would have the same names.

    Raises:
        SystemExit: they do.
    """
    with get_client(sync_client=True) as client:
        others = folders(client.read_deployments(), {item["name"] for item in deployments()}) - {str(ROOT)}
    if others:
        raise SystemExit(
            f"error: the deployments on {os.environ['PREFECT_API_URL']} run in {', '.join(sorted(others))}, not in {ROOT}."
            " `python -m flows.deploy --replace` lets them run here instead;"
            " `python -m flows.serve --port PORT` starts a server of this project's own."
        )


def drop_schedules() -> None:
    """Take away the schedules of deployments that have none in prefect.yaml any more: `prefect deploy` leaves those alone."""
    unscheduled = {item["name"] for item in deployments() if not item.get("schedules")}
    with get_client(sync_client=True) as client:
        for deployment in client.read_deployments():
            if deployment.name in unscheduled:
                for schedule in deployment.schedules:
                    client.delete_deployment_schedule(deployment.id, schedule.id)


def main() -> None:
    """Create the pool, register the deployments, and have silent runs marked as crashed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replace", action="store_true", help="also where the server's deployments run in another folder")
    given = parser.parse_args()
    if not os.environ.get("PREFECT_API_URL"):
        print("error: PREFECT_API_URL is not set: `make server` starts a server, `make deploy` knows where it is", file=sys.stderr)
        raise SystemExit(1)
    if not given.replace:
        refuse_foreign()
    create_pools()
    crash_silent_runs()
    here = {**os.environ, "PWD": str(ROOT)}  # prefect.yaml names this folder by it
    done = subprocess.run([sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"], cwd=ROOT, env=here, check=False)
    if done.returncode == 0:
        drop_schedules()
    raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
