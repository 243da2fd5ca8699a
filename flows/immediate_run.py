"""Runs a flow that takes no options at once, from the command line."""

import argparse
import sys
from collections.abc import Callable
from typing import TypeVar

from flows.processes import CommandFailed

Result = TypeVar("Result")


def run_once(flow: Callable[[], Result], description: str | None) -> Result:
    """Run the flow and return its result; exit with code 1 if it failed, 130 if it was interrupted."""
    argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    try:
        return flow()
    except CommandFailed as fault:
        print(f"\nerror: {fault}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
