"""The driver's end of a peer's process. bench/peers/worker.py is the other end."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import tempfile
import time

from .places import BENCH
from .registry import peer_environment, peer_python


class PeerMissing(Exception):
    """The peer cannot be used at all; the message says why."""


class PeerFailed(Exception):
    """One layer failed. `status` is unsupported, error, crash or timeout."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status, self.text = status, text


class Worker:
    """Started when first asked, and again after a crash or a timeout."""

    def __init__(self, peer, convjit, cpus):
        self.peer, self.cpus = peer, cpus
        self.environment = peer_environment(peer, convjit, len(cpus))
        self.process = None
        self.version = None

    def start(self, limit_s=300):
        """Raises PeerMissing; sets `version`."""
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [peer_python(self.peer), "-m", "peers.worker", self.peer.module, self.peer.variant,
             str(len(self.cpus)), ",".join(map(str, self.cpus))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, cwd=BENCH,
            env=self.environment, start_new_session=True)
        self.buffer = b""
        try:
            hello = self._answer(limit_s)
        except PeerFailed as e:
            raise PeerMissing(f"does not start: {e.text}") from None
        if "missing" in hello:
            self.stop()
            raise PeerMissing(hello["missing"])
        self.version = hello["version"]

    def ask(self, limit_s, do, **message):
        """The answer to a message, within `limit_s` seconds. Raises PeerFailed."""
        if self.process is None:
            self.start()
        try:
            self.process.stdin.write(json.dumps({"do": do, **message}).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self._crashed()
        answer = self._answer(limit_s)
        for status in ("unsupported", "error"):
            if status in answer:
                raise PeerFailed(status, answer[status])
        return answer

    def release(self):
        """Gives the layer's memory back."""
        if self.process is not None:
            try:
                self.ask(60, "release")
            except PeerFailed:
                self.stop()

    def stop(self):
        """Ends the process and what it started."""
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            try:
                stream.close()
            except OSError:
                pass
        self.process = None

    def _answer(self, limit_s):
        deadline = time.monotonic() + limit_s
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self.buffer:
                left = deadline - time.monotonic()
                if left <= 0 or not selector.select(left):
                    self.stop()
                    raise PeerFailed("timeout", f"no answer in {limit_s:.0f} s")
                chunk = os.read(self.process.stdout.fileno(), 1 << 16)
                if not chunk:
                    self._crashed()
                self.buffer += chunk
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def _crashed(self):
        code = self.process.wait()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        self.stop()
        raise PeerFailed("crash", ": ".join([how, *lines[-1:]])[:300])
