"""`python -m eval`: what its users meet when something is wrong, whichever command they gave."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eval import __main__ as door
from eval.beir import SetError, load
from eval.facts import must_be_writable, write_json
from eval.frame import run_in_frame
from eval.retrieval_cache import VectorCache
from knowledge.errors import DatabaseUnavailable
from settings import SettingsError

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
    write_json(tmp_path / "new" / "report.json", {"sets": []})
    assert json.loads((tmp_path / "new" / "report.json").read_text(encoding="utf-8")) == {"sets": []}
    with pytest.raises(SetError, match="cannot be written: Not a directory"):
        write_json(tmp_path / "new" / "report.json" / "below" / "report.json", {})


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    done = run("retrieval", "--data-dir", tmp_path / "file")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"eval: {tmp_path / 'file'}") and "cannot be used" in done.stderr


@pytest.mark.parametrize(
    ("fault", "code", "says"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a.jsonl"), 2, "a.jsonl cannot be used: No such"),
        (PermissionError(errno.EACCES, "Permission denied", "b.json"), 2, "b.json cannot be used: Permission denied"),
        (OSError(errno.ENOSPC, "No space left on device", "c"), 3, "Is its disk full?"),
        (ModuleNotFoundError("no", name="matplotlib.figure"), 2, "pip install 'gakju[eval]'"),
        (SettingsError("TOP_K: no."), 2, "TOP_K: no."),
        (DatabaseUnavailable("PostgreSQL is away.", hint="Start it."), 3, "PostgreSQL is away. Start it."),
        (KeyboardInterrupt(), 130, "stopped."),
    ],
)
def test_what_a_user_can_mend_is_one_sentence_and_a_code(fault, code, says, capsys):
    def command() -> int:
        raise fault

    assert run_in_frame(command) == code
    error = capsys.readouterr().err
    assert says in error and error.strip().startswith("eval: ") and error.strip().count("\n") == 0


@pytest.mark.parametrize("fault", [KeyError("x"), OSError("no file"), ModuleNotFoundError("no", name="knowledge.x")])
def test_what_only_a_programmer_can_mend_keeps_its_traceback(fault):
    def command() -> int:
        raise fault

    with pytest.raises(type(fault)):
        run_in_frame(command)


def test_a_reader_that_leaves_early_is_no_fault(tmp_path):
    code = "from eval.frame import run_in_frame; import sys; sys.exit(run_in_frame(lambda: print('x' * 10**7) or 0))"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == 141


def test_a_file_that_cannot_be_written_is_said_before_the_work(tmp_path):
    must_be_writable(None, tmp_path / "new" / "a.json")
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "kept").write_text("kept")
    must_be_writable(tmp_path / "kept")
    assert (tmp_path / "kept").read_text() == "kept"
    with pytest.raises(SetError, match="cannot be written: Is a directory"):
        must_be_writable(tmp_path)
    done = run("badly_typed", "--json", tmp_path)
    assert done.returncode == 2 and "cannot be written" in done.stderr and "ingesting" not in done.stderr


def test_vectors_that_cannot_be_read_are_said(tmp_path, embedding):
    VectorCache(tmp_path, embedding.spec).close()
    (file,) = tmp_path.glob("*.sqlite")
    for beside in tmp_path.iterdir():
        beside.write_bytes(b"no database at all" * 100)
    with pytest.raises(SetError, match=rf"{file.name} cannot be used: file is not a database"):
        VectorCache(tmp_path, embedding.spec)


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


def test_a_command_that_is_told_to_end_leaves_nothing_running(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "eval", "retrieval"], cwd=ROOT, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"TMPDIR": str(tmp_path), "DATA_DIR": str(tmp_path / "data"), "DATABASE_URL": ""},
    )  # fmt: skip
    while not list(tmp_path.rglob("postmaster.pid")):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and said.endswith("eval: stopped.\n") and "Traceback" not in said
    assert list(tmp_path.glob("gakju-eval-*")) == []


@pytest.mark.parametrize("command", ["gold", "start", "fit_gate"])
def test_usage_names_the_command(command, capsys):
    with pytest.raises(SystemExit) as ended:
        door.main([command, "--nothing"])
    assert ended.value.code == 2 and f"usage: python -m eval {command} " in capsys.readouterr().err
