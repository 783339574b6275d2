"""An archive's folder on any file system; translates the file system's errors."""

from __future__ import annotations

import os
import posixpath
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from stat import S_IMODE
from tempfile import TemporaryDirectory

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from tasks.archive.paths import TEMPORARY
from tasks.errors import ArchiveError
from tasks.settings import located

_OF_A_FILE = 0o666
"""The permissions of a folder that a file can have too: to read and to write."""

PROBE = f".probe.{0:032x}{TEMPORARY}"
"""The object by which a store is probed: a temporary file, so that it is pruned in the end."""

OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"})
"""Kinds of URL where objects appear whole and folders need not be created."""


def check_writable(archive_url: str) -> str | None:
    """Check before a run that its report can be stored; leave nothing behind.

    Returns:
        Why the store removes nothing, where it does not; a run needs no removal.

    Raises:
        ArchiveError: an unknown kind of URL, a file in the way, or no permission.
    """
    return Folder.at(archive_url).probe()


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder on a file system, whose errors it translates; paths are relative to the folder."""

    url: str
    system: fsspec.AbstractFileSystem
    root: str

    @classmethod
    def at(cls, url: str) -> Folder:
        """Take the folder at a path or an fsspec URL; it need not exist yet."""
        with _translated(url, "reached"):
            system, root = url_to_fs(located(url))
        return cls(url, system, root.rstrip("/"))

    def address(self, path: str) -> str:
        """Give a file's full address, for people and other programs."""
        return str(self.system.unstrip_protocol(self._full(path)))

    def holds(self, path: str) -> bool:
        """Whether the file exists."""
        with _translated(self.url):
            return bool(self.system.exists(self._full(path)))

    def read(self, paths: Sequence[str]) -> Mapping[str, bytes]:
        """Read files, many at once if the file system can; missing ones are left out."""
        read: dict[str, bytes] = {}
        with _translated(self.url):
            full = [self._full(path) for path in paths]
            for path, content in (self.system.cat(full, on_error="return") if full else {}).items():
                if isinstance(content, bytes):
                    read[self._relative(path)] = content
                elif not isinstance(content, FileNotFoundError):
                    raise content
        return read

    def read_inside(self, path: str) -> bytes | None:
        """Read a file; None if it is missing, or a link to outside the archive."""
        with _translated(self.url):
            if self._is_local:
                file, root = Path(self._full(path)), Path(self.root).resolve()
                if not (file.is_file() and file.resolve().is_relative_to(root)):
                    return None
            try:
                return bytes(self.system.cat_file(self._full(path)))
            except FileNotFoundError:
                return None

    def listed(self) -> list[str]:
        """List every file."""
        with _translated(self.url):
            # A store's client caches listings, even of folders that others were still writing.
            self.system.invalidate_cache()
            found = self._walked() if self._is_local else self.system.find(self.root)
            return sorted(map(self._relative, found))

    def changed_at(self, path: str) -> datetime | None:
        """Give the time when a file was written, aware UTC; None if it is gone or unknown."""
        with _translated(self.url), suppress(FileNotFoundError, NotImplementedError):
            written: datetime = self.system.modified(self._full(path))
            return written.astimezone(UTC) if written.tzinfo else written.replace(tzinfo=UTC)
        return None

    def write(self, path: str, content: bytes) -> None:
        """Write a file so that readers never see a part of it."""
        target = self._full(path)
        with _translated(self.url, "written"):
            if self._is_store:
                self._put(target, content)
                return
            temporary = f"{target}.{uuid.uuid4().hex}{TEMPORARY}"
            self._make(posixpath.dirname(target))
            self.system.pipe_file(temporary, content)
            self._share(temporary)
            self.system.mv(temporary, target)

    def remove(self, path: str) -> None:
        """Remove a file, if it still exists, and folders that are empty afterwards."""
        with _translated(self.url, "written"), suppress(FileNotFoundError):
            self.system.rm_file(self._full(path))
        folder = "" if self._is_store else posixpath.dirname(path)
        # Another process may be writing into a folder, or removing it too.
        with _translated(self.url, "written"), suppress(OSError):
            while (
                folder
                and self.system.isdir(self._full(folder))
                and not self.system.ls(self._full(folder), detail=False)
            ):
                self.system.rmdir(self._full(folder))
                folder = posixpath.dirname(folder)

    def probe(self) -> str | None:
        """Try all that a run needs, and leave nothing behind if that is allowed.

        A store must take an object and a second version of it, and let it be read and listed. A
        file is written into the archive's folder, or into the nearest existing one above.

        Returns:
            Why a store removes nothing; None if it does. Runs need no removal, pruning does.

        Raises:
            ArchiveError: with the missing permission.
        """
        if self._is_store:
            return self._probe_store()
        self._probe_folder()
        return None

    def _probe_store(self) -> str | None:
        # Always the same object: where it cannot be removed, every probe would leave another.
        target = self._full(PROBE)
        for wanted in ("written", "overwritten"):
            with _translated(self.url, wanted):
                self._put(target, wanted.encode())
        # Another probe may have removed it meanwhile.
        with _translated(self.url), suppress(FileNotFoundError):
            self.system.cat_file(target)
        with _translated(self.url, "listed"):
            self.system.invalidate_cache()
            self.system.find(target)
        try:
            with _translated(self.url, "pruned"), suppress(FileNotFoundError):
                self.system.rm_file(target)
        except ArchiveError as refused:
            return refused.problem
        return None

    def _probe_folder(self) -> None:
        folder = self.root
        with _translated(self.url, "written"):
            while not self.system.exists(folder) and folder not in {"", "/"}:
                folder = posixpath.dirname(folder)
            if not self.system.isdir(folder or "/"):
                raise NotADirectoryError(f"{folder} is a file")
            temporary = f"{folder}/.{uuid.uuid4().hex}{TEMPORARY}"
            self.system.pipe_file(temporary, b"")
            self.system.rm_file(temporary)

    def _make(self, folder: str) -> None:
        """Create a folder, and those above it, unless it exists."""
        if self.system.isdir(folder):
            return
        if folder == self.root:
            self.system.makedirs(folder, exist_ok=True)
            return
        self._make(posixpath.dirname(folder))
        self.system.makedirs(folder, exist_ok=True)
        self._share(folder)

    def _share(self, path: str) -> None:
        """Give a new local file or folder the permissions of the archive's own folder.

        The umask has closed it to other users. A folder that was made for a group or for everybody
        stays shared in this way, with all that is written into it.
        """
        if not self._is_local:
            return
        made, allowed = Path(path), S_IMODE(Path(self.root).stat().st_mode)
        wanted = allowed if made.is_dir() else allowed & _OF_A_FILE
        if S_IMODE(made.stat().st_mode) != wanted:  # Some file systems refuse every change.
            made.chmod(wanted)

    def _walked(self) -> Iterator[str]:
        """List every file in a local folder: `find` is slow, because it reads all attributes."""
        folders = [self.root]
        while folders:
            # A folder may not exist yet, or may have been removed meanwhile.
            with suppress(FileNotFoundError), os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        yield entry.path

    @property
    def _is_local(self) -> bool:
        return isinstance(self.system, LocalFileSystem)

    @property
    def _is_store(self) -> bool:
        return self.url.partition("://")[0] in OBJECT_STORES

    def _put(self, target: str, content: bytes) -> None:
        """Upload an object from a file with its name, from which the store takes the type.

        A browser would download an object without a type instead of showing it.
        """
        with TemporaryDirectory() as folder:
            file = Path(folder, posixpath.basename(target))
            file.write_bytes(content)
            self.system.put_file(str(file), target)

    def _full(self, path: str) -> str:
        return f"{self.root}/{path}"

    def _relative(self, path: str) -> str:
        return path.removeprefix(f"{self.root}/")


@contextmanager
def _translated(url: str, wanted: str = "read") -> Iterator[None]:
    """Turn the errors of an archive's file system into ours."""
    try:
        yield
    except (ValueError, ImportError) as error:
        raise ArchiveError(
            f"{url}: no archive can be kept there: {error}.",
            "Name a folder, or a URL that fsspec knows and whose package is installed.",
        ) from error
    except Exception as error:  # Every kind of file system has its own errors.
        raise ArchiveError(
            f"The archive {url} cannot be {wanted}: {getattr(error, 'strerror', None) or error}.",
            "Check that it is reachable and that the worker may read and write there, or correct "
            "`archive_url`.",
        ) from error
