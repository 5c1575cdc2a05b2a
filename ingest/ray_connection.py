"""Finds or starts a Ray cluster and says how many workers fit. Knows nothing about files or what workers do.

Ray is an extra and imported only here, when it is asked for. A cluster started here listens on the loopback address
alone: whoever reaches a Ray port runs code as its user (CVE-2023-48022 and later).
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from knowledge.errors import GakjuError

CPUS_EACH = 2  # one embeds while the other reads and analyses
_REACH_S = 5.0
_WORDS = ("", "auto", "local")


def connect(address: str) -> Any:
    """The `ray` module, connected. `address`: "host:port" of a head, "auto" for one that runs here; "" starts one if
    none does, "local" always.

    Raises:
        GakjuError: Ray is not installed, or no cluster answers.
    """
    if address.startswith("ray://"):
        raise GakjuError(
            f"{address} is a Ray Client address; documents are spread from a machine of the cluster itself.",
            hint="Run `ray start --address=HEAD:6379` on this machine, then `gakju ingest add --ray auto …`.",
        )
    address = _with_a_cluster(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address in ("", "local"):
        # Ray's switch between all interfaces and loopback, read when it is imported. Joining a running cluster works too.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError as exc:
        raise GakjuError(
            "Ray is not installed.", hint="Run `pip install 'ray>=2.60'` here and on every machine of the cluster."
        ) from exc
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        with _signals_kept():
            ray.init(
                address=address or None,
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
            )
    except (OSError, RuntimeError, ValueError, AssertionError, ray.exceptions.RayError) as exc:
        cause = (str(exc).strip().splitlines() or [type(exc).__name__])[0]
        raise _no_cluster(address, cause) from exc
    return ray


def _with_a_cluster(address: str) -> str:
    """`address`, or "local" for "" where no cluster answers. Ray itself would try for minutes and then end this process."""
    if address not in _WORDS:
        _check_reachable(address)
    elif address != "local" and (known := _known_here()) not in _WORDS:
        try:
            _check_reachable(known)
        except GakjuError:
            if address == "auto":
                raise
            return "local"  # it ended without `ray stop`
    return address


def _known_here() -> str:
    """Address of the cluster that `ray start` noted on this machine, running or not; "" if there is none."""
    note = Path(os.environ.get("RAY_TMPDIR") or "/tmp", "ray", "ray_current_cluster")  # noqa: S108 - Ray's own place
    try:
        return os.environ.get("RAY_ADDRESS") or note.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _check_reachable(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise GakjuError(
            f"--ray {address}: expected the address of a cluster's head, such as 10.0.0.1:6379, or auto.",
            hint="Write --ray after the paths, which starts a cluster on this machine, or --ray=ADDRESS.",
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACH_S).close()
    except (OSError, OverflowError) as exc:
        raise _no_cluster(address, str(exc)) from exc


def _no_cluster(address: str, cause: str) -> GakjuError:
    return GakjuError(
        f"Cannot use the Ray cluster {address or 'of this machine'}: {cause.rstrip('.')}.",
        hint="Start one with `ray start --head`, join it with `ray start --address=HEAD:6379`, and run this on one of its "
        "machines with the same Python and Ray, and the cluster's token.",
    )


def disconnect(ray: Any) -> None:
    """Ends a cluster that was started here; one that ran before goes on."""
    with _signals_kept():
        ray.shutdown()


def seats_and_cpus(ray: Any, workers: int | None) -> tuple[int, int]:
    """How many workers, and processors each. None: as many as have CPUS_EACH, at least one a machine.

    Raises:
        GakjuError: more than there are processors.
    """
    machines = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    machines = [cpus for cpus in machines if cpus]
    if workers is None:
        wide = all(cpus >= CPUS_EACH for cpus in machines)
        workers = sum(max(1, cpus // CPUS_EACH) for cpus in machines)
    else:
        wide = workers <= sum(cpus // CPUS_EACH for cpus in machines)
    if not machines or workers > sum(machines):
        raise GakjuError(
            f"{max(1, workers)} Ray workers need as many processors, the cluster has {sum(machines)}.",
            hint="Ask for fewer workers, or add machines with `ray start --address=HEAD:6379`.",
        )
    return workers, CPUS_EACH if wide else 1


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes SIGTERM over; how this program ends is its own affair."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
