"""`python -m eval`: what its users meet when something is wrong, whichever command they gave."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from eval import __main__ as door
from eval.beir import SetError, load
from eval.retrieval import _write_json

ROOT = Path(__file__).parent.parent.parent


def run(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "eval", *map(str, arguments)],
        cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("command", [["speed", "ingest", "--quick"], ["gold"], ["retrieval"]])
def test_a_wrong_setting_is_one_sentence(command):
    done = run(*command, CHUNK_TOKENS="1")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("eval: CHUNK_TOKENS='1': ")


def test_a_set_that_is_none_is_one_sentence(tmp_path, capsys):
    assert door.main(["fit_gate", str(tmp_path / "missing")]) == 2
    assert capsys.readouterr().err == f"eval: {tmp_path / 'missing'} is not a folder.\n"


def test_a_line_that_was_cut_off_is_named_with_the_column_where_it_ends(tmp_path):
    line = '{"_id": "1", "text": "a"'
    (tmp_path / "corpus.jsonl").write_text(f"{line}\n")
    with pytest.raises(SetError, match=rf"corpus.jsonl, line 1: not JSON \(.*, column {len(line) + 1}\)"):
        load(tmp_path)


def test_a_report_is_written_where_its_folder_is_new_and_refused_where_it_cannot(tmp_path):
    _write_json(tmp_path / "new" / "report.json", {"sets": []})
    assert json.loads((tmp_path / "new" / "report.json").read_text(encoding="utf-8")) == {"sets": []}
    with pytest.raises(SetError, match="cannot be written: Not a directory"):
        _write_json(tmp_path / "new" / "report.json" / "below" / "report.json", {})


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    done = run("retrieval", "--data-dir", tmp_path / "file")
    assert done.returncode == 3 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"eval: {tmp_path / 'file'}") and "cannot be used" in done.stderr


def test_a_fault_of_the_program_is_not_hidden(monkeypatch):
    monkeypatch.setitem(door.COMMANDS, "speed", ("no_such_module", ""))
    with pytest.raises(ModuleNotFoundError):
        door.main(["speed"])


def test_ctrl_c_while_it_loads_ends_with_130_and_no_traceback():
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "eval", "gold"], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    said = []
    for line in process.stderr:  # one line for each module that was loaded
        said.append(line)
        if line.endswith(" llama_index.core.utils\n") or " numpy" in line:
            process.send_signal(signal.SIGINT)
            break
    said.append(process.stderr.read())
    assert process.wait(60) == 130
    assert said[-1].endswith("eval: stopped.\n") and "Traceback" not in "".join(said)


@pytest.mark.parametrize("command", ["gold", "start", "fit_gate"])
def test_usage_names_the_command(command, capsys):
    with pytest.raises(SystemExit) as ended:
        door.main([command, "--nothing"])
    assert ended.value.code == 2 and f"usage: python -m eval {command} " in capsys.readouterr().err
