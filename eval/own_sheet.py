"""questions.csv: what people check, strike out, rewrite and fill in, with the programs that people have.

Written as UTF-8 with a mark, so that Excel shows Korean. Read as UTF-8, UTF-16 or CP949 (what a Korean Excel saves as
"CSV"), with commas, semicolons or tabs. A row counts unless `keep` says no or the row is gone. A row without an id is a
question of one's own: it names the document that answers it, and may quote the passage. Knows nothing about search.
"""

from __future__ import annotations

import csv
import hashlib
import io
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.beir import SetError
from eval.own_files import SHEET, Row, SetFolder, write

COLUMNS = ("id", "keep", "question", "passage", "document", "where", "language")
# The last of each is y and n on a keyboard that was left in Korean, in Unicode's compatible form.
_YES = {"", "y", "yes", "1", "o", "ok", "true", "예", "네", "keep", "유지", "\u116d"}
_NO = {"n", "no", "0", "x", "false", "아니오", "아니요", "삭제", "제외", "drop", "delete", "\u116e"}
_DELIMITERS = ",;\t"
_SEPARATOR_LINE = "sep="  # what Excel takes the delimiter from, in a line of its own above the names
_WORKBOOK = b"PK\x03\x04"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a cell that begins so is run by spreadsheets: documents count as hostile


@dataclass(frozen=True, slots=True)
class Filled:
    """A row that counts. `id`: "" was given one of its own. `passage` is read only where the row is somebody's own."""

    id: str
    question: str
    is_own: bool
    path: str
    passage: str


@dataclass(frozen=True, slots=True)
class Sheet:
    filled: tuple[Filled, ...]
    struck_out: int
    empty: int


def bring_up_to_date(folder: SetFolder) -> Path:
    """The sheet, with the rows that people have not been given yet added; what they made of the others stays.

    Raises:
        SetError: it cannot be read or written (it may be open in a spreadsheet).
    """
    file = folder.folder / SHEET
    text = read_text(file) if file.exists() else ""
    names, delimiter = list(COLUMNS), ","
    there: set[str] = set()
    if text:
        delimiter = _delimiter(text)
        names = _names(next(_reader(text), []), file)
        there = {cells.get("id", "").strip() for _, cells in _cells(text, file)}
    new = [row for row in folder.rows[folder.in_sheet if text else 0 :] if row.id not in there]
    if new or not text:
        added = io.StringIO(newline="")
        writer = csv.writer(added, delimiter=delimiter)
        if not text:
            writer.writerow(COLUMNS)
        for row in new:
            cells = _cells_of(row)
            writer.writerow([_inert(cells.get(name, "")) for name in names])
        write(
            file, text + ("\r\n" if text and not text.endswith("\n") else "") + added.getvalue(), encoding="utf-8-sig"
        )
    if folder.in_sheet != len(folder.rows):
        folder.note_in_sheet()
    return file


def write_table(file: Path, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A file that spreadsheets open, and nobody reads back.

    Raises:
        SetError: it cannot be written.
    """
    text = io.StringIO(newline="")
    csv.writer(text).writerows([names, *([_inert(cell) for cell in row] for row in rows)])
    write(file, text.getvalue(), encoding="utf-8-sig")


def _cells_of(row: Row) -> dict[str, str]:
    cells = (row.id, "y" if row.question else "", row.question, row.passage, row.path, row.where, row.ask_in)
    return dict(zip(COLUMNS, cells, strict=True))


def read_text(file: Path) -> str:
    """Raises:
    SetError: it is not there, or in no known encoding.
    """
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise SetError(f"There is no {file}: it says which questions count.") from None
    except OSError as exc:
        raise SetError(f"{file} cannot be read: {exc.strerror}.") from exc
    if data.startswith(_WORKBOOK):
        raise SetError(f'{file} is a workbook of a spreadsheet, not a CSV: save it as "CSV UTF-8".')
    encodings = ["utf-16"] if data.startswith((b"\xff\xfe", b"\xfe\xff")) else ["utf-8-sig", "cp949"]
    for encoding in encodings:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise SetError(f'{file} is neither UTF-8 nor CP949: save it in Excel as "CSV UTF-8".')


def read_sheet(file: Path, rows: Sequence[Row]) -> Sheet:
    """Raises:
    SetError: it is no such sheet; the message names the row.
    """
    known = {row.id: row for row in rows}
    filled: list[Filled] = []
    seen: set[str] = set()
    mentioned: set[str] = set()
    struck_out = empty = 0
    for number, cells in _cells(read_text(file), file):
        key, keep, question = (cells.get(name, "").strip() for name in ("id", "keep", "question"))
        keep = unicodedata.normalize("NFKC", keep).casefold()
        if keep not in _YES | _NO:
            raise SetError(f"{file}, row {number}: keep is {keep!r}; y counts, n strikes the row out.")
        if key and key not in known:
            raise SetError(
                f"{file}, row {number}: there is no question {key!r}; a question of your own has an empty id."
            )
        mentioned.add(key)
        if keep in _NO:
            struck_out += 1
            continue
        question = _meant(" ".join(_plain(question).split()), known.get(key))
        if not question:
            empty += 1
            continue
        item = _filled(key, question, cells, f"{file}, row {number}")
        if item.id in seen:
            raise SetError(f"{file}, row {number}: {item.id!r} stands there twice.")
        seen.add(item.id)
        filled.append(item)
    return Sheet(tuple(filled), struck_out + len(known.keys() - mentioned), empty)


def _filled(key: str, question: str, cells: Mapping[str, str], where: str) -> Filled:
    path, passage = _plain(cells.get("document", "").strip()), _plain(cells.get("passage", "").strip())
    if key:
        return Filled(key, question, False, path, passage)
    if not path:
        raise SetError(
            f"{where}: a question of your own needs the document that answers it, as `gakju ingest status` has it."
        )
    made = hashlib.sha256(f"{question}\0{path}\0{passage}".encode()).hexdigest()[:8]
    return Filled(f"own-{made}", question, True, path, passage)


def _meant(question: str, row: Row | None) -> str:
    """Without what CP949 could not hold: such a sign that nobody touched comes back as a question mark."""
    if row and question == row.question.encode("cp949", "replace").decode("cp949"):
        return row.question
    return question


def _cells(text: str, file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Number of the row as a spreadsheet counts, and its cells by column; rows without any are skipped."""
    rows = _reader(text)
    try:
        names = _names(next(rows, []), file)
        for number, cells in enumerate(rows, start=2 + (_body(text) != text)):
            if any(cell.strip() for cell in cells):
                yield number, dict(zip(names, cells, strict=False))
    except csv.Error as exc:
        raise SetError(f"{file} is no CSV: {exc}.") from exc


def _reader(text: str) -> Iterator[list[str]]:
    csv.field_size_limit(10_000_000)  # characters; a passage may be long
    return csv.reader(io.StringIO(_body(text), newline=""), delimiter=_delimiter(text))


def _body(text: str) -> str:
    """Without the line that names the delimiter."""
    return text.partition("\n")[2] if text.casefold().startswith(_SEPARATOR_LINE) else text


def _names(cells: Sequence[str], file: Path) -> list[str]:
    names = [name.strip().casefold() for name in cells]
    if "question" not in names:
        raise SetError(f"{file} has no column `question` in its first row.")
    return names


def _delimiter(text: str) -> str:
    first = _body(text).split("\n", 1)[0]
    return max(_DELIMITERS, key=first.count)


def _inert(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _plain(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell
