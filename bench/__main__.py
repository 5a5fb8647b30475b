"""`python -m bench [NAME…]`: measure, then print the table and the JSON. Needs root: it uses the lab."""

import importlib
import sys

from bench.report import Figure, json_lines, table

NAMES = ("join", "survival", "registrations", "requests", "resources", "throughput", "exit_node")
ON_REQUEST = (
    "blocked",
    "fuzz",
    "live_map",
    "many_servers",
    "newcomer",
    "paths",
    "relay",
    "rendezvous",
    "upgrade",
)  # longer ones


def main() -> None:
    names = sys.argv[1:] or list(NAMES)
    known = NAMES + ON_REQUEST
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"bench: no measurement is named {', '.join(unknown)}; there are {', '.join(known)}")
    figures: list[Figure] = []
    for name in names:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        measured: list[Figure] = importlib.import_module(f"bench.{name}").measure()
        print(table(measured), flush=True)
        figures += measured
    print(json_lines(figures))


if __name__ == "__main__":
    main()
