"""Runs one parser script under limits; started by `sandbox` as a program of its own, never imported.

Arguments: script, memory limit in bytes, processor time limit in seconds, output limit in bytes.
"""

from __future__ import annotations

import runpy
import sys


def _limit(memory_bytes: int, cpu_s: int, output_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # not on Windows; the parent's time limit still holds there
        return
    limits = ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_CPU, cpu_s), (resource.RLIMIT_FSIZE, output_bytes))
    for kind, value in (*limits, (resource.RLIMIT_CORE, 0)):
        try:
            resource.setrlimit(kind, (value, value))
        except (ValueError, OSError):  # macOS refuses some of them
            continue


if __name__ == "__main__":
    script, memory, cpu, output = sys.argv[1:5]
    _limit(int(memory), int(cpu), int(output))
    runpy.run_path(script, run_name="__main__")
