import io

from loadtest.progress import Progress


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _run(stream):
    with Progress(stream) as progress, progress.step("wide"):
        progress.tell("half")
    return stream.getvalue()


def test_a_file_gets_a_line_per_step():
    assert _run(io.StringIO()) == "wide: 0 s\n"


def test_a_terminal_gets_one_line_that_changes():
    shown = _run(_Terminal())
    assert "\r\x1b[Kwide: 0 s half" in shown
    assert shown.endswith("wide: 0 s\n\r\x1b[K")


def test_a_file_gets_lines_of_a_long_step():
    stream = io.StringIO()
    with Progress(stream, line_every_s=0) as progress, progress.step("million"):
        progress.tell("half")
    assert stream.getvalue().splitlines() == ["million: 0 s ", "million: 0 s half", "million: 0 s"]
