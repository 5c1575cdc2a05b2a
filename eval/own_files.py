"""The folder of a person's own questions: what is in it, and how it survives being stopped at any moment.

    set.json         which collection, seed and languages; who wrote the questions
    passages.jsonl   a line a question: the passage that answers it, quoted, with document and place. Lines are only added
    refused.jsonl    passages that gave no question, and why. Lines are only added
    questions.csv    for people: what stands there in `question` and `keep` counts (own_sheet.py)
    queries.jsonl, qrels.tsv   the questions that count in BEIR's layout, written anew whenever they are asked

Passages are known by document, place and their text, never by a chunk's id: documents may be chunked anew. A line that was
cut off by a kill is taken away. Knows nothing about models or search.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from eval.beir import SetError

MANIFEST, PASSAGES, REFUSED, SHEET = "set.json", "passages.jsonl", "refused.jsonl", "questions.csv"
VERSION = 1

Key = tuple[str, int, int]  # path, start, end


@dataclass(frozen=True, slots=True)
class Plan:
    """What must stay the same for a set to be gone on with. `writer`: "model" or "people"."""

    collection: str
    seed: int
    language: str
    writer: str


@dataclass(frozen=True, slots=True)
class Other:
    """Another chunk of the collection that answers a question, and its words that do."""

    path: str
    start: int
    end: int
    passage: str
    quote: str


@dataclass(frozen=True, slots=True)
class Row:
    """A question with what answers it. `question`: "" where a person is to write it. `quote`: the words of the answer.

    `also`: where else the answer stood when the question was made.
    """

    id: str
    question: str
    path: str
    start: int
    end: int
    passage: str
    where: str  # title › heading (p. 3), for people
    language: str  # of the passage
    ask_in: str
    kind: str
    quote: str = ""
    also: tuple[Other, ...] = field(default=())

    @property
    def key(self) -> Key:
        return self.path, self.start, self.end


class SetFolder:
    """The folder's own lines, which the program alone writes; `create` or `open` it.

    `in_sheet`: how many of `rows` were put before people, who may have taken some of them out again.
    """

    def __init__(self, folder: Path, plan: Plan, *, in_sheet: int = 0) -> None:
        self.folder = folder
        self.plan = plan
        self.in_sheet = in_sheet
        self.rows = [_row(data, folder) for data in _lines(folder / PASSAGES)]
        refused = list(_lines(folder / REFUSED))
        try:
            self.refused = [str(data["reason"]) for data in refused]
            self._refused_keys = {(data["path"], data["start"], data["end"]) for data in refused}
        except KeyError as exc:
            raise SetError(f"{folder / REFUSED} has a line without {exc}.") from exc

    @classmethod
    def create(cls, folder: Path, plan: Plan) -> SetFolder:
        """A new one, or the one that is there if it was begun in the same way.

        Raises:
            SetError: it cannot be written, or was begun otherwise.
        """
        if any(place.exists() and not place.is_dir() for place in (folder, *folder.parents)):
            raise SetError(f"{folder} is not a folder, or lies in none; name a new or empty folder.")
        manifest = folder / MANIFEST
        if manifest.exists():
            opened = cls.open(folder)
            different = [
                f"{name} {value!r}" for name, value in asdict(opened.plan).items() if value != getattr(plan, name)
            ]
            if different:
                raise SetError(
                    f"{folder} holds a set that was begun with {', '.join(different)}; go on with the same or choose another "
                    "folder."
                )
        else:
            if folder.is_dir() and any(folder.iterdir()):
                raise SetError(f"{folder} holds other files; name a new or empty folder.")
            cls(folder, plan).note_in_sheet()
        for name in (PASSAGES, REFUSED):
            _cut_torn_line(folder / name)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> SetFolder:
        """Raises:
        SetError: `folder` is none, or something in it is broken.
        """
        if folder.exists() and not folder.is_dir():
            raise SetError(f"{folder} is not a folder, as `gakju eval new-set` makes it.")
        if not folder.is_dir():
            raise SetError(f"There is no folder {folder}; `gakju eval new-set {folder}` makes it a set.")
        manifest = folder / MANIFEST
        if not manifest.is_file():
            raise SetError(f"{folder} is no set of your own: it has no {MANIFEST}, which `gakju eval new-set` writes.")
        try:
            data = json.loads(manifest.read_text(encoding="utf-8"))
            if data["version"] != VERSION:
                raise SetError(f"{manifest} is of version {data['version']}; this program knows {VERSION}.")
            plan = Plan(str(data["collection"]), int(data["seed"]), str(data["language"]), str(data["writer"]))
        except (ValueError, KeyError, TypeError) as exc:
            raise SetError(f"{manifest} is not what `gakju eval new-set` wrote.") from exc
        except OSError as exc:
            raise SetError(f"{manifest} cannot be read: {exc.strerror}.") from exc
        return cls(folder, plan, in_sheet=int(data.get("in_sheet", 0)))

    @property
    def tried(self) -> set[Key]:
        return self._refused_keys | {row.key for row in self.rows}

    def next_id(self) -> str:
        return f"q{len(self.rows) + 1:04d}"

    def note_in_sheet(self) -> None:
        self.in_sheet = len(self.rows)
        data = {"version": VERSION, **asdict(self.plan), "in_sheet": self.in_sheet}
        write(self.folder / MANIFEST, json.dumps(data, indent=1, ensure_ascii=False) + "\n")

    def add(self, row: Row) -> None:
        self.rows.append(row)
        _append(self.folder / PASSAGES, asdict(row))

    def refuse(self, key: Key, reason: str, question: str) -> None:
        self.refused.append(reason)
        self._refused_keys.add(key)
        path, start, end = key
        _append(
            self.folder / REFUSED, {"path": path, "start": start, "end": end, "reason": reason, "question": question}
        )


def write_beir(folder: Path, questions: Sequence[Mapping[str, Any]], relevant: Mapping[str, str]) -> None:
    """queries.jsonl and qrels.tsv: `relevant` is question id → id of what answers it in run files."""
    lines = [json.dumps(question, ensure_ascii=False) for question in questions]
    write(folder / "queries.jsonl", "".join(f"{line}\n" for line in lines))
    judged = [f"{question}\t{answer}\t1\n" for question, answer in relevant.items()]
    write(folder / "qrels.tsv", "query-id\tcorpus-id\tscore\n" + "".join(judged))


def write(file: Path, text: str, *, encoding: str = "utf-8") -> None:
    """All or nothing.

    Raises:
        SetError: it cannot be written.
    """
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("w", encoding=encoding, newline="") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        beside.replace(file)
    except OSError as exc:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise SetError(f"{file} cannot be written: {exc.strerror}.") from exc


def _append(file: Path, data: Mapping[str, Any]) -> None:
    try:
        with file.open("a", encoding="utf-8") as opened:
            opened.write(json.dumps(data, ensure_ascii=False) + "\n")
            opened.flush()
            os.fsync(opened.fileno())
    except OSError as exc:
        raise SetError(f"{file} cannot be written: {exc.strerror}.") from exc


def _cut_torn_line(file: Path) -> None:
    """What a kill left of a line."""
    with suppress(FileNotFoundError):
        data = file.read_bytes()
        if data and not data.endswith(b"\n"):
            with file.open("r+b") as opened:
                opened.truncate(data.rfind(b"\n") + 1)


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    """Whole lines; one without an end is not yet or never written."""
    try:
        data = file.read_bytes()
        text = data[: data.rfind(b"\n") + 1].decode("utf-8-sig")
    except FileNotFoundError:
        return
    except UnicodeDecodeError as exc:
        raise SetError(f"{file} is not UTF-8.") from exc
    except OSError as exc:
        raise SetError(f"{file} cannot be read: {exc.strerror}.") from exc
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as exc:
            raise SetError(f"{file}, line {number}: not JSON.") from exc
        if not isinstance(row, dict):
            raise SetError(f"{file}, line {number}: not an object.")
        yield row


def _row(data: Mapping[str, Any], folder: Path) -> Row:
    try:
        also = tuple(Other(**other) for other in data.get("also", ()))
        return Row(**{**data, "also": also})
    except TypeError as exc:
        raise SetError(f"{folder / PASSAGES} has a line that `gakju eval new-set` did not write.") from exc
