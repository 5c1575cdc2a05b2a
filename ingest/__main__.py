"""`python -m ingest COMMAND …` is `gakju ingest COMMAND …`."""

import sys

from app import main

if __name__ == "__main__":
    sys.exit(main(["ingest", *sys.argv[1:]]))
