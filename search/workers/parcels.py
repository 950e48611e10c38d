"""What travels to nodes without the launch's folder of results: files under their digest, verified, kept for reuse.

A node holds each once: whoever needs it first fetches it, the others wait and map the same files. It stays for later
searches; what nobody uses goes, the least recently used first, where there is no room.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import IO

from search.errors import SearchError
from search.training.node import boot_of
from search.training.shelf import LOCK, USERS, drop, locked, make_room, use
from studies.errors import NotWrittenError
from studies.files import naming

PIECE = 8 * 2**20
"""Bytes that travel at once: of each node one piece is on its way, however many workers it has."""
MOST = 50 * 2**30
"""Bytes that a node keeps; and no more than half of its free disk."""
_FILES, _VERIFIED = "files", "verified"

Read = Callable[[str, int], bytes]
"""Name of a file, where to begin -> at most ``PIECE`` bytes."""


class NotAsSentError(SearchError):
    """What came is not what was sent; the message names the file."""


@dataclass(frozen=True)
class Parcel:
    """Files that belong together: those of a folder, or one.

    Attributes:
        files: (name, bytes, sha256) of each.
    """

    files: tuple[tuple[str, int, str], ...]

    @classmethod
    def of(cls, path: Path) -> "Parcel":
        """The plain files of a folder, without what others are writing there now; or a file."""
        files = [path] if path.is_file() else sorted(file for file in path.iterdir() if file.is_file())
        return cls(tuple((file.name, file.stat().st_size, sha256_of(file)) for file in files if file.name[0] != "."))

    @property
    def digest(self) -> str:
        """Of all of it."""
        return sha256(repr(self.files).encode()).hexdigest()

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(size for _, size, _ in self.files)


class Copies:
    """What this node keeps of parcels."""

    def __init__(self, shelf: Path, most: int = MOST) -> None:
        """``shelf`` is their folder, ``most`` the bytes that they may take together."""
        self._shelf = shelf
        self._most = most
        self._users: list[IO[bytes]] = []  # held open: their locks say that what this process maps is in use

    def folder(self, parcel: Parcel, read: Read) -> Path:
        """Where the files of a parcel lie on this node, fetched where they are not yet; they stay with this process.

        Raises:
            NotWrittenError: there is no room for them.
            NotAsSentError: what came is not what was sent.
            OSError: nothing may be written there.
        """
        entry = self._shelf / parcel.digest
        self._shelf.mkdir(parents=True, exist_ok=True)
        with locked(self._shelf / LOCK):
            if not _is_verified(entry, parcel):
                self._fetch(entry, parcel, read)
            os.utime(entry / USERS)  # the least recently used one is the first to go
            self._users.append(use(entry))
        return entry / _FILES

    def close(self) -> None:
        """Lets go of them."""
        while self._users:
            self._users.pop().close()

    def _fetch(self, entry: Path, parcel: Parcel, read: Read) -> None:
        draft = self._shelf / ".part"  # whoever fetches is alone
        shutil.rmtree(draft, ignore_errors=True)
        if not drop(entry):
            raise NotAsSentError(
                f"{entry} on {os.uname().nodename} is not as it was fetched, and another process uses it: it is "
                "fetched again once that has ended"
            )
        if not self._make_room(parcel.size):
            raise NotWrittenError(
                f"{self._shelf} on {os.uname().nodename} has no room for the {parcel.size / 2**30:.1f} GB that "
                "workers need: make room, or name another folder by $HISTOTUNE_NODE_FOLDER"
            )
        (draft / _FILES).mkdir(parents=True)
        try:
            with naming(draft):
                for name, size, digest in parcel.files:
                    _write(draft / _FILES / name, size, digest, read)
                (draft / USERS).touch()
                (draft / _VERIFIED).write_text(_state(draft, parcel))
            draft.replace(entry)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _make_room(self, size: int) -> bool:
        if size > shutil.disk_usage(self._shelf).free // 2:
            return False
        entries = sorted(self._shelf.glob(f"*/{USERS}"), key=lambda users: users.stat().st_mtime)
        return make_room({users.parent: _size(users.parent) for users in entries}, size, self._most)


def _write(path: Path, size: int, digest: str, read: Read) -> None:
    """A file, piece by piece, on the disk when it returns."""
    found = sha256()
    with path.open("wb") as file:
        while file.tell() < size:
            piece = read(path.name, file.tell())
            if not piece:
                break
            found.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    if found.hexdigest() != digest:
        raise NotAsSentError(f"{path.name} came with sha256 {found.hexdigest()[:12]}; expected {digest[:12]}")


def _is_verified(entry: Path, parcel: Parcel) -> bool:
    """Whether the files are what they were; read again once after each start of the machine, and after a change."""
    note = entry / _VERIFIED
    try:
        state = _state(entry, parcel)
        if note.read_text() == state:
            return True
        if any(sha256_of(entry / _FILES / name) != digest for name, _, digest in parcel.files):
            return False
        note.write_text(state)
    except OSError:
        return False
    return True


def _state(entry: Path, parcel: Parcel) -> str:
    """Which start of the machine this is, and when the files were last written to."""
    found = [(entry / _FILES / name).stat() for name, _, _ in parcel.files]
    return "\n".join([boot_of(), *(f"{one.st_size} {one.st_mtime_ns} {one.st_ctime_ns}" for one in found)])


def sha256_of(path: Path) -> str:
    """Of a file."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _size(entry: Path) -> int:
    return sum(file.stat().st_size for file in (entry / _FILES).glob("*"))
