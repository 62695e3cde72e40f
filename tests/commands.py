"""Commands of `crm`, one after another, in a process of their own: a start costs seconds, so one process takes several.

Reads a JSON list of [words, typed] from standard input and writes one of [exit code, output, errors].
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from crm.cli import app


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str


def crm(environment: dict[str, str], *commands: str | tuple[str, str]) -> list[Said]:
    """Run commands, each a line of words or such a line with what is typed."""
    told = [(line, "") if isinstance(line, str) else line for line in commands]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CRM_")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.commands"],
        env=kept | environment | {"COLUMNS": "400"},
        cwd=Path(__file__).parent.parent,
        input=json.dumps([(line.split("|") if "|" in line else line.split(), typed) for line, typed in told]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [Said(*answer) for answer in json.loads(done.stdout)]


def _main() -> None:
    answers = []
    for words, typed in json.load(sys.stdin):
        result = CliRunner().invoke(app, words, input=typed)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        answers.append([result.exit_code, result.stdout, result.stderr])
    sys.stdout.write(json.dumps(answers))


if __name__ == "__main__":
    _main()
