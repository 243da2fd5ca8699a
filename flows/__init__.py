"""Prefect: when the pipeline runs, who retries, who sees it. The work itself is DVC's."""

import os
from pathlib import Path

# Set before Prefect is imported: its database stays with the project, and nothing phones home.
os.environ.setdefault("PREFECT_HOME", str(Path(__file__).resolve().parent.parent / ".prefect"))
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
