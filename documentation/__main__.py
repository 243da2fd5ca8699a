"""Write the generated pages and diagrams, then check every page; with --check, write nothing."""

import argparse
import sys

from documentation import links, mentions, pages


def main() -> int:
    """Exit code 1 where something is stale or broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a generated page is stale")
    given = parser.parse_args()
    problems: list[str] = []
    if given.check:
        problems += [f"{path}: stale, run `make docs`" for path in pages.stale()]
    else:
        for path in pages.write():
            print(f"wrote {path}")
        from documentation import results_plot  # matplotlib takes seconds to import

        results_plot.draw(pages.RESULTS_PLOT)
    problems += [f"broken link: {line}" for line in links.broken()]
    problems += [f"does not exist: {line}" for line in mentions.missing()]
    for line in problems:
        print(f"error: {line}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
