"""`python -m ingest PATH…` is `gakju ingest PATH…`."""

import sys

from app import main

if __name__ == "__main__":
    sys.exit(main(["ingest", *sys.argv[1:]]))
