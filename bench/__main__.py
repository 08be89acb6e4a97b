"""`python -m bench NAME [--json] [--repeats N]`: a table for people, or one JSON object. `all` runs every one."""

import argparse
import importlib
import sys
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from bench.figures import Figure, machine

NAMES = ("hits", "embedding", "index", "decide")
"""Each is a module of this package with `measure(repeats) -> figures`."""
PARTS = ("local_model",)
"""What one of them measures among other things, alone."""


def run(name: str, repeats: int) -> list[Figure]:
    measured: list[Any] = importlib.import_module(f"bench.{name}").measure(repeats)
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
    parser.add_argument("name", choices=[*NAMES, *PARTS, "all"])
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    for name in NAMES if chosen.name == "all" else (chosen.name,):
        try:
            figures = run(name, chosen.repeats)
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
