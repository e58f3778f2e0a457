"""Where a dataset folder lies: a local folder, or a URL that fsspec knows, such as s3://b/folder.

The folder contract needs little of a store: a file is put whole or not at all, what was put can be
read and listed at once, and there is one writer. A local folder has rename and file locks for that;
an object store puts objects whole, lists them consistently, and has an object that says who writes
(lease.py). Names are relative, with "/".
"""

from __future__ import annotations

import json
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mf_plugin.errors import InputError
from mf_plugin.extras import MissingExtra, how_to_install, require
from mf_plugin.generation.lease import Lease
from mf_plugin.lvis.io import write_bytes_atomic

LOCK = ".generate.lock"
_READ_AT_ONCE = 256  # objects that are read in one go


class Storage(ABC):
    """Files below one root.

    Attributes:
        root: a Path, or the URL.
        at_once: groups that are best put at once.
    """

    root: Path | str
    at_once: int = 1

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            FileNotFoundError: there is none.
        """

    @abstractmethod
    def write(self, files: Mapping[str, bytes]) -> None:
        """Put files, each of which is whole or untouched whenever the process dies."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether there is such a file."""

    @abstractmethod
    def names(self, folder: str = "") -> Iterator[str]:
        """Files and folders directly below the root or a folder; none where that is not there."""

    @abstractmethod
    def remove(self, names: Iterable[str]) -> None:
        """Remove files and folders, if they are there; then the root, if nothing is left in it."""

    @abstractmethod
    def prepare(self, folders: Iterable[str]) -> None:
        """Make folders, where there are such things, and sweep what a killed writer has left."""

    @abstractmethod
    def check_writable(self) -> None:
        """See that the root can be written, without writing.

        Raises:
            InputError: it cannot.
        """

    @abstractmethod
    def hold(self) -> AbstractContextManager[None]:
        """The only writer while the context lasts.

        Raises (on entering):
            InputError: another process writes.
        """

    @abstractmethod
    def beside(self, suffix: str) -> Storage:
        """The root whose name has ``suffix`` at its end."""

    def read_each(self, names: Iterable[str]) -> Iterator[bytes | None]:
        """The contents of many files, in their order; None for one that is not there."""
        for name in names:
            try:
                yield self.read(name)
            except FileNotFoundError:
                yield None

    def write_json(self, name: str, data: Any, indent: int | None = None) -> None:
        """Put a JSON file.

        Raises:
            ValueError: the data holds NaN or infinity, which json does not have.
        """
        text = json.dumps(data, ensure_ascii=False, allow_nan=False, indent=indent)
        self.write({name: f"{text}\n".encode()})

    def __str__(self) -> str:
        return str(self.root)


def open_storage(out: str | Path | Storage) -> Storage:
    """The storage of a path or URL; a storage is given back.

    Raises:
        InputError: fsspec does not know the URL, or it cannot be reached.
        MissingExtra: what fsspec needs for it is not installed.
    """
    if isinstance(out, Storage):
        return out
    if not is_url(out):
        return LocalStorage(Path(out))
    return ObjectStorage(str(out))


def is_url(out: str | Path) -> bool:
    """Whether it is a URL and no path."""
    return isinstance(out, str) and "://" in out


class LocalStorage(Storage):
    """A folder; made when something is put."""

    root: Path

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def write(self, files: Mapping[str, bytes]) -> None:
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(exist_ok=True)
            write_bytes_atomic(path, content)

    def exists(self, name: str) -> bool:
        return (self.root / name).is_file()

    def names(self, folder: str = "") -> Iterator[str]:
        path = self.root / folder
        return (child.name for child in path.iterdir()) if path.is_dir() else iter(())

    def remove(self, names: Iterable[str]) -> None:
        if not self.root.is_dir():
            return
        for name in names:
            path = self.root / name
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                for one in (path, path.with_name(f".{path.name}.tmp")):
                    one.unlink(missing_ok=True)
        if list(self.names()) in ([], [LOCK]):
            (self.root / LOCK).unlink(missing_ok=True)
            self.root.rmdir()

    def prepare(self, folders: Iterable[str]) -> None:
        for folder in (self.root, *(self.root / name for name in folders)):
            folder.mkdir(exist_ok=True)
        for folder in (self.root, *(path for path in self.root.iterdir() if path.is_dir())):
            for leftover in folder.glob(".*.tmp"):
                leftover.unlink()

    def check_writable(self) -> None:
        parent = self.root
        while not parent.exists() and not parent.is_symlink():
            parent = parent.parent
        if not parent.is_dir():
            raise InputError(f"cannot write {self}: {parent} is not a folder")
        if not os.access(parent, os.W_OK | os.X_OK):
            raise InputError(f"cannot write {self}: no permission to write in {parent}")

    @contextmanager
    def hold(self) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"another process is writing {self}") from None
        try:
            yield
        finally:
            lock.release()

    def beside(self, suffix: str) -> Storage:
        return LocalStorage(self.root.with_name(self.root.name + suffix))


class ObjectStorage(Storage):
    """Objects below a URL. One PUT makes an object whole, so nothing is renamed.

    Args:
        url: that fsspec knows; run against an S3-compatible server, and no other kind of store.
        lease_seconds: how long a writer may be silent before another one takes over.
    """

    root: str
    at_once = 16

    def __init__(self, url: str, lease_seconds: float = 20.0) -> None:
        self.root = url.rstrip("/")
        self._lease_seconds = lease_seconds
        self._lease: Lease | None = None
        self._held: set[str] | None = None  # all names, while this process is the writer
        fsspec = require("fsspec", "scale")
        try:
            self._fs, self._base = fsspec.core.url_to_fs(self.root, use_listings_cache=False)
        except ImportError as error:
            raise MissingExtra(f"{error}: {how_to_install('scale')}") from error
        except ValueError as error:
            raise InputError(f"cannot write {self}: {error}") from error

    def read(self, name: str) -> bytes:
        if not self._may_exist(name):
            raise FileNotFoundError(f"{self}/{name}")
        return bytes(self._fs.cat_file(self._path(name)))

    def read_each(self, names: Iterable[str]) -> Iterator[bytes | None]:
        wanted = list(names)
        for start in range(0, len(wanted), _READ_AT_ONCE):
            names = wanted[start : start + _READ_AT_ONCE]
            there = [self._path(name) for name in names if self._may_exist(name)]
            found = self._fs.cat(there, on_error="return") if there else {}
            for name in names:
                content = found.get(self._path(name))
                if isinstance(content, BaseException):
                    if not isinstance(content, FileNotFoundError):
                        raise content
                    content = None
                yield content

    def write(self, files: Mapping[str, bytes]) -> None:
        if self._lease is not None:
            self._lease.check()
        self._fs.pipe({self._path(name): content for name, content in files.items()})
        if self._held is not None:
            self._held.update(files)

    def exists(self, name: str) -> bool:
        if self._held is not None:
            return name in self._held
        return bool(self._fs.isfile(self._path(name)))

    def names(self, folder: str = "") -> Iterator[str]:
        path = self._path(folder).rstrip("/")
        try:
            found = self._fs.ls(path, detail=False, refresh=True)
        except FileNotFoundError:
            return iter(())
        return (path.rstrip("/").rpartition("/")[2] for path in found)

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            path = self._path(name)
            try:
                self._fs.rm(path, recursive=True)
            except FileNotFoundError:
                continue
            if self._held is not None:
                self._held -= {one for one in self._held if f"{one}/".startswith(f"{name}/")}

    def prepare(self, folders: Iterable[str]) -> None:
        """Nothing: there are no folders and no temporary names."""

    def check_writable(self) -> None:
        """Reads only; a store that cannot be written is found out when the lease is taken."""
        bucket = self._base.split("/")[0]
        try:
            self._fs.ls(bucket, detail=False, refresh=True)
        except Exception as error:  # each kind of store has errors of its own
            text = " ".join(str(error).split())
            raise InputError(
                f"cannot write {self}: {bucket} cannot be listed ({type(error).__name__}: {text})"
            ) from error

    @contextmanager
    def hold(self) -> Iterator[None]:
        with Lease(self._fs, self._path(LOCK), str(self), self._lease_seconds) as self._lease:
            start = len(self._base) + 1
            try:
                self._held = {path[start:] for path in self._fs.find(self._base, refresh=True)}
                yield
            finally:
                self._held = self._lease = None

    def beside(self, suffix: str) -> Storage:
        return ObjectStorage(self.root + suffix, self._lease_seconds)

    def _may_exist(self, name: str) -> bool:
        return self._held is None or name in self._held

    def _path(self, name: str) -> str:
        return f"{self._base}/{name}"
