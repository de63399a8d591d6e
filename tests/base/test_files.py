"""One process at a time, and nothing to clear up after one that was killed."""

import os
import signal
import subprocess
import sys

import pytest

from undertow.base import SettingsError, check_unwritten, exclusive

HOLD = """
import sys, time
from undertow.base import exclusive
with exclusive(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_is_for_one_at_a_time(tmp_path):
    with exclusive(tmp_path):
        with pytest.raises(SettingsError, match=rf"process {os.getpid()}\) is writing to .*wait for it to end"):  # noqa: SIM117
            with exclusive(tmp_path):
                pass
        assert (tmp_path / ".lock").exists()
    assert not (tmp_path / ".lock").exists()
    with exclusive(tmp_path):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")
def test_the_lock_of_a_killed_process_is_gone(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(SettingsError, match=f"process {process.pid}"), exclusive(tmp_path):
            pass
        with pytest.raises(SettingsError, match=f"^taken by {process.pid}$"):
            check_unwritten(tmp_path, lambda who: f"taken by{who.replace(' (process', '').rstrip(')')}")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    with exclusive(tmp_path):
        pass
    check_unwritten(tmp_path)


def test_what_this_process_writes_itself_is_not_in_its_way(tmp_path):
    check_unwritten(tmp_path / "nowhere")
    with exclusive(tmp_path):
        check_unwritten(tmp_path)
        assert (tmp_path / ".lock").read_text() == str(os.getpid())
    check_unwritten(tmp_path)
    assert not list(tmp_path.iterdir())
