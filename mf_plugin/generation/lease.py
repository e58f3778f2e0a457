"""One writer for a store without file locks: an object that its holder keeps renewing.

Whoever creates the object holds it; creating is exclusive (S3: If-None-Match). One that is there
already is watched: if it changes, its holder lives, and the newcomer is turned away; if it stays
as it is for the whole lease, its holder was killed, and the newcomer takes over. No clock is
compared with another machine's. Of two newcomers that take over at once the later one stays: the
other sees its token, at the latest at the next renewal, and stops. So does a holder that was only
asleep. What they put until then are the bytes that their successor puts.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import threading
import time
import uuid
from typing import Any

from mf_plugin.errors import InputError, RunFailed

logger = logging.getLogger(__name__)

_BEATS = 4  # renewals within a lease


class Lease:
    """Context manager.

    Args:
        fs: of fsspec.
        path: of the object.
        what: is written, for messages.
        seconds: after which a holder that is silent counts as dead.

    Raises (on entering):
        InputError: another process holds it.
    """

    def __init__(self, fs: Any, path: str, what: str, seconds: float = 20.0) -> None:
        self._fs, self._path, self._what = fs, path, what
        self._seconds = seconds
        self._owner = {"token": uuid.uuid4().hex, "host": platform.node(), "pid": os.getpid()}
        self._beat = 0
        self._lost = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> Lease:
        if not self._create():
            self._await_silence()
            self._put()
            time.sleep(self._seconds / _BEATS)  # for another one that takes over just now
            if not self._is_own():
                raise InputError(f"another process is writing {self._what}")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if not self._lost and self._is_own():
            self._fs.rm_file(self._path)

    def check(self) -> None:
        """See that it is still held.

        Raises:
            RunFailed: another process has taken over.
        """
        if self._lost:
            raise RunFailed(f"another process has taken over {self._what}, as this one was silent")

    def _create(self) -> bool:
        try:
            self._fs.pipe_file(self._path, self._content(), mode="create")
        except OSError:
            if self._read() is None:
                raise
            return False
        return True

    def _await_silence(self) -> None:
        seen, begin = self._read(), time.monotonic()
        holder = json.loads(seen) if seen else {}
        logger.info(
            "%s was left or is being written by process %s on %s: waiting %.0f s to see which",
            self._what,
            holder.get("pid"),
            holder.get("host"),
            self._seconds,
        )
        while time.monotonic() - begin < self._seconds:
            time.sleep(self._seconds / _BEATS / 2)
            if self._read() != seen:
                raise InputError(
                    f"another process is writing {self._what} "
                    f"({holder.get('pid')} on {holder.get('host')})"
                )

    def _renew(self) -> None:
        while not self._stop.wait(self._seconds / _BEATS):
            try:
                if not self._is_own():
                    self._lost = True
                    return
                self._beat += 1
                self._put()
            except OSError as error:  # the next beat may do it
                logger.warning("cannot renew the lease of %s: %s", self._what, error)

    def _is_own(self) -> bool:
        content = self._read()
        return content is not None and json.loads(content)["token"] == self._owner["token"]

    def _content(self) -> bytes:
        return json.dumps({**self._owner, "beat": self._beat}).encode()

    def _put(self) -> None:
        self._fs.pipe_file(self._path, self._content())

    def _read(self) -> bytes | None:
        try:
            return bytes(self._fs.cat_file(self._path))
        except FileNotFoundError:
            return None
