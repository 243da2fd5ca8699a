"""The server of this environment plans runs for every schedule of prefect.yaml."""

import asyncio

import pytest
import yaml

from tests.support.project import ROOT

DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
CRON = {item["name"]: schedule for item in DEPLOYMENTS for schedule in item.get("schedules") or [] if "cron" in schedule}


@pytest.mark.parametrize("schedule", CRON.values(), ids=CRON)
def test_cron_schedule_has_next_runs(schedule):
    from prefect.server.schemas.schedules import CronSchedule

    planned = asyncio.run(CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"]).get_dates(3))

    assert len(set(planned)) == 3
