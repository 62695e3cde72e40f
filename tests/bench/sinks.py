"""The mail server of the benches (`sink.c`), compiled when it is needed, on a port of this machine."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).with_name("sink.c")


@dataclass
class Sink:
    port: int
    log: Path | None
    told: list[int] = field(default_factory=list)
    """Once it has ended: mails, bytes, microseconds of CPU."""


def compiled(directory: Path) -> Path:
    """The program; RuntimeError says what to install."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise RuntimeError("the benches of sending need a C compiler: apt-get install gcc libc6-dev")
    program = directory / "sink"
    if not program.exists():
        subprocess.run([compiler, "-O2", "-o", str(program), str(SOURCE)], check=True)
    return program


@contextmanager
def running(directory: Path, *, delay: float = 0, log: Path | None = None) -> Iterator[Sink]:
    """A sink whose answers leave ``delay`` seconds after what they answer; ``log`` gets a line for each mail."""
    command = [str(compiled(directory)), "0", str(round(delay * 1_000_000)), *([str(log)] if log else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        sink = Sink(int(process.stdout.readline()), log)
        try:
            yield sink
        finally:
            process.send_signal(signal.SIGTERM)
            sink.told[:] = map(int, process.stdout.readline().split())
