"""The sheet as people hand it back: from any Excel, with rows struck out, rewritten, deleted and added."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from eval.beir import SetError
from eval.own_files import PASSAGES, SHEET, Other, Plan, Row, SetFolder
from eval.own_sheet import COLUMNS, bring_up_to_date, read_sheet

PLAN = Plan("default", 0, "both", "model")


def row(number: int, question: str = "연차는 며칠인가요?", **other: object) -> Row:
    fields = {
        "path": f"{number}.md", "start": 0, "end": 9, "passage": "연차는 열다섯 날",
        "where": "휴가", "language": "ko", "ask_in": "ko", "kind": "text",
    } | other  # fmt: skip
    return Row(id=f"q{number:04d}", question=question, **fields)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> SetFolder:
    folder = SetFolder.create(tmp_path / "set", PLAN)
    for number, question in enumerate(["연차는 며칠인가요?", "=1+1 은 “얼마”–인가요?", "병가는?"], start=1):
        folder.add(row(number, question, also=(Other("b.md", 1, 5, "열다섯", "다섯"),)))
    bring_up_to_date(folder)
    return folder


def table(folder: SetFolder) -> list[list[str]]:
    return list(csv.reader((folder.folder / SHEET).read_text(encoding="utf-8-sig").splitlines()))


def save(folder: SetFolder, rows: list[list[str]], *, encoding: str = "utf-8-sig", delimiter: str = ",") -> None:
    with (folder.folder / SHEET).open("w", encoding=encoding, errors="replace", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)


def read(folder: SetFolder) -> dict[str, str]:
    return {item.id: item.question for item in read_sheet(folder.folder / SHEET, folder.rows).filled}


def test_a_sheet_opens_in_excel_and_runs_no_formula(folder):
    assert (folder.folder / SHEET).read_bytes().startswith(b"\xef\xbb\xbfid,keep,question,")
    assert table(folder)[2][2] == "'=1+1 은 “얼마”–인가요?"
    assert read(folder) == {row.id: row.question for row in folder.rows}


@pytest.mark.parametrize(
    ("encoding", "delimiter"), [("utf-8", ","), ("utf-8-sig", ";"), ("utf-16", "\t"), ("cp949", ","), ("cp949", "\t")]
)
def test_any_excel_may_save_it(folder, encoding, delimiter):
    rows = table(folder)
    rows[1][2] = "연차 휴가는 몇 일 나오나요?"
    save(folder, rows, encoding=encoding, delimiter=delimiter)
    # The dash that CP949 lacks was not touched by anybody, so it is not a change.
    assert read(folder) == {
        "q0001": "연차 휴가는 몇 일 나오나요?",
        "q0002": "=1+1 은 “얼마”–인가요?",
        "q0003": "병가는?",
    }


@pytest.mark.parametrize("word", ["n", "N", "no", "x", "0", "아니오", "삭제", "ㅜ", "ｎ"])
def test_rows_are_struck_out_by_a_no_or_by_deleting_them(folder, word):
    rows = table(folder)
    rows[1][1] = word
    save(folder, rows[:3])
    sheet = read_sheet(folder.folder / SHEET, folder.rows)
    assert [item.id for item in sheet.filled] == ["q0002"] and (sheet.struck_out, sheet.empty) == (2, 0)


def test_the_line_that_tells_excel_the_delimiter_is_no_row(folder):
    file = folder.folder / SHEET
    save(folder, table(folder)[:3], delimiter=";")
    file.write_text("sep=;\r\n" + file.read_text(encoding="utf-8-sig"), encoding="utf-8-sig", newline="")
    assert list(read(folder)) == ["q0001", "q0002"]
    folder.add(row(4, "새 질문인가요?"))
    bring_up_to_date(folder)
    assert list(read(folder)) == ["q0001", "q0002", "q0004"]
    with file.open("a", encoding="utf-8") as opened:
        opened.write("q9;;x\r\n")
    with pytest.raises(SetError, match="row 6: there is no question 'q9'"):
        read(folder)


def test_a_workbook_is_called_what_it_is(folder):
    (folder.folder / SHEET).write_bytes(b"PK\x03\x04" + bytes(range(256)))
    with pytest.raises(SetError, match="is a workbook of a spreadsheet, not a CSV"):
        read(folder)


def test_a_question_of_ones_own_names_its_document(folder):
    rows = [*table(folder), ["", "", "주차는 어디에 하나요?", "", "parking.md"]]
    save(folder, rows)
    *_, own = read_sheet(folder.folder / SHEET, folder.rows).filled
    assert own.is_own and own.path == "parking.md" and own.id.startswith("own-")
    again = read_sheet(folder.folder / SHEET, folder.rows).filled[-1]
    assert again.id == own.id
    save(folder, [*rows, ["", "", "누가 하나요?"]])
    with pytest.raises(SetError, match="row 6: a question of your own needs the document"):
        read(folder)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([["a", "b"], ["1", "2"]], "no column `question`"),
        ([list(COLUMNS), ["q0001", "maybe", "x"]], "row 2: keep is 'maybe'"),
        ([list(COLUMNS), ["q9", "", "x"]], "row 2: there is no question 'q9'"),
        ([list(COLUMNS), ["q0001", "", "x"], ["q0001", "", "y"]], "row 3: 'q0001' stands there twice"),
    ],
)
def test_a_broken_sheet_is_one_sentence_with_the_row(folder, rows, says):
    save(folder, rows)
    with pytest.raises(SetError, match=says):
        read(folder)
    (folder.folder / SHEET).write_bytes(b"id,question\nq0001,\x80\x81\xff\n")
    with pytest.raises(SetError, match="CSV UTF-8"):
        read(folder)


def test_new_rows_join_what_people_made_of_the_sheet(folder):
    rows = table(folder)
    swapped = [[cells[2], cells[0], cells[1]] for cells in rows[:2]]  # two rows deleted, columns moved and left out
    swapped[1][0] = "바꾼 질문인가요?"
    save(folder, swapped, encoding="cp949")
    again = SetFolder.create(folder.folder, PLAN)
    again.add(row(4, "새 질문인가요?"))
    bring_up_to_date(again)
    assert table(again) == [
        ["question", "id", "keep"],
        ["바꾼 질문인가요?", "q0001", "y"],
        ["새 질문인가요?", "q0004", "y"],
    ]
    assert read(SetFolder.open(folder.folder)) == {"q0001": "바꾼 질문인가요?", "q0004": "새 질문인가요?"}


def test_a_line_that_a_kill_cut_off_is_taken_away(folder):
    whole = (folder.folder / PASSAGES).read_bytes()
    (folder.folder / PASSAGES).write_bytes(whole + '{"id": "q0004", "question": "반'.encode()[:-1])
    assert len(SetFolder.open(folder.folder).rows) == 3
    again = SetFolder.create(folder.folder, PLAN)
    again.add(row(4))
    assert [item.id for item in SetFolder.open(folder.folder).rows] == ["q0001", "q0002", "q0003", "q0004"]
    assert SetFolder.open(folder.folder).rows[0].also == (Other("b.md", 1, 5, "열다섯", "다섯"),)


def test_a_set_is_not_gone_on_with_otherwise(folder, tmp_path):
    with pytest.raises(SetError, match="collection 'default'"):
        SetFolder.create(folder.folder, Plan("hr", 0, "both", "model"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("mine")
    with pytest.raises(SetError, match="other files"):
        SetFolder.create(tmp_path / "mine", PLAN)
    for broken in ("", "{}", "[]", '{"version": 2}'):
        (folder.folder / "set.json").write_text(broken)
        with pytest.raises(SetError, match=r"set\.json"):
            SetFolder.open(folder.folder)
