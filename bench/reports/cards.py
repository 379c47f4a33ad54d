"""Method and data set cards as plain values: one source for tables, JSON and docs."""

from __future__ import annotations

from typing import Any

from prunebench.methods.base import BatchPruner, EvidenceSpec, Sampler, StaticPruner
from prunebench.methods.compose import MethodInfo, list_methods
from prunebench.options import Option
from prunebench.registry import DATASETS, SAMPLERS, Entry

#: Epochs for which a card states what a method needs.
CARD_EPOCHS = 200


def option_card(option: Option) -> dict[str, Any]:
    """Default, meaning, accepted values and search range of one option."""
    return {
        "default": option.default,
        "help": option.help,
        "accepted": option.accepted(),
        "search": list(option.search) if option.search is not None else None,
        "log": option.log,
    }


def signals_of(info: MethodInfo) -> list[str]:
    """What a method needs measured, in words."""
    pruner: Any = info.build({})
    need: EvidenceSpec = pruner.needs(CARD_EPOCHS, max(2, round(0.15 * CARD_EPOCHS)))
    words = sorted(need.signals)
    words += ["snapshot"] * bool(need.snapshots) + ["strong view"] * bool(need.strong)
    words += ["reference set"] * need.reads_reference
    words += ["self-supervised features"] * need.ssl
    words += [f"{need.repeats} runs"] if need.repeats > 1 else []
    if isinstance(pruner, StaticPruner):
        return words
    words += sorted(pruner.signals)
    words += ["last loss"] if pruner.reads_loss else []
    words += [f"{pruner.window} last losses"] if pruner.window else []
    scored = isinstance(pruner, BatchPruner) and pruner.scoring_pass
    words += ["logits and features of the batch"] if scored else []
    words += ["holdout model"] if pruner.holdout_model else []
    return words + (["reference loss"] if pruner.reference else [])


def method_card(info: MethodInfo) -> dict[str, Any]:
    """Everything a user may want to know of a method."""
    return {
        "name": info.name,
        "version": info.version,
        "kind": info.kind,
        "title": info.card.title,
        "side": info.card.side,
        "signals": signals_of(info),
        "cost": info.card.cost,
        "provisional": info.card.provisional,
        "clean_data": info.clean_data,
        "oracle": info.oracle,
        "paper": info.card.paper,
        "year": info.card.published,
        "repository": info.card.repository,
        "citation": info.card.bibtex_key,
        "options": {name: option_card(option) for name, option in info.options.items()},
    }


def sampler_card(entry: Entry[Any]) -> dict[str, Any]:
    """Everything a user may want to know of a sampler."""
    target: type[Sampler] = entry.target
    return {
        "name": entry.name,
        "version": str(entry.version),
        "kind": "sampler",
        "title": target.card.title,
        "side": target.card.side,
        "signals": sorted(target().needs(EvidenceSpec()).signals),
        "cost": target.card.cost,
        "clean_data": "",
        "oracle": False,
        "paper": target.card.paper,
        "year": target.card.published,
        "repository": target.card.repository,
        "citation": target.card.bibtex_key,
        "options": {name: option_card(option) for name, option in target.options.items()},
    }


def sampler_cards() -> list[dict[str, Any]]:
    """Every sampler, sorted by name."""
    return [sampler_card(entry) for entry in SAMPLERS]


def method_cards() -> list[dict[str, Any]]:
    """Every method, in the order of ``method_infos``."""
    return [method_card(info) for info in method_infos()]


def method_infos() -> list[MethodInfo]:
    """Every method, baselines first, then static, dynamic, batch-level and oracles."""
    order = {"baseline": 0, "static": 1, "dynamic": 2, "batch": 3}
    return sorted(list_methods(), key=lambda i: (order.get(i.kind, 4), i.name))


def dataset_cards() -> list[dict[str, Any]]:
    """Every data set, sorted by name."""
    cards = []
    for entry in DATASETS:
        source = entry.target
        argument = f":{source.argument.upper()}" if source.argument else ""
        if source.argument_optional:
            argument = f"[{argument}]"
        cards.append(
            {
                "name": entry.name,
                "usage": entry.name + argument,
                "version": entry.version,
                "summary": source.summary,
                "recipe": source.recipe,
                "options": {n: option_card(o) for n, o in source.options.items()},
            }
        )
    return cards
