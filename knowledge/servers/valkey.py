"""The embedded Valkey (Redis protocol): its options, its traces, a damaged log. Knows nothing of conversations."""

from __future__ import annotations

import logging
import shutil
import signal
import time
from pathlib import Path
from urllib.parse import quote

from .places import Place
from .probes import Answer, ask_valkey
from .supervisor import Runner

_LOG = logging.getLogger(__name__)
_OPTIONS = {
    "port": "0",  # nothing on TCP
    "unixsocketperm": "700",
    "daemonize": "no",
    "appendonly": "yes",
    "appendfsync": "always",  # a turn that was acknowledged survives a power cut; everysec may lose a second
    "aof-load-truncated": "yes",
    "save": "",  # the append-only file is the one copy on disk
    "maxmemory-policy": "noeviction",
}


class Valkey:
    """The `Program` of Valkey."""

    title = "Valkey"
    process_names: tuple[str, ...] = ("valkey-server", "valkey-check-ao")  # the kernel keeps 15 bytes of a name
    orphan_titles: tuple[bytes, ...] = (
        b"valkey-aof-rewrite",
        b"valkey-rdb-bgsave",
        b"redis-aof-rewrite",
        b"redis-rdb-bgsave",
    )
    stop_signals: tuple[tuple[signal.Signals, float], ...] = (
        (signal.SIGTERM, 30.0),
        (signal.SIGKILL, 10.0),
    )  # SIGTERM writes and syncs the log first

    def __init__(self, place: Place) -> None:
        self.place = place
        self._socket = place.run / "valkey.sock"
        self._log_is_damaged = False

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self._socket))}?db=0"

    @property
    def pid_file(self) -> Path:
        return self.place.run / "valkey.pid"

    def probe(self, *, timeout_s: float) -> Answer:
        return ask_valkey(self._socket, timeout_s=timeout_s)

    def command(self) -> list[str]:
        place = self.place
        options = {
            **_OPTIONS,
            "dir": str(place.data),
            "unixsocket": str(self._socket),
            "pidfile": str(self.pid_file),
        }
        flags = [part for name, value in options.items() for part in (f"--{name}", value)]
        return [str(place.program), *flags]

    def prepare(self, runner: Runner) -> None:
        """No process is left, so the socket is stale: a server would otherwise take over even a live one's."""
        self._socket.unlink(missing_ok=True)
        self.pid_file.unlink(missing_ok=True)
        self.place.data.mkdir(exist_ok=True)
        self.place.account.own_tree(self.place.data)
        self.place.account.own(self.place.data)
        if self._log_is_damaged:
            self._log_is_damaged = False
            self._mend(runner)

    def repair(self, log_tail: str) -> bool:
        """A cut-off end loads anyway; other damage, as a power cut may leave, is mended at the next start."""
        self._log_is_damaged = "Bad file format reading the append only file" in log_tail
        return self._log_is_damaged

    def _mend(self, runner: Runner) -> None:
        """Keeps a copy, then lets Valkey's own checker (the same program under another name) cut the damaged end.

        Of the newest file alone: given the manifest, the checker of Valkey 9.1 takes the base file, an RDB with
        Valkey's own magic, for a damaged text file and gives up.
        """
        folder = self.place.data / "appendonlydir"
        kept = self.place.base / f"damaged-{time.strftime('%Y%m%d-%H%M%S')}"
        shutil.copytree(folder, kept, dirs_exist_ok=True)
        checker = self.place.run / "valkey-check-aof"
        checker.unlink(missing_ok=True)
        checker.symlink_to(self.place.program)
        newest = folder / _newest_file((folder / "appendonly.aof.manifest").read_text())
        runner.run([str(checker), "--fix", str(newest)], what="Mending Valkey's append-only file", stdin=b"y\n")
        _LOG.warning("Valkey's append-only file was damaged; its end was cut off, the original is kept in %s", kept)


def _newest_file(manifest: str) -> str:
    """The last one listed; lines are `file NAME seq N type b|h|i`."""
    return manifest.strip().splitlines()[-1].split()[1].strip('"')
