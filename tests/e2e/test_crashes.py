"""What goes wrong in a worker, and what is done to the session: each cell says its own, nothing is
left running.
"""

from __future__ import annotations

import signal

import pytest

ENDS = {  # backend -> what its prepare does
    "segv": "ctypes.string_at(0)",
    "kill": "os.kill(os.getpid(), signal.SIGKILL)",
    "leave": "os._exit(3)",
    "hang": "time.sleep(600)",
    "boom": "raise ValueError('no such luck')",
    "hungry": "torch.empty(3 << 30, dtype=torch.uint8)",
    "nan": "spoil = float('nan')",
    "late": "calls = 0",
}
BACKEND = """
    import ctypes, os, signal, time

    from paritygate.backends import eager
    from paritygate.backends.eager import available, preload

    def prepare(subject):
        import torch

        prepared = eager.prepare(subject)
        spoil, calls = 0.0, None
        {act}

        def call(inputs, run=prepared.call):
            nonlocal calls
            if calls is not None:
                calls += 1
                if calls > 40:  # checked long ago: it is being timed
                    os.abort()
            return run(inputs) + spoil

        prepared.call = call
        return prepared
"""
MODELS = """
    import os, time

    import torch

    from my_model import Net, inputs

    class Segv(Net):
        def forward(self, x):
            import ctypes
            ctypes.string_at(0)

    class Slow(Net):
        def forward(self, x):
            time.sleep(600)

    class Boom(Net):
        def __init__(self):
            raise ValueError("no such luck")

    class Hungry(Net):
        def forward(self, x):
            return super().forward(x) + torch.empty(3 << 30, dtype=torch.uint8)[0]
"""
# The first case is over when the second is under way, which says so and never ends.
TWO = """
    CASES = (
        Case("one", model="my_model:Net", inputs="my_model:inputs", shapes={"b8": {"batch": 8}}),
        Case("slow", model="my_models:Slow", inputs="my_model:inputs", shapes={"b8": {"batch": 8}}),
        Case("three", model="my_model:Net", inputs="my_model:inputs", shapes={"b8": {"batch": 8}}),
    )
"""


@pytest.fixture(name="misfits")
def _misfits(project):
    """A project with a backend for every way to end."""
    for name, act in ENDS.items():
        project.write(f"{name}_backend.py", BACKEND.format(act=act))
    project.write(
        "conftest.py",
        f"""
        pytest_plugins = ["paritygate.plugin", "paritygate_reports.plugin"]

        def pytest_paritygate_backends(config):
            return { ({name: f"{name}_backend" for name in ENDS}) }
    """,
    )
    project.suite("""
        CASES = (Case("one", model="my_model:Net", inputs="my_model:inputs", shapes={"b8": {"batch": 8}}, deadline=20),)
    """)
    return project


def test_each_backend_ends_in_its_own_way_and_eager_is_measured(misfits):
    result = misfits.run("--bench-memory=2G", targets=",".join(["eager", *ENDS]))
    found = {record.backend: record for record in misfits.records().values()}
    assert {backend: str(record.status) for backend, record in found.items()} == {
        "eager": "ok",
        "segv": "crashed",
        "kill": "crashed",
        "leave": "crashed",
        "hang": "timed_out",
        "boom": "failed",
        "hungry": "out_of_memory",
        "nan": "parity_failed",
        "late": "crashed",
    }
    assert found["eager"].throughput > 0
    assert "killed by SIGSEGV (signal 11) while: preparing the model" in found["segv"].reason
    assert "killed by SIGKILL (signal 9)" in found["kill"].reason
    assert "exited with status 3" in found["leave"].reason
    assert (
        "no answer within the 20 s of deadline= while: preparing the model" in found["hang"].reason
    )
    assert "ValueError: no such luck" in found["boom"].reason
    assert "killed by SIGABRT" in found["late"].reason
    # The late one passed its check: its own throughput item fails, the others only point at their
    # parity item.
    result.assert_outcomes(passed=3, failed=8, skipped=7)
    result.stdout.fnmatch_lines(["FAILED *test_throughput[[]one-b8-cpu-late-fp32]*"])
    assert result.ret == 10  # a wrong answer comes first
    assert misfits.run("--benchmark-disable", "-k", "boom", targets="eager,boom").ret == 12


def test_each_model_ends_in_its_own_way_and_the_next_is_measured(project):
    project.write("my_models.py", MODELS)
    project.suite("""
        CASES = [
            *(Case(name.lower(), model=f"my_models:{name}", inputs="my_model:inputs", shapes={"b8": {"batch": 8}},
                   deadline=20) for name in ("Segv", "Slow", "Boom", "Hungry")),
            Case("net", model="my_model:Net", inputs="my_model:inputs", shapes={"b8": {"batch": 8}}),
        ]
    """)
    result = project.run("--bench-memory=2G")
    assert {cell.partition("-")[0]: status for cell, status in project.statuses().items()} == {
        "segv": "crashed",
        "slow": "timed_out",
        "boom": "failed",
        "hungry": "out_of_memory",
        "net": "ok",
    }
    result.assert_outcomes(passed=2, failed=4, skipped=4)
    assert result.ret == 12


@pytest.fixture(name="running")
def _running(project):
    """A session whose first group is measured, while a worker of the second is stuck."""
    project.write(
        "my_models.py", MODELS.replace("time.sleep", "print('stuck', flush=True); time.sleep")
    )
    project.suite(TWO)
    running = project.start()
    running.wait_for(r"\[1/3.*\] one b8")  # in a file too, as soon as the group is over
    running.wait_for_worker("stuck")
    assert len(project.processes()) >= 3  # pytest, its fork server, a worker
    yield running
    running.kill()


def test_a_killed_session_keeps_what_it_measured_and_leaves_nothing(project, running):
    running.kill()
    assert not project.left_over()
    assert project.statuses() == {"one-b8-cpu-eager-fp32": "ok"}
    assert project.records()["one-b8-cpu-eager-fp32"].throughput > 0
    assert list((project.path / ".paritygate" / "scratch").iterdir())
    assert project.run("-k", "three").ret == 0
    # the next session cleans up
    assert not list((project.path / ".paritygate" / "scratch").iterdir())


def test_ctrl_c_ends_promptly_keeps_what_was_measured_and_leaves_nothing(project, running):
    running.interrupt()
    assert running.end() == 2
    assert not project.processes()
    # what was under way is not called ok
    assert project.statuses() == {"one-b8-cpu-eager-fp32": "ok"}
    assert "= paritygate =" in running.output
    assert "KeyboardInterrupt" in running.output
    assert not list((project.path / ".paritygate" / "scratch").iterdir())


def test_a_terminated_session_leaves_nothing(project, running):
    running.process.send_signal(signal.SIGTERM)
    running.end()
    assert not project.left_over()
