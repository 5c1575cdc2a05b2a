"""The `gakju` command: app.main, whose imports take seconds and may be interrupted as quietly as the rest."""

from __future__ import annotations

import sys


def main() -> int:
    try:
        from app import main as run

        return run()
    except KeyboardInterrupt:
        print("\ngakju: stopped.", file=sys.stderr)
        return 130
