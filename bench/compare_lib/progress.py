"""A progress bar, on a terminal and with tqdm installed; otherwise none."""

from __future__ import annotations

import contextlib
import sys


class _Plain:
    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return iter(self.items)

    @staticmethod
    def write(text):
        print(text, flush=True)


@contextlib.contextmanager
def progress(items):
    """Yields what to loop over; its `write` prints a line above the bar."""
    bar = None
    if sys.stderr.isatty():
        with contextlib.suppress(ImportError):
            from tqdm import tqdm
            bar = tqdm(items, unit="layer", leave=False)
    try:
        yield bar if bar is not None else _Plain(items)
    finally:
        if bar is not None:
            bar.close()
