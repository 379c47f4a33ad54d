"""As many cells as fit into a time: their order, and what becomes of the last one."""

import signal

from prunebench.bench.grids.grid_file import expand, read_grid
from prunebench.bench.grids.telling import by_telling, run_while
from prunebench.bench.results.store import Store
from prunebench.bench.runs.checkpoint_file import FILE
from prunebench.bench.spec.execution import ExecutionOptions

GRID = """
name = "g"
dataset = "digits"
noise = ["symmetric:0.2", "clean"]
method = ["seta", "infobatch+align", "infobatch", "random-dynamic", "full"]
ratio = [0.3, 0.6]
seed = "0..1"
recipe_params = {{ epochs = {epochs} }}
"""
INLINE = ExecutionOptions(inline=True, mlflow=False, quiet=True, checkpoint_s=1e9)


def groups(tmp_path, epochs=2):
    (tmp_path / "g.toml").write_text(GRID.format(epochs=epochs))
    return by_telling(expand(*read_grid(tmp_path / "g.toml")))


def test_what_there_is_of_a_grid_at_any_time_is_paired(tmp_path):
    found = groups(tmp_path)
    names = ["full", "random-dynamic", "infobatch", "infobatch+align"]
    for group in found[:4]:  # the most telling methods at the ratio next to a half, seed by seed
        assert [cell.spec.method.name for cell in group] == names
        assert [cell.spec.ratio for cell in group] == [0.0, 0.6, 0.6, 0.6]
    heads = [(group[0].spec.seed, group[0].spec.noise.name) for group in found]
    assert heads == 2 * [(0, "symmetric:0.2"), (0, "clean"), (1, "symmetric:0.2"), (1, "clean")]
    assert [cell.spec.method.name for cell in found[4]] == [*names[1:], "seta", "seta"]
    assert sum(map(len, found)) == 4 * (1 + 4 * 2)
    assert all(len({cell.spec.seed for cell in group}) == 1 for group in found)


def test_the_last_cell_saves_itself_and_comes_first_in_the_next_call(tmp_path):
    first = groups(tmp_path, epochs=100_000)[0]
    store, long = Store.open(tmp_path / "r"), first[2]
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM)
    begun = []

    def run(seconds, order):
        begun.clear()
        run_while([order], store, INLINE, seconds, lambda cell: None, begun.append, least_s=0.1)

    for seconds in (1, 2, 4, 8, 16, 32):  # on a busy machine it takes long to get there
        run(seconds, [long])
        if (store.checkpoint_path(long.spec.key) / FILE).exists():
            break
    assert (store.checkpoint_path(long.spec.key) / FILE).exists()
    assert store.get(long.spec.key) is None
    assert not list(store.claims.glob("*.json"))
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM)) == before
    run(0.5, first)
    assert [one.cell for one in begun] == [long]
    assert begun[0].record is None


def test_cells_that_fit_come_before_those_that_do_not(tmp_path):
    first, second = groups(tmp_path)[:2]
    store, told = Store.open(tmp_path / "r"), []
    slow = {first[0].spec.key: 1e9}
    chosen = [[first[0], first[1]], [second[1]]]
    run_while(chosen, store, INLINE, 100, lambda c: slow.get(c.spec.key, 1.0), told.append, "g")
    ends = [one for one in told if one.report is not None]
    assert [one.cell for one in ends] == [first[1], first[0], second[1]]
    assert [one.fits for one in ends] == [True, False, True]
    assert all(one.record.status == "done" for one in ends)
    told.clear()
    run_while(chosen, store, INLINE, 100, lambda c: 1.0, told.append, "g")
    assert told == []  # all recorded
