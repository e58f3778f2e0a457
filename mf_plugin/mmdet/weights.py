"""Checkpoints are read as numbers: what else a file holds is not run.

mmengine reads a checkpoint with ``weights_only`` first and, where that is refused, without it,
which runs what a stranger has put in. Here it ends with an error. Own checkpoints, with the states
of optimizer and message hub, pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.runner import checkpoint
from mmengine.runner.checkpoint import CheckpointLoader, get_torch_safe_globals

from mf_plugin.errors import InputError


def install_weights_only() -> None:
    """mmengine reads checkpoints with `load_weights` and `fetch_weights` from now on."""
    CheckpointLoader.register_scheme(prefixes="", loader=load_weights, force=True)
    checkpoint.load_url = fetch_weights  # of http:, torchvision: and the model zoos' prefixes


def load_weights(filename: str, map_location: Any = None) -> Any:
    """The content of a checkpoint.

    Raises:
        FileNotFoundError: there is none.
        InputError: it holds more than weights and states, or is damaged.
    """
    path = Path(filename).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{path} can not be found.")
    with _numbers_alone(str(path)):
        return torch.load(path, map_location=map_location, weights_only=True)


def fetch_weights(url: str, **options: Any) -> Any:
    """The content of a checkpoint of the web, kept in torch's folder of downloads.

    Args:
        url: http: or https:.
        options: of torch.hub.load_state_dict_from_url.

    Raises:
        InputError: it holds more than weights and states, or is damaged.
        OSError: it is not to be had.
    """
    with _numbers_alone(url):
        return torch.hub.load_state_dict_from_url(url, weights_only=True, **options)


@contextmanager
def _numbers_alone(name: str) -> Iterator[None]:
    try:
        with torch.serialization.safe_globals(_allowed()):
            yield
    except (UnpicklingError, EOFError, RuntimeError) as error:
        line = str(error).split("\n")[0]
        raise InputError(
            f"checkpoint {name} is not read: {line}; expected weights alone"
        ) from error


def _allowed() -> list[Any]:
    """What mmengine's own checkpoints hold beside tensors: numpy's numbers and its histories."""
    known = [one for one in get_torch_safe_globals() if one is not getattr]
    known += [type(np.dtype(kind)) for kind in ("?", "i4", "i8", "u1", "u4", "f4", "f8")]
    return [*known, (_method_of_history, "builtins.getattr")]


def _method_of_history(owner: Any, name: str) -> Any:
    """In the place of getattr, by which a history names its own functions."""
    if owner is not HistoryBuffer or name.startswith("_"):
        raise UnpicklingError(f"it asks for {name} of {owner}")
    return getattr(owner, name)
