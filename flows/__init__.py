"""Prefect flows: scheduling, retries, reporting. Stages run through DVC. Prefect's settings are in prefect.toml."""

import os

from components.runtime import environment

environment.prepare()
os.environ.setdefault("DO_NOT_TRACK", "1")  # Prefect's client reads this before any settings file
if auth := os.environ.get("PREFECT_SERVER_API_AUTH_STRING"):  # a process that can start a password-protected server may also use it
    os.environ.setdefault("PREFECT_API_AUTH_STRING", auth)
