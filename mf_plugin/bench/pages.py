"""docs/performance.md: the tables of all benches that were run, from their json files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mf_plugin.bench.data import data_table
from mf_plugin.bench.evaluation import evaluation_table
from mf_plugin.bench.merging import merging_table
from mf_plugin.bench.table import generation_table
from mf_plugin.errors import InputError
from mf_plugin.jsonfile import read_json

Table = Callable[[dict[str, Any]], str]
SECTIONS: dict[str, tuple[str, str, Table]] = {  # of a json: its heading, what it says, its table
    "generation": (
        "Generation",
        "MosaicFusion beside bare U-Net calls of the same number and a plain diffusers sampling "
        "loop over the same pixels; the bilateral solver that refines masks.",
        generation_table,
    ),
    "merge": (
        "Reading, validating, merging",
        "A stand-in with the size and skew of LVIS v1's training set, and synthetic images beside "
        "it. Python's json, which checks nothing, is the peer.",
        lambda result: merging_table(result["merge"]),
    ),
    "data": (
        "Loading and sampling",
        "The same stand-in, by the frameworks' own loaders (the peers) and by ours.",
        lambda result: data_table(result["data"]),
    ),
    "eval": (
        "Evaluation",
        "`tools/eval_rare.py` on two runs at the size of LVIS's validation set, and mask AP of a "
        "part of it beside lvis-api, faster-coco-eval and hotcoco's own evaluator.",
        lambda result: evaluation_table(result["eval"]),
    ),
}
HEAD = """# Performance

Written by `tools/bench.py page`, from what the commands under each heading measured, each of them
beside a peer in the same run. Only the ratios say something about other machines.
"""


def performance_page(folder: Path) -> str:
    """The page, in markdown.

    Args:
        folder: where ``<bench>.json`` lie; one that is missing has no section.

    Raises:
        InputError: there is none, or one is damaged.
    """
    parts = [HEAD]
    for name, (heading, text, table) in SECTIONS.items():
        path = folder / f"{name}.json"
        if not path.is_file():
            continue
        result = read_json(path, "what tools/bench.py wrote")
        try:
            machine = result["machine"]
            shown = table(result)
            where = ", ".join(str(machine[k]) for k in ("cpu", "gpu") if k in machine)
            where = f"{where}, {machine['cores']} cores"
            command = result["command"]
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            raise InputError(f"{path}: expected what tools/bench.py wrote ({error!r})") from None
        parts.append(f"## {heading}\n\n{text}\n\n    {command}\n\n{where}. {shown}\n")
    if len(parts) == 1:
        names = ", ".join(f"{name}.json" for name in SECTIONS)
        raise InputError(f"{folder} holds none of {names}: expected what tools/bench.py wrote")
    return "\n".join(parts)
