"""Worker processes, of predict as of prepare."""

import pytest

from plumbline.processes import ProcessPool


@pytest.mark.parametrize(("system", "num"), [("nt", 61), ("posix", 200)])
def test_a_pool_on_windows_has_no_more_processes_than_python_can_wait_for(monkeypatch, system, num):
    """``ProcessPoolExecutor`` refuses 62 there."""
    made = []

    class Executor:
        def __init__(self, processes: int, **_: object) -> None:
            made.append(processes)

        def submit(self) -> None: ...

    with monkeypatch.context() as patch:
        patch.setattr("plumbline.processes.ProcessPoolExecutor", Executor)
        patch.setattr("plumbline.processes.os.name", system)
        ProcessPool(200)
        ProcessPool(4)
    assert made == [num, 4]
