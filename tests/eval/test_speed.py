"""The speed measurements run and print ratios. What they measure is not tested: a machine may be busy."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eval import __main__ as door
from eval import speed
from eval.speed_bench import Line, Spent, by_turns, cpu_s, descendants, median_and_spread, memory_of
from eval.speed_files import copy_with_variants, long_pdf, many_texts, picture_file
from ingest.readers import read_bytes_as

ROOT = Path(__file__).parent.parent.parent
PARAGRAPH = "관세는 해외에서 온 물건에 붙는 세금이다. A tariff is a tax on imported goods."


def test_writing_is_compared_with_the_stock_vector_store(tmp_path):
    report = tmp_path / "speed.json"
    done = subprocess.run(
        [sys.executable, "-m", "eval", "speed", "ingest", "--quick", "--only", "write", "--json", str(report)],
        cwd=ROOT, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\| rows/s of the write path over PGVectorStore.add.* \| [\d.]+× ", done.stdout, re.MULTILINE)
    written = json.loads(report.read_text(encoding="utf-8"))
    assert written["is_quick"] and list(written["measured"]) == ["write"]
    assert written["measured"]["write"]["ratio"] > 0 and len(written["load_averages"]) == 2


@pytest.mark.parametrize(
    "arguments", [[], ["query"], ["ingest", "--only", "luck"], ["ingest", "--only"], ["ingest", "--json"]]
)
def test_wrong_arguments_end_with_2_and_measure_nothing(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        speed.main(arguments)
    assert ended.value.code == 2
    assert "usage: python -m eval speed" in capsys.readouterr().err


def test_the_door_names_its_commands(capsys):
    assert door.main(["nothing"]) == 2
    assert "speed" in capsys.readouterr().err
    assert door.main([]) == 2 and door.main(["--help"]) == 0
    assert all((ROOT / "eval" / f"{module}.py").exists() for module, _ in door.COMMANDS.values())


def test_goes_alternate():
    order = []

    def go(name):
        def went(number):
            order.append((name, number))
            return Spent(len(order), 0)

        return went

    first, second = by_turns(2, go("a"), go("b"))
    assert order == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    assert [item.wall_s for item in first] == [1, 3] and [item.wall_s for item in second] == [2, 4]


def test_the_middle_is_shown_with_the_extremes():
    assert median_and_spread([3, 1, 2], unit="×", digits=1) == "2.0× (1.0 to 3.0)"
    assert median_and_spread([1.5], unit=" s") == "1.50 s"


def test_a_missed_goal_is_said():
    lines = [Line("a", "1", "≥ 2", False), Line("b", "3", "≥ 2", True), Line("c", "4")]
    table = speed.as_markdown(lines, command="x", loads=["0.1"])
    assert "| a | 1 | ≥ 2 (**missed**) |\n| b | 3 | ≥ 2 (met) |\n| c | 4 |  |" in table


def test_memory_and_processor_time_of_children_count():
    code = "import sys; held = b'x' * 200_000_000; [i for i in range(3_000_000)]; print('ready', flush=True); input()"
    before_s = cpu_s(os.getpid())
    with (
        memory_of(os.getpid()) as memory,
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child,
    ):
        assert child.stdout and child.stdout.readline() == b"ready\n"
        assert child.pid in descendants(os.getpid())
        while memory.largest_child < 200_000_000:
            time.sleep(0.01)
        child.communicate(b"\n")
    assert memory.together >= memory.largest_child + 10_000_000
    assert cpu_s(os.getpid()) - before_s >= 0.05  # also after it has ended


@pytest.mark.parametrize("ending", [".docx", ".pptx", ".pdf", ".txt"])
def test_files_with_pictures_are_read_like_any_other(ending, tmp_path):
    path = tmp_path / f"a{ending}"
    picture_file(path, PARAGRAPH, picture_bytes=500_000)
    if ending != ".txt":
        assert 450_000 < path.stat().st_size < 550_000
    text = read_bytes_as(path.read_bytes(), name=path.name).text
    assert "".join(text.split()) == "".join(PARAGRAPH.split())


def test_the_long_pdf_has_its_pages(tmp_path):
    long_pdf(tmp_path / "a.pdf", [PARAGRAPH * 20, "둘째 문단. " * 100], pages=3)
    document = read_bytes_as((tmp_path / "a.pdf").read_bytes(), name="a.pdf")
    assert {block.place.page for block in document.blocks} == {1, 2, 3}
    assert "A tariff is a tax" in document.text


def test_variants_differ_from_the_documents_and_from_each_other(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.md").write_text("# 제목\n\n" + "\n\n".join(f"{n}번째 문단 {n * 7919}." for n in range(20)) + "\n")
    (source / "b.csv").write_text("a,b\n1,2\n")
    copy_with_variants(source, tmp_path / "copies", variants=2)
    files = sorted(path for path in (tmp_path / "copies").rglob("*") if path.is_file())
    assert [path.name for path in files] == ["a.md", "b.csv", "a.md", "a.md"]
    assert len({path.read_bytes() for path in files}) == 4


def test_many_texts_are_as_many_and_all_different(tmp_path):
    total = many_texts(tmp_path, files=150, median_bytes=1000)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len({path.read_bytes() for path in files}) == 150
    assert sum(path.stat().st_size for path in files) == total
