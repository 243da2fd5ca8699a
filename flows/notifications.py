"""Reports how a run ended: an artifact on its page, and a message to a webhook if one is configured."""

import os
from typing import Any

import httpx
from prefect import Flow, get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.objects import FlowRun, State
from prefect.logging.loggers import flow_run_logger
from prefect.settings import get_current_settings

from components.core.escaping import markdown_block

WEBHOOK = "LESIONFLOW_WEBHOOK"
"""URL that receives a message when a run ends, as JSON for Slack, Mattermost and Teams: {"text": ...}."""
UNCHANGED = "Unchanged"
"""Name of the state of a run that had nothing to do; it is not reported."""


def notify(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Report how a run ended: an artifact on its page, and a message to the webhook if one is configured."""
    if state.name == UNCHANGED:
        return
    title = f"{flow.name} run {flow_run.name}: {state.name}"
    reason = f"\n\n{markdown_block(state.message)}" if state.message else ""
    artifact = ArtifactCreate(
        key="outcome", type="markdown", description="how the run ended", data=f"## {title}{reason}", flow_run_id=flow_run.id
    )
    with get_client(sync_client=True) as client:
        client.create_artifact(artifact)
    url = os.environ.get(WEBHOOK)
    if not url:
        return
    page = get_current_settings().ui_url
    message = "\n".join([title, *([state.message] if state.message else []), *([f"{page}/runs/flow-run/{flow_run.id}"] if page else [])])
    try:
        httpx.post(url, json={"text": message}, timeout=10).raise_for_status()
    except httpx.HTTPError as fault:
        flow_run_logger(flow_run, flow).warning("the message to the webhook in %s failed: %s", WEBHOOK, fault)


HOOKS: dict[str, Any] = {"on_completion": [notify], "on_failure": [notify], "on_crashed": [notify], "on_cancellation": [notify]}
