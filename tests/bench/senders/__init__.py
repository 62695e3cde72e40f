"""Programs that a bench lets send the same number of mails to the same server. Each says `ready`, waits for a line, sends, and
prints what it took as JSON: {"seconds", "cpu" (seconds), "megabytes" (at most, of memory)}."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from crm.config import is_loopback


def measured(send: Callable[[], object], host: str = "127.0.0.1") -> None:
    """Be such a program."""
    if not is_loopback(host):
        raise SystemExit("a bench sends to this machine only")
    print("ready", flush=True)
    sys.stdin.readline()
    cpu, began = time.process_time(), time.perf_counter()
    send()
    seconds, used = time.perf_counter() - began, time.process_time() - cpu
    print(json.dumps({"seconds": seconds, "cpu": used, "megabytes": _most_memory()}), flush=True)


def _most_memory() -> float:
    """Megabytes that this process had at most (what `getrusage` tells began as a copy of its parent's)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
