"""Initial weights from a file: only tensors are read, and what does not fit is refused."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from prunebench.bench.networks.base import FeatureNet
from prunebench.bench.networks.torchzip import TorchZip, is_stored
from prunebench.bench.spec.recipe import NEEDED, Recipe
from prunebench.errors import InputError
from prunebench.record import file_digest
from prunebench.untrusted import user_path

ACCEPTED = "a safetensors file, or a PyTorch file that holds tensors only"
_NEW = "a safetensors file, or what torch.save of PyTorch 1.6 or later writes"
_HEAD = ("fc.weight", "fc.bias")
_WRAPPERS = ("state_dict", "model", "model_state_dict")


def weights_digest(
    recipe: Recipe, given: Mapping[str, Any], where: str, field: str = "recipe_params"
) -> tuple[str, str]:
    """What a recipe starts from, for the key and for this machine.

    Args:
        recipe: The recipe by its name.
        given: The user's ``recipe_params``; ``weights`` among them is a path, or None for none.
        where: Prefix of error lines.
        field: Name of ``given`` there.

    Returns:
        The digest (empty: weights are drawn) and the path.

    Raises:
        InputError: There is no such file, it holds no weights, or the recipe needs one.
    """
    path = given.get("weights", recipe.weights)
    if path is None or path == "":
        return "", ""
    if path == NEEDED:
        raise InputError(
            f"recipe {recipe.name} starts from pretrained weights",
            where=f"{where}: {field}", accepted="weights=FILE, or weights=none",
        )  # fmt: skip
    place = f"{where}: {field}.weights"
    if not isinstance(path, str) or not user_path(path, place).is_file():
        raise InputError(f"no such file: {path!r}", where=place, accepted=ACCEPTED)
    digest = file_digest(user_path(path))
    _check_readable(path, digest)
    return digest, path


@lru_cache(maxsize=64)
def _check_readable(path: str, digest: str) -> None:
    """Refuses a file before anything is trained; a grid asks the same for every cell."""
    read_weights(path, digest)


def read_weights(path: str, digest: str) -> dict[str, Tensor]:
    """Reads a file of named tensors; nothing else in it is ever unpickled.

    Args:
        path: safetensors, or the zip file of ``torch.save`` of a state dict, bare or under
            ``state_dict`` or ``model``; a leading ``module.`` of names is dropped.
        digest: SHA-256 of the content.

    Raises:
        InputError: The file is missing, damaged, holds more than tensors, or is another one.
    """
    try:
        content = user_path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot be read ({error.strerror})", where=path, accepted=ACCEPTED
        ) from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise InputError("changed since the run was specified", where=path)
    try:
        # safetensors begins with the length of its header, whose bytes may be those of the others.
        other = b"" if content[8:9] == b"{" else content[:2]
        if other[:1] == b"\x80":
            raise InputError("a legacy PyTorch file, all of it a pickle", where=path, accepted=_NEW)
        tensors = _zipped(content, path) if other == b"PK" else load_tensors(content)
    except InputError:
        raise
    except pickle.UnpicklingError:
        raise InputError(
            "holds more than tensors and is not unpickled", where=path, accepted=ACCEPTED
        ) from None
    except Exception as error:  # damaged files raise nearly everything
        line = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise InputError(f"damaged or no weights ({line})", where=path, accepted=ACCEPTED) from None
    return {str(name).removeprefix("module."): value for name, value in tensors.items()}


def _zipped(content: bytes, path: str) -> dict[str, Tensor]:
    file = TorchZip(content, path)
    loaded = file.value
    for name in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(name), Mapping):
            loaded = loaded[name]
    if not is_stored(loaded):
        raise InputError("is no table of named tensors", where=path, accepted=ACCEPTED)
    return {str(name): file.tensor(stored) for name, stored in loaded.items()}


def fit_weights(model: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Copies named tensors into a network, in place.

    Names may be the network's own or those of the library it comes from. The head keeps the
    weights it was drawn with where the file has none, or one for another number of classes.

    Raises:
        InputError: A tensor is missing, left over, of another shape, or not finite.
    """
    own = model.state_dict()
    if isinstance(model, FeatureNet) and not set(tensors) & (set(own) - set(_HEAD)):
        tensors = {_own_name(name, model.head_path): value for name, value in tensors.items()}
    if isinstance(model, FeatureNet):
        weight = tensors.get("fc.weight")
        if weight is None or (
            weight.shape[1:] == own["fc.weight"].shape[1:]
            and len(weight) != len(own["fc.weight"])
        ):  # fmt: skip
            tensors = {**tensors, **{name: own[name] for name in _HEAD}}
    counter = "num_batches_tracked"  # which few networks have, see ``batch_norm.stop_counting``
    tensors = {n: v for n, v in tensors.items() if n in own or not n.endswith(counter)}
    missing = [n for n in own if n not in tensors and not n.endswith(counter)]
    extra = [name for name in tensors if name not in own]
    if missing or extra:
        text = [f"{len(missing)} tensors missing, first {missing[0]!r}"] if missing else []
        text += [f"{len(extra)} left over, first {extra[0]!r}"] if extra else []
        raise InputError("; ".join(text), where=where, accepted="weights of this architecture")
    for name, value in ((name, tensors[name]) for name in own if name in tensors):
        if value.shape != own[name].shape:
            raise InputError(
                f"{name!r} has shape {tuple(value.shape)}",
                where=where, accepted=str(tuple(own[name].shape)),
            )  # fmt: skip
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise InputError(f"{name!r} holds values that are not finite", where=where)
    model.load_state_dict(dict(tensors), strict=False)


def start_from(model: nn.Module, recipe: Recipe, path: str) -> None:
    """Gives a network the initial weights its recipe names; none, and it stays as drawn.

    Raises:
        InputError: See ``read_weights`` and ``fit_weights``; or no path came along.
    """
    if not recipe.weights:
        return
    if not path:
        raise InputError(
            f"recipe {recipe.name} starts from weights with digest {recipe.weights[:12]}",
            where="weights", accepted="the file",
        )  # fmt: skip
    fit_weights(model, read_weights(path, recipe.weights), path)


def _own_name(name: str, head: str) -> str:
    prefix = f"{head}."
    return f"fc.{name.removeprefix(prefix)}" if name.startswith(prefix) else f"body.{name}"
