"""The guard around standard output and standard error."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import redirect_stdout

import pytest

from foldlog.guarded_output import guarded_output, program_output
from foldlog.terminal import Console
from shared.control_chars import CONTROL_CHARS
from tests.builders.terminals import HOSTILE, harm

ESCAPED = CONTROL_CHARS.sub(lambda found: f"\\u{ord(found[0]):04x}", HOSTILE)


class Terminal(io.TextIOWrapper):
    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding, newline="", write_through=True)

    def isatty(self) -> bool:
        return True

    def shown(self) -> bytes:
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue()


def test_text_is_escaped_and_lines_stay() -> None:
    with redirect_stdout(Terminal()) as terminal, guarded_output():
        sys.stdout.write(f"a{HOSTILE}\nb\n")
        sys.stdout.writelines(["c\r\n", "d\re\tf\n"])
    assert terminal.shown().decode("utf-8") == f"a{ESCAPED}\nb\nc\nd\\u000de\\u0009f\n"


def test_bytes_are_escaped_wherever_a_block_ends() -> None:
    with redirect_stdout(Terminal()) as terminal, guarded_output():
        for byte in f"é{HOSTILE}\n".encode():
            sys.stdout.buffer.write(bytes([byte]))
        sys.stdout.buffer.write(b"\xff\n")
        sys.stdout.buffer.flush()
    assert terminal.shown().decode("utf-8") == f"é{ESCAPED}\n\\xff\n"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_name_that_no_stream_takes_is_shown(encoding: str) -> None:
    with redirect_stdout(Terminal(encoding)) as terminal, guarded_output():
        sys.stdout.write("a\udcffb\u20ac\n")
    assert terminal.shown() == b"a\\udcffb" + "\u20ac".encode(encoding, "backslashreplace") + b"\n"


def test_console_escapes_what_it_draws() -> None:
    with redirect_stdout(Terminal()) as terminal, guarded_output():
        console = Console()
        console.print(f"[bold]{HOSTILE}[/bold] \udcff", soft_wrap=True)
        with console.status(HOSTILE):
            pass
    text = terminal.shown().decode("utf-8")
    assert harm(text) == []
    assert "pwned" in text


def test_format_of_programs_goes_to_a_file_as_it_is_and_to_a_terminal_escaped() -> None:
    with redirect_stdout(io.TextIOWrapper(io.BytesIO(), "utf-8")) as file, guarded_output():
        program_output().write(HOSTILE.encode("utf-8"))
    assert isinstance(file.buffer, io.BytesIO)
    assert file.buffer.getvalue().decode("utf-8") == HOSTILE
    with redirect_stdout(Terminal()) as terminal, guarded_output():
        program_output().write(HOSTILE.encode("utf-8"))
    assert terminal.shown().decode("utf-8") == ESCAPED


def test_streams_are_as_before_when_the_command_has_ended() -> None:
    before = sys.stdout, sys.stderr
    with guarded_output():
        assert sys.stdout is not before[0]
    assert (sys.stdout, sys.stderr) == before


@pytest.mark.parametrize(
    "raising", ["raise ValueError(text)", "t = threading.Thread(target=int, args=(text,)); t.start(); t.join()"]
)
def test_traceback_is_escaped(raising: str) -> None:
    code = (
        "import sys, threading; from foldlog.guarded_output import guarded_output; text = sys.argv[1]\n"
        f"with guarded_output(): {raising}"
    )
    typed = [sys.executable, "-c", code, HOSTILE]
    done = subprocess.run(typed, capture_output=True, text=True, check=False, timeout=60)
    assert "ValueError" in done.stderr and "pwned" in done.stderr
    assert harm(done.stderr) == []
