"""What every peer's module makes of a layer."""

from __future__ import annotations

import time


class Prepared:
    """A layer ready to run. Subclasses define `call` and `output`, and `finish` where
    calls return before their work is done. `note` says what a reader of the time
    should know, such as the implementation's name."""

    note = ""

    def call(self):
        raise NotImplementedError

    def finish(self):
        """Waits for the calls made so far."""

    def output(self):
        """The result of the last call, a NumPy array in the problem's layout."""
        raise NotImplementedError

    def run(self, count):
        """Seconds that `count` calls take together."""
        start = time.perf_counter()
        for _ in range(count):
            self.call()
        self.finish()
        return time.perf_counter() - start

    def sample(self, seconds):
        """Calls for about `seconds`, and the milliseconds a call took each time. The
        first call warms caches and does not count; short calls are timed together."""
        count = max(1, round(5e-4 / max(self.run(1), 1e-7)))
        samples, total = [], 0.0
        while total < seconds or len(samples) < 2:
            took = self.run(count)
            samples.append(took / count * 1e3)
            total += took
            if took > seconds and took > 1:
                break
        return {"samples_ms": samples}

    def release(self):
        """Gives memory back where dropping the object would not."""
