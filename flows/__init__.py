"""Prefect: when the pipeline runs, who retries, who sees it. The work itself is DVC's. Prefect's settings are in prefect.toml."""

import os

from components.runtime import environment

environment.prepare()
os.environ.setdefault("DO_NOT_TRACK", "1")  # Prefect's client reads this before any settings file
if auth := os.environ.get("PREFECT_SERVER_API_AUTH_STRING"):  # whoever may start a server with a password may use it
    os.environ.setdefault("PREFECT_API_AUTH_STRING", auth)
