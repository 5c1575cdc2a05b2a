"""Verifies a generation of the index: recomputes what follows from what, compares counts, and makes its digest.

`run` goes over everything once; `digest`, `documents`, `counts` and `files` each know one thing to compute or compare.
Reads no files: see ingest/disk.py for how the index differs from what lies on disk now.
"""

from knowledge.verification.digest import NOTHING
from knowledge.verification.documents import Problem
from knowledge.verification.files import StoredFile, stored_files
from knowledge.verification.run import Verification, verify

__all__ = ["NOTHING", "Problem", "StoredFile", "Verification", "stored_files", "verify"]
