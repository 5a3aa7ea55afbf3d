import subprocess
import sys

from emo_harness.errors import UserError, nearest


def test_block_tells_what_found_expected_and_what_to_do() -> None:
    block = str(UserError("reading x", found="a y", expected="a z", fix="write a z"))
    assert block.splitlines() == [
        "error: reading x",
        "  found:    a y",
        "  expected: a z",
        "  do:       write a z",
    ]


def test_uncaught_user_error_exits_2_without_traceback_under_a_foreign_command_line() -> None:
    program = (
        "from emo_harness.errors import UserError, show_user_errors\n"
        "show_user_errors(); show_user_errors()\n"
        "raise UserError('doing', found='f', expected='e', fix='x')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error: doing") == 1


def test_other_errors_keep_their_traceback_and_exit_code() -> None:
    program = "from emo_harness.errors import *; show_user_errors(); raise KeyError('k')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_nearest_names_a_close_word_only() -> None:
    assert nearest("placment", ["placement", "stimuli"]) == " (nearest: 'placement')"
    assert nearest("xyz", ["placement"]) == ""
