"""The fork server: it refuses to fork when unfit, comes back when it was killed, and leaves nobody
behind.
"""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from paritygate.core.record import Status
from paritygate.process.client import ForkServerError
from paritygate.session.opened import make_reference
from tests.support.paths import ROOT
from tests.support.processes import gone
from tests.support.rig import Rig, new_server, specimen


def state(pid):
    return psutil.Process(pid).status()


@pytest.fixture
def server(tmp_path):
    """A function that makes a fork server that imports the given source first."""
    made = []

    def make(source="", *, cache=None, **changes):
        (tmp_path / "planted.py").write_text(source)
        changes = {"modules": ["planted"], "path": [*sys.path, str(tmp_path)]} | changes
        new = new_server(tmp_path / "server", tmp_path / "cache", **changes)
        if cache:
            new.environ["XDG_CACHE_HOME"] = str(cache)
        made.append(new)
        return new

    yield make
    for one in made:
        one.close()


def refusal(server):
    with pytest.raises(ForkServerError) as failed:
        server.fork({})
    assert not server.alive()
    return str(failed.value)


def test_a_thread_that_a_module_starts_is_refused_and_the_module_named(server):
    source = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    message = refusal(server(source))
    assert message.startswith(
        "planted made the fork server unfit to fork: 1 further thread(s) running"
    )
    assert message.endswith("; take it out of the case's preload, then its workers import it")


def test_a_file_that_a_module_leaves_open_in_the_cache_is_refused_and_both_are_named(
    server, tmp_path
):
    cache = tmp_path / "user_cache"
    cache.mkdir()
    message = refusal(server(f"kept = open({str(cache / 'some.db')!r}, 'w')\n", cache=cache))
    assert message.startswith(
        f"planted made the fork server unfit to fork: {cache / 'some.db'} is open; take it"
    )


def test_a_server_that_ends_while_importing_is_told_with_its_last_words(server):
    message = refusal(server("import sys\nsys.exit('no licence for this module')\n"))
    assert "ended while importing" in message
    assert "no licence for this module" in message


def test_a_backend_that_cannot_be_imported_is_told_with_its_last_words(server):
    message = refusal(server("import not_installed_here\n", modules=[], backends=["planted"]))
    assert "No module named 'not_installed_here'" in message


@pytest.mark.parametrize("module", ["pyarrow", "pandas", "sklearn.metrics", "accelerate"])
def test_what_models_import_beside_torch_starts_no_thread(server, module):
    """Transformers 5.17 imports scikit-learn with BERT, that pandas, that pyarrow, which has an
    allocator's thread.
    """
    worker = server(f"import {module}\n").fork({})
    assert worker.pid > 0


def test_a_module_of_a_case_that_cannot_be_imported_is_left_to_the_workers(server):
    worker = server("raise RuntimeError('broken at import')\n").fork({})
    assert worker.pid > 0


def test_what_a_fork_server_is_given_is_what_it_needs_and_it_has_one_thread(shared):
    worker = shared.server.fork({})
    worker.close()
    assert psutil.Process(shared.server.process.pid).num_threads() == 1
    assert os.getsid(shared.server.process.pid) != os.getsid(0), "Ctrl-C must not reach it"


SEEN = """
import os
from pathlib import Path

def note(who):
    (Path(__file__).parent / f"seen_by_{who}").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "not set"))

note("server")
os.register_at_fork(after_in_child=lambda: note("worker"))
"""


def test_modules_are_imported_without_the_choice_of_gpus_and_workers_have_it(server, tmp_path):
    """Of a MIG instance torch would ask CUDA itself, and no fork could use it afterwards."""
    new = server(SEEN)
    new.environ["CUDA_VISIBLE_DEVICES"] = "MIG-1234"

    assert gone(new.fork({}).pid), "there is nothing for it to do"

    assert (tmp_path / "seen_by_server").read_text() == "not set"
    assert (tmp_path / "seen_by_worker").read_text() == "MIG-1234"


def test_a_killed_fork_server_takes_its_workers_along_and_the_run_goes_on_with_a_new_one(tmp_path):
    (tmp_path / "cache").mkdir()
    server = new_server(tmp_path / "server", tmp_path / "cache")
    rig = Rig(tmp_path / "scratch", tmp_path / "cache", server, tmp_path)
    try:
        group = rig.group(specimen(), "eager", "twin", timed=True)
        group.open()
        workers = [cell.worker.pid for cell in group.cells.values()]
        assert [state(pid) for pid in workers] == [psutil.STATUS_STOPPED] * 2
        first = server.process.pid
        os.kill(first, signal.SIGKILL)
        assert all(gone(pid) for pid in workers), "also those that were stopped"
        group.time()
        for record in group.records.values():
            assert record.status is Status.CRASHED
            assert record.reason.startswith("the fork server died while: ")
        group.close()

        records = rig.run(specimen(name="next"), "eager", "twin", timed=True)
        assert {record.status for record in records.values()} == {Status.OK}
        assert server.process.pid != first

        half_open = rig.group(specimen(name="later"), "eager", "twin", timed=True)
        assert make_reference(half_open.reference, list(half_open.cells.values()))
        half_open.open_cells(0)
        os.kill(server.process.pid, signal.SIGKILL)
        # another worker brings a new server up, before the old ones were asked for anything
        server.fork({})
        half_open.time()
        assert {record.status for record in half_open.records.values()} == {Status.CRASHED}
    finally:
        pids = [server.process.pid, *(worker.pid for worker in server.workers)]
        server.close()
    assert all(gone(pid) for pid in pids)


PARENT = """
import sys, time
from pathlib import Path
from tests.support.rig import Rig, new_server, specimen
folder = Path(sys.argv[1])
server = new_server(folder / "server", folder / "cache")
task = Rig(folder, folder, server, folder).group(specimen(), "eager").reference.task("eager")
stopped, awake = server.fork(task), server.fork(task)
stopped.park()
print(server.process.pid, stopped.pid, awake.pid, flush=True)
time.sleep(600)
"""


def test_nothing_is_left_when_pytest_itself_is_killed(tmp_path):
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    parent = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 3
        assert state(pids[1]) == psutil.STATUS_STOPPED
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    assert [gone(pid) for pid in pids] == [True] * 3
