"""`python -m bench NAME [--json] [--repeats N]`: a table for people, or one JSON object. `all` runs every one but
`scale`, which is a simulation and takes half a minute a repeat.
"""

import argparse
import importlib
import sys
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from bench.figures import Figure, machine

NAMES = ("hits", "embedding", "index", "decide", "purge", "outage")
"""Each is a module of this package with `measure(repeats) -> figures`."""
PARTS = ("local_model", "cache_tests", "purge_snapshot")
"""What one of them measures among other things, alone."""
SIMULATED = ("scale",)
"""With `measure(repeats, seed)`; not in `all`."""


def run(name: str, repeats: int, seed: int) -> list[Figure]:
    module = importlib.import_module(f"bench.{name}")
    measured: list[Any] = module.measure(repeats, seed) if name in SIMULATED else module.measure(repeats)
    return [msgspec.convert(figure, Figure, from_attributes=True) for figure in measured]


def show(name: str, figures: list[Figure]) -> None:
    table = Table(f"bench {name}", "median", "spread", "unit", "goal", "", box=None)
    for found in figures:
        low, high = found.spread
        mark = {None: "", True: "reached", False: "NOT reached"}[found.reached]
        table.add_row(found.name, f"{found.value:.4g}", f"{low:.4g} to {high:.4g}", found.unit, found.goal, mark)
    Console().print(table)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", choices=[*NAMES, *PARTS, *SIMULATED, "all"])
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1, help="of the first repeat of a simulation")
    chosen = parser.parse_args()
    for name in NAMES if chosen.name == "all" else (chosen.name,):
        try:
            figures = run(name, chosen.repeats, chosen.seed)
        except FileNotFoundError as missing:
            print(f"bench {name}: skipped, there is no {missing.filename} (set EDGECACHE_DATA)", file=sys.stderr)
            continue
        if chosen.json:
            found = {"bench": name, "machine": machine(), "figures": figures}
            sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
        else:
            show(name, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
