"""Prefect: when the pipeline runs, who retries, who sees it. The work itself is DVC's. Prefect's settings are in prefect.toml."""

import os

os.environ.setdefault("DO_NOT_TRACK", "1")  # Prefect's client reads this before any settings file
