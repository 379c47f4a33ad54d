"""Which job is next, without any process."""

from __future__ import annotations

import random

import pytest

from prunebench.bench.executors.base import Job
from prunebench.bench.executors.queue import JobQueue
from prunebench.errors import InputError


def job(key: str, after: str = "", group: str = "") -> Job:
    return Job(key, {}, after=tuple(after), group=group)


def run_to_end(queue: JobQueue, slots: int = 1) -> str:
    order, slot = "", 0
    while queue.open:
        taken = queue.take(slot, 0.0)
        assert taken is not None
        order += taken.key
        queue.finish(taken.key)
        slot = (slot + 1) % slots
    return order


def test_given_order_without_anything_else() -> None:
    assert run_to_end(JobQueue([job(key) for key in "dacb"])) == "dacb"


def test_jobs_others_wait_for_go_first_and_dependants_wait() -> None:
    jobs = [job("a"), job("b"), job("x", after="p"), job("p"), job("y", after="pa")]
    assert run_to_end(JobQueue(jobs)) == "apbxy"
    queue = JobQueue(jobs)
    for key in "apb":
        assert queue.take(0, 0.0) == next(found for found in jobs if found.key == key)
    assert queue.take(0, 0.0) is None
    queue.finish("p")
    assert queue.take(0, 0.0) == jobs[2]
    assert queue.take(0, 0.0) is None
    queue.finish("a")
    assert queue.take(0, 0.0) == jobs[4]


def test_dependencies_outside_the_run_count_as_ended() -> None:
    assert run_to_end(JobQueue([job("a", after="z")])) == "a"


def test_a_slot_stays_with_its_data() -> None:
    jobs = [job("a", group="1"), job("b", group="2"), job("c", group="1"), job("d", group="2")]
    assert run_to_end(JobQueue(jobs)) == "acbd"
    queue = JobQueue(jobs)
    first, second = queue.take(0, 0.0), queue.take(1, 0.0)
    assert (first, second) == (jobs[0], jobs[1])
    assert queue.take(1, 0.0) == jobs[3]
    assert queue.take(0, 0.0) == jobs[2]


def test_put_back_jobs_wait_for_their_time() -> None:
    jobs = [job("a"), job("b")]
    queue = JobQueue(jobs)
    assert queue.take(0, 0.0) == jobs[0]
    queue.put_back(jobs[0], 5.0)
    assert queue.next_time() == 5.0
    assert queue.ready(4.9) == 1
    assert queue.take(0, 4.9) == jobs[1]
    assert queue.take(0, 4.9) is None
    assert queue.take(0, 5.0) == jobs[0]
    queue.put_back(jobs[0])
    assert queue.take(0, 5.0) == jobs[0]
    assert queue.open == 2


def test_twice_and_in_cycles_is_refused() -> None:
    with pytest.raises(InputError, match="a occurs twice"):
        JobQueue([job("a"), job("a")])
    with pytest.raises(InputError, match="cycle: a, b"):
        JobQueue([job("a", after="b"), job("b", after="a"), job("c")])
    with pytest.raises(InputError, match="cycle"):
        JobQueue([job("a", after="a")])


@pytest.mark.parametrize("seed", range(200))
def test_every_job_runs_once_after_its_dependencies(seed: int) -> None:
    dice = random.Random(seed)
    names = "abcdefghijkl"[: dice.randint(1, 12)]
    jobs = [
        job(name, "".join(dice.sample(names[:n], dice.randint(0, n))), dice.choice(["", "1", "2"]))
        for n, name in enumerate(names)
    ]
    dice.shuffle(jobs)
    queue, ended, running, now = JobQueue(jobs), list[str](), list[Job](), 0.0
    while queue.open:
        now += 1.0
        taken = queue.take(dice.randint(0, 2), now)
        if taken is not None:
            assert set(taken.after) <= set(ended)
            if dice.random() < 0.7:
                running.append(taken)
            else:
                queue.put_back(taken, dice.choice([0.0, now + 2.0]))
        elif not running:
            assert queue.next_time() is not None
        if running and dice.random() < 0.4:
            done = running.pop(dice.randrange(len(running)))
            ended.append(done.key)
            queue.finish(done.key)
    assert sorted(ended) == sorted(names)
