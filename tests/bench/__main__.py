"""`make bench`: run every bench, print a table, write build/bench.json."""

import json
import pkgutil
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import tests.bench

OUT = Path("build/bench.json")
COLUMNS = ("case", "subject", "unit", "median", "min", "max", "ratio_to", "ratio", "ratio_min", "ratio_max", "cpu_us", "megabytes")


def main() -> None:
    rows: list[dict[str, Any]] = []
    for module in pkgutil.iter_modules(tests.bench.__path__, "tests.bench."):
        if module.name.rpartition(".")[2].startswith("bench_"):
            rows += import_module(module.name).rows()
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in COLUMNS))
    Console().print(table)


def _cell(value: Any) -> str:
    return f"{value:,.2f}" if isinstance(value, float) else str(value or "")


main()
