"""A small disk of our own: an ext4 image on a loop device, whose power can be cut, or a tmpfs that can be filled.

Cutting the power is `EXT4_IOC_SHUTDOWN` without flushing the log: the file system stops at once, what it had not written is lost, and the
next mount replays its journal as a machine does after a reboot.  Needs root and mount(2); elsewhere the tests that ask for it are skipped.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import time
from pathlib import Path
from types import TracebackType

from crash.report import Skip

_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN
_WITHOUT_LOG_FLUSH = 2


def _run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True)


def able() -> None:
    """Raise `Skip` where nothing can be mounted."""
    if os.name != "posix" or not hasattr(os, "geteuid") or os.geteuid() != 0:
        raise Skip("needs root to mount a disk image")
    for tool in ("mkfs.ext4", "mount", "umount"):
        if shutil.which(tool) is None:
            raise Skip(f"{tool} is not installed")


class Volume:
    """A mounted file system of `size` MiB in `scratch`.  `kind`: "ext4" (power can be cut) or "tmpfs"."""

    def __init__(self, scratch: Path, *, size: int = 96, kind: str = "ext4", options: str = "commit=1") -> None:
        self.scratch, self.size, self.kind, self.options = scratch, size, kind, options
        self.image, self.path = scratch / "disk.img", scratch / "disk"
        self._mounted = False

    def __enter__(self) -> Volume:
        able()
        self.path.mkdir(parents=True, exist_ok=True)
        if self.kind == "ext4":
            with open(self.image, "wb") as file:
                file.truncate(self.size << 20)
            made = _run("mkfs.ext4", "-q", "-F", str(self.image))
            if made.returncode:
                raise Skip(f"mkfs.ext4 failed: {made.stderr.strip()}")
        self._mount(first=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._unmount()
        self.image.unlink(missing_ok=True)

    def _mount(self, *, first: bool = False) -> None:
        if self.kind == "ext4":
            done = _run("mount", "-o", f"loop,{self.options}", str(self.image), str(self.path))
        else:
            done = _run("mount", "-t", "tmpfs", "-o", f"size={self.size}m", "tmpfs", str(self.path))
        if done.returncode:
            words = done.stderr.strip() or f"mount failed with {done.returncode}"
            raise Skip(f"cannot mount here: {words}") if first else RuntimeError(words)
        self._mounted = True

    def _unmount(self) -> None:
        if not self._mounted:
            return
        words = ""
        for _ in range(50):
            done = _run("umount", str(self.path))
            if done.returncode == 0:
                self._mounted = False
                return
            words = done.stderr.strip()
            time.sleep(0.1)  # a dying program may hold it a moment longer
        raise RuntimeError(f"cannot unmount {self.path}: {words}")

    def cut_power(self) -> None:
        """From this instant nothing reaches the disk.  Programs on it see I/O errors until they are killed."""
        fd = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", _WITHOUT_LOG_FLUSH))
        except OSError as error:
            raise Skip(f"this kernel's ext4 cannot be shut down: {error}") from None
        finally:
            os.close(fd)

    def reboot(self) -> None:
        """Unmount and mount again: the file system replays its journal."""
        self._unmount()
        self._mount()

    def wipe(self, name: str) -> None:
        """Remove a directory for good: the removal itself survives the next cut."""
        shutil.rmtree(self.path / name, ignore_errors=True)
        subprocess.run(["sync", "-f", str(self.path)], check=True)

    def fill(self, keep: int = 0) -> int:
        """Fill the file system with one file until `keep` bytes are left.  Returns the size of that file."""
        filler, block, size = self.path / "filler", b"\0" * (1 << 16), 0
        fd = os.open(filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            while True:
                free = os.statvfs(self.path)
                left = free.f_bavail * free.f_frsize - keep
                if left <= 0:
                    break
                size += os.write(fd, block[: min(len(block), max(left, 512))])
        except OSError:
            pass  # full
        finally:
            os.close(fd)
        return size

    def free(self) -> None:
        (self.path / "filler").unlink(missing_ok=True)
