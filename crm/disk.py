"""What a disk must have before anybody relies on it."""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names of a folder: a power cut must not take a file that others already rely on."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
