"""Register the deployments of prefect.yaml and their work pool with the Prefect server at PREFECT_API_URL."""

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
AUTOMATION_NAME = "Crash runs that fell silent"
CRASH_MESSAGE = "no heartbeat: the process or its machine stopped"
MISSED_HEARTBEATS = 3


def deployments() -> list[dict[str, Any]]:
    """Read the deployments from prefect.yaml."""
    return list(yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"])


def create_heartbeat_automation() -> None:
    """Create an automation on the server that marks runs without heartbeat as crashed: their worker or machine stopped.

    Without it such a run stays in state Running forever and blocks its deployment's only slot. One that is the same already is left
    alone: an update gives its trigger a new ID, which forgets the heartbeats of runs that were killed shortly before.
    """
    beat = get_current_settings().flows.heartbeat_frequency
    if beat is None:
        raise RuntimeError("flows.heartbeat_frequency is not set. Run this command from the project's root, which contains prefect.toml.")
    wanted = AutomationCore(
        name=AUTOMATION_NAME,
        description="A killed run cannot report its state; its deployment would wait for it forever.",
        trigger=EventTrigger(
            after={HEARTBEAT},
            expect={HEARTBEAT, *ENDED},
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=MISSED_HEARTBEATS * beat),
        ),
        actions=[ChangeFlowRunState(name=None, state=StateType.CRASHED, message=CRASH_MESSAGE, force=False)],
    )
    with get_client(sync_client=True) as client:
        known = client.read_automations_by_name(AUTOMATION_NAME)
        if not known:
            client.create_automation(wanted)
        elif AutomationCore(**known[0].model_dump(exclude={"id"})) != wanted:
            client.update_automation(known[0].id, wanted)


def create_pools() -> None:
    """Create the process pools named in prefect.yaml; pools of other types must be created by their operators."""
    names = {item["work_pool"]["name"] for item in deployments()}
    with get_client(sync_client=True) as client:
        for name in sorted(names):
            try:
                client.create_work_pool(WorkPoolCreate(name=name, type="process"))
            except ObjectAlreadyExists:
                continue


def folders(registered: Iterable[DeploymentResponse], names: Collection[str]) -> set[str]:
    """Folders in which these deployments run; deployments that clone the code have none."""
    steps = [step for item in registered if item.name in names for step in item.pull_steps or []]
    return {str(step[SET_FOLDER]["directory"]) for step in steps if SET_FOLDER in step}


def require_own_server() -> None:
    """Exit if the deployments on the server run in another folder, since both would have the same names.

    Raises:
        SystemExit: deployments with these names run in another folder.
    """
    with get_client(sync_client=True) as client:
        others = folders(client.read_deployments(), {item["name"] for item in deployments()}) - {str(ROOT)}
    if others:
        raise SystemExit(
            f"error: the deployments on {os.environ['PREFECT_API_URL']} run in {', '.join(sorted(others))}, not in {ROOT}."
            " Run `python -m flows.deploy --replace` to run them here instead,"
            " or `python -m flows.serve --port PORT` to start a separate server for this project."
        )


def delete_removed_schedules() -> None:
    """Delete schedules of deployments that no longer have one in prefect.yaml; `prefect deploy` does not delete them."""
    unscheduled = {item["name"] for item in deployments() if not item.get("schedules")}
    with get_client(sync_client=True) as client:
        for deployment in client.read_deployments():
            if deployment.name in unscheduled:
                for schedule in deployment.schedules:
                    client.delete_deployment_schedule(deployment.id, schedule.id)


def main() -> None:
    """Create the pool, register the deployments, and create the automation for runs without heartbeat."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replace", action="store_true", help="replace deployments on the server that run in another folder")
    given = parser.parse_args()
    if not os.environ.get("PREFECT_API_URL"):
        print(
            "error: PREFECT_API_URL is not set. Run `make server` to start a server, then `make deploy`, which sets the URL.",
            file=sys.stderr,
        )
        raise SystemExit(1)
    if not given.replace:
        require_own_server()
    create_pools()
    create_heartbeat_automation()
    here = {**os.environ, "PWD": str(ROOT)}  # prefect.yaml refers to this folder as $PWD
    done = subprocess.run([sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"], cwd=ROOT, env=here, check=False)
    if done.returncode == 0:
        delete_removed_schedules()
    raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
