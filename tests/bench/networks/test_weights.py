"""Initial weights from a file: what fits is loaded, everything else is one clear line."""

import json
import pickle

import pytest
import torch
from safetensors.torch import save, save_file
from torch import nn

from prunebench.bench.networks.build import build_model
from prunebench.bench.networks.weights import fit_weights, read_weights, start_from
from prunebench.bench.runs.resolve import resolve_cell
from prunebench.bench.spec.recipe import Recipe
from prunebench.errors import InputError
from prunebench.record import file_digest
from prunebench.rng import Streams
from support.command import prunebench

IMAGE = (3, 32, 32)


class Payload:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return open, (self.target, "w")


def net(classes=10, seed=0, model="resnet18"):
    params = {"width": 4, "depth": 1} if model == "resnet18" else {}
    recipe = Recipe(name="x", model=model, model_params=params, epochs=1, batch_size=4, lr=0.1)
    return build_model(recipe, IMAGE, classes, Streams(seed, "d", "n").get("init"))


def library_names(model):
    """Names as torchvision would have saved them."""
    return {k.removeprefix("body."): v.clone() for k, v in model.state_dict().items()}


def written(path, tensors):
    if path.suffix == ".safetensors":
        save_file({k: v.contiguous() for k, v in tensors.items()}, path)
    else:
        torch.save(tensors, path)
    return str(path), file_digest(path)


def same(a, b, but=()):
    return {k for k, v in a.state_dict().items() if not torch.equal(v, b.state_dict()[k])} <= set(
        but
    )


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
@pytest.mark.parametrize("names", [library_names, lambda m: m.state_dict()])
def test_a_whole_network_comes_back(name, names, tmp_path):
    source, target = net(seed=1), net(seed=2)
    assert not same(source, target)
    fit_weights(target, read_weights(*written(tmp_path / name, names(source))), name)
    assert same(source, target)


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_common_wrappings_are_undone(wrapper, tmp_path):
    source, target = net(seed=1), net(seed=2)
    tensors = {f"module.{k}": v for k, v in library_names(source).items()}
    path, digest = written(tmp_path / "w.pt", {wrapper: tensors, "epoch": 3})
    fit_weights(target, read_weights(path, digest), path)
    assert same(source, target)


@pytest.mark.parametrize("headless", [False, True])
def test_the_head_is_drawn_anew_where_the_classes_differ(headless, tmp_path):
    source, target, drawn = net(classes=14, seed=1), net(seed=2), net(seed=2)
    tensors = library_names(source)
    if headless:
        del tensors["fc.weight"], tensors["fc.bias"]
    fit_weights(target, read_weights(*written(tmp_path / "w.pt", tensors)), "w.pt")
    assert torch.equal(target.fc.weight, drawn.fc.weight)
    assert torch.equal(target.fc.bias, drawn.fc.bias)
    for name, value in source.body.state_dict().items():
        assert torch.equal(value, target.body.state_dict()[name])


@pytest.mark.parametrize(
    ("model", "head"),
    [("convnext_tiny", "classifier.2"), ("swin_t", "head"), ("vit_b_16", "heads.head")],
)
def test_names_of_the_library_are_found_whatever_the_head_is_called(model, head):
    from torchvision import models

    with torch.device("meta"):
        whole = getattr(models, model)(num_classes=10)
        recipe = Recipe(name="x", model=model, epochs=1, batch_size=4, lr=0.1)
        split = build_model(recipe, (3, 224, 224), 10, Streams(0, "d", "n").get("init"))
    assert split.head_path == head
    light = {k: torch.zeros(v.shape) for k, v in whole.state_dict().items() if v.numel() < 9e5}
    missing = len(whole.state_dict()) - len(light)
    light = {k: v for k, v in light.items() if not k.startswith(head)}
    with pytest.raises(InputError, match=f"{missing} tensors missing") as error:
        fit_weights(split, light, "w.pt")
    assert "left over" not in str(error.value)


def test_old_files_may_lack_the_batch_counters(tmp_path):
    source, target = net(seed=1), net(seed=2)
    tensors = {k: v for k, v in library_names(source).items() if "num_batches" not in k}
    fit_weights(target, read_weights(*written(tmp_path / "w.pt", tensors)), "w.pt")
    assert same(source, target)


@pytest.mark.parametrize("length", [0x80, 0x4B50])
def test_the_length_of_a_header_is_taken_for_no_other_format(length, tmp_path):
    """It is what a safetensors file begins with: here the bytes of a pickle, and of a zip file."""
    path = tmp_path / "w.safetensors"
    bare = len(save({"a": torch.ones(2)}, {"note": ""})) - 8 - 8  # the header, padded to eights
    path.write_bytes(save({"a": torch.ones(2)}, {"note": "x" * (length - bare)}))
    assert path.read_bytes()[:8] == length.to_bytes(8, "little")
    assert read_weights(str(path), file_digest(str(path)))["a"].tolist() == [1, 1]


def spoilt(kind, tensors):
    if kind == "missing":
        del tensors["conv1.weight"]
    elif kind == "left over":
        tensors["aux.weight"] = torch.zeros(3)
    elif kind == "shape":
        tensors["conv1.weight"] = torch.zeros(4, 3, 7, 7)
    elif kind == "finite":
        tensors["conv1.weight"][0] = float("nan")
    elif kind == "head":
        tensors["fc.weight"] = torch.zeros(10, 5)
    return tensors


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "1 tensors missing, first 'body.conv1.weight'"),
        ("left over", "1 left over, first 'body.aux.weight'"),
        ("shape", r"'body.conv1.weight' has shape \(4, 3, 7, 7\)"),
        ("finite", "not finite"),
        ("head", r"'fc.weight' has shape \(10, 5\)"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_copied(kind, said, tmp_path):
    target, before = net(seed=2), net(seed=2)
    tensors = read_weights(*written(tmp_path / "w.pt", spoilt(kind, library_names(net(seed=1)))))
    with pytest.raises(InputError, match=said):
        fit_weights(target, tensors, "w.pt")
    assert same(target, before)


def test_a_head_of_another_width_is_named_by_its_weight(tmp_path):
    tensors = {**library_names(net(classes=7)), "fc.weight": torch.zeros(7, 9)}
    tensors = {"fc.bias": tensors.pop("fc.bias"), **tensors}
    with pytest.raises(InputError, match=r"'fc.weight' has shape \(7, 9\)"):
        fit_weights(net(), tensors, "w")


def test_nothing_is_unpickled(tmp_path):
    mark = tmp_path / "mark"
    for number, write in enumerate([torch.save, lambda o, p: p.write_bytes(pickle.dumps(o))]):
        path = tmp_path / f"evil{number}.pt"
        write({"conv1.weight": Payload(mark)}, path)
        with pytest.raises(InputError) as error:
            read_weights(str(path), file_digest(path))
        assert "\n" not in str(error.value)
        assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "no weights"), (b"hello", "no weights"), (b"PK\x03\x04torn", "no weights"),
     (b"\x08\0\0\0\0\0\0\0{}      ", "1 tensors missing|tensors missing")],
)  # fmt: skip
def test_damaged_files_are_one_clear_line(content, said, tmp_path):
    path = tmp_path / "w"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said) as error:
        fit_weights(net(), read_weights(str(path), file_digest(path)), str(path))
    assert "\n" not in str(error.value)


def test_a_file_of_something_else_is_refused(tmp_path):
    path, digest = written(tmp_path / "w.pt", {"lr": 0.1, "steps": [1, 2]})
    with pytest.raises(InputError, match="no table of named tensors"):
        read_weights(path, digest)


def test_a_file_that_changed_is_refused(tmp_path):
    path, digest = written(tmp_path / "w.pt", library_names(net(seed=1)))
    written(tmp_path / "w.pt", library_names(net(seed=2)))
    with pytest.raises(InputError, match="changed since"):
        read_weights(path, digest)


def test_networks_of_third_parties_need_their_own_names():
    plain = nn.Sequential(nn.Linear(2, 2))
    fit_weights(plain, {"0.weight": torch.ones(2, 2), "0.bias": torch.ones(2)}, "w")
    assert plain[0].weight.sum() == 4
    with pytest.raises(InputError, match="tensors missing"):
        fit_weights(plain, {"fc.weight": torch.ones(2, 2)}, "w")


def test_a_run_without_the_file_is_refused():
    recipe = Recipe(name="x", model="mlp", epochs=1, batch_size=4, lr=0.1, weights="a" * 64)
    with pytest.raises(InputError, match="aaaaaaaaaaaa"):
        start_from(nn.Linear(1, 1), recipe, "")


def test_the_key_holds_the_content_and_not_the_path(tmp_path):
    tensors = library_names(net(seed=1))
    paths = [tmp_path / "a.pt", tmp_path / "sub" / "b.pt"]
    paths[1].parent.mkdir()
    path, digest = written(paths[0], tensors)
    paths[1].write_bytes(paths[0].read_bytes())
    cells = [
        resolve_cell(dataset="digits", recipe_params={"weights": w})
        for w in (path, str(paths[1]), None)
    ]
    assert cells[0].spec.key == cells[1].spec.key != cells[2].spec.key
    assert cells[0].weights == path
    assert digest in json.dumps(cells[0].spec.content)
    assert str(tmp_path) not in json.dumps(cells[0].spec.content)
    assert cells[2].spec.key == resolve_cell(dataset="digits").spec.key
    written(paths[0], library_names(net(seed=2)))
    changed = resolve_cell(dataset="digits", recipe_params={"weights": path})
    assert changed.spec.key != cells[0].spec.key


def test_a_recipe_that_needs_weights_says_so():
    with pytest.raises(InputError, match="weights=FILE, or weights=none"):
        resolve_cell(dataset="digits", recipe="clothing1m")
    scratch = resolve_cell(dataset="digits", recipe="clothing1m", recipe_params={"weights": None})
    assert scratch.spec.recipe.weights == ""


def test_from_the_command_line_and_again(tmp_path):
    """A run from given weights, its proxy included, its repeat, and what stands in the record."""
    recipe = resolve_cell(dataset="digits").spec.recipe
    source = build_model(recipe, (1, 8, 8), 10, Streams(5, "x", "y").get("init"))
    path, digest = written(tmp_path / "start.safetensors", source.state_dict())
    out = tmp_path / "r"
    run = ["run", "--dataset", "digits", "--method", "small-loss", "--ratio", "0.5",
           "--recipe-param", "epochs=4", "--out", out, "--no-mlflow", "--json"]  # fmt: skip
    given = prunebench(*run, "--recipe-param", f"weights={path}")
    assert given.code == 0, given.err
    drawn = prunebench(*run)
    assert given.json["key"] != drawn.json["key"]
    assert given.json["spec"]["recipe"]["weights"] == digest
    assert given.json["metrics"] != drawn.json["metrics"]
    again = ["rerun", given.json["key"], out, "--json"]
    refused = prunebench(*again)
    assert refused.code == 2
    assert "--weights" in refused.err
    other, _ = written(tmp_path / "other.safetensors", {"x": torch.zeros(1)})
    assert "not the file" in prunebench(*again, "--weights", other).err
    same_run = prunebench(*again, "--weights", path)
    assert same_run.code == 0, same_run.err
    assert same_run.json["identical"]
    assert "weights=FILE" in same_run.json["command"]


def test_unsafe_weights_end_a_run_with_one_line(tmp_path):
    mark, path = tmp_path / "mark", tmp_path / "evil.pt"
    torch.save({"x": Payload(mark)}, path)
    said = prunebench(
        "run", "--dataset", "digits", "--recipe-param", f"weights={path}",
        "--out", tmp_path / "r", "--no-mlflow",
    )  # fmt: skip
    assert said.code == 2
    assert "not unpickled" in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert not (tmp_path / "r").exists()
    assert "Traceback" not in said.err
    assert not mark.exists()
    assert not list((tmp_path / "r" / "records").glob("*.json"))
