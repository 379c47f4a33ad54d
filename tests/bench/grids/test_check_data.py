"""What the data do not allow is one line before anything of a grid trains."""

import numpy as np
import pytest

from prunebench.bench.estimates.summary import summarise
from prunebench.bench.grids.driver import run_cells
from prunebench.bench.grids.grid_file import Grid, expand
from prunebench.bench.results.store import Store
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.errors import InputError

INLINE = ExecutionOptions(inline=True, quiet=True, mlflow=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Names of data sets without an outline: vectors and images of 3 classes, and texts."""
    folder = tmp_path_factory.mktemp("data")
    draws, y = np.random.default_rng(0), np.arange(90) % 3
    images = draws.integers(0, 256, (90, 8, 8), dtype=np.uint8)
    for name, x in (("vectors", images.reshape(90, 64).astype(np.float32)), ("images", images)):
        np.savez(folder / f"{name}.npz", X=x, y=y, X_test=x[:9], y_test=y[:9])
    rows = [f"word{n} common,{'abc'[n % 3]}" for n in range(90)]
    (folder / "texts.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    return {name: f"arrays:{folder / name}.npz" for name in ("vectors", "images")} | {
        "texts": f"text:{folder / 'texts.csv'}"
    }


@pytest.mark.parametrize(
    ("name", "field", "line"),
    [
        ("vectors", {"corrupt": "fog:0.3"}, r"fog:0\.3 of vectors"),
        ("texts", {"corrupt": "fog:0.3"}, r"fog:0\.3 of vectors"),
        ("images", {"corrupt": "fog:0.001"}, r"share 0\.001 of \d+ training images is none"),
        ("images", {"imbalance": ["step:2", "exp:900"]}, "class 2 would be empty"),
        ("texts", {"imbalance": "step:900"}, "class 2 would be empty"),
    ],
)
def test_what_the_data_do_not_allow_is_refused_before_anything_trains(name, field, line, data,
                                                                      tmp_path):  # fmt: skip
    grid = Grid(name="g", dataset=data[name], method=["full", "random"], ratio=0.5, **field)
    cells = expand(grid, "g.toml")
    for start in (lambda: run_cells(cells, Store(tmp_path / "out"), INLINE),
                  lambda: summarise(cells, tmp_path / "out", INLINE)):  # fmt: skip
        with pytest.raises(InputError, match=line) as caught:
            start()
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
