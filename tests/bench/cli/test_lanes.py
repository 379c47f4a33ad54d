"""Lanes on the command line: refused where they gain nothing, else one process per card."""

import pytest

from prunebench.bench.cli.options import check_lanes
from prunebench.bench.executors.local.executor import LocalExecutor
from prunebench.bench.grids.driver import make_executor
from prunebench.bench.results.store import Store
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.errors import InputError
from support.command import prunebench


def test_lanes_on_a_cpu_are_refused_in_one_line(tmp_path):
    said = prunebench("grid", "demo", "--lanes", "3", "--out", str(tmp_path / "r"))
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert "--lanes" in said.err
    assert "gain nothing" in said.err
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(("devices", "executor", "slots"), [
    (("cpu",), "local", 1), (("cuda:0", "cpu"), "local", 1), (("cuda",), "ray", 1),
    (("cuda",), "local", 2),
])  # fmt: skip
def test_what_lanes_do_not_go_with(devices, executor, slots):
    with pytest.raises(InputError, match="--lanes"):
        check_lanes(devices, executor, slots)


def test_cards_with_lanes_get_one_process_each(tmp_path):
    check_lanes(("cuda:0", "cuda:1"), "local", 1)
    running = ExecutionOptions(workers=6, devices=("cuda:0", "cuda:1"), slots_per_device=3, lanes=3,
                      compile=True, graph="off")  # fmt: skip
    executor = make_executor(Store(tmp_path), running)
    assert isinstance(executor, LocalExecutor)
    assert executor.launch.run.endswith(":payload_steps")
    given = ExecutionOptions.of_worker(executor.launch.settings)
    assert given == ExecutionOptions(graph="off", compile=True)
    workers = executor.make_workers()
    devices = [[slot.device for slot in worker.slots.values()] for worker in workers]
    assert devices == [["cuda:0"] * 3, ["cuda:1"] * 3]
    assert all(worker.shared for worker in workers)


def test_the_time_to_leave_grows_with_the_cells_that_one_process_must_save(tmp_path):
    times = [
        worker.grace_s
        for lanes in (1, 2, 6)
        for worker in make_executor(
            Store(tmp_path), ExecutionOptions(devices=("cuda:0",), slots_per_device=6, lanes=lanes)
        ).make_workers()
    ]
    assert times == [10.0, 14.0, 30.0]
