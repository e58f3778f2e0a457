"""Checkpoints are read as numbers: what else a file holds is not run.

Detectron2 opens its model zoo's .pkl files with pickle, which runs what a stranger has put in. Here
such a file may hold numpy arrays and plain data alone. Files of torch are read with
``weights_only``, as torch 2.6 and later do by themselves.
"""

from __future__ import annotations

import pickle
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.utils.file_io import PathManager

from mf_plugin.errors import InputError

_ALLOWED = {
    ("collections", "OrderedDict"),
    ("_codecs", "encode"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    *((f"numpy.{core}.multiarray", name)
      for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
}  # fmt: skip


class Checkpointer(DetectionCheckpointer):
    """Detectron2's, for weights from anywhere."""

    def _load_file(self, filename: str) -> Any:
        """
        Raises:
            InputError: the file holds more than weights, or is damaged.
        """
        if not filename.endswith(".pkl"):
            return super()._load_file(filename)
        with PathManager.open(filename, "rb") as file:
            data = read_arrays(file, filename)
        if "model" in data and "__author__" in data:
            return data
        weights = data.get("blobs", data)
        kept = {name: value for name, value in weights.items() if not name.endswith("_momentum")}
        return {"model": kept, "__author__": "Caffe2", "matching_heuristics": True}

    def _torch_load(self, f: str) -> Any:
        try:
            return torch.load(f, map_location=torch.device("cpu"), weights_only=True)
        except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
            line = str(error).split("\n")[0]
            raise InputError(
                f"checkpoint {f} is not read: {line}; expected weights alone"
            ) from error


def read_arrays(file: Any, name: str) -> dict[str, Any]:
    """A pickle of numpy arrays, numbers, text, lists and dicts.

    Raises:
        InputError: it holds anything else, or is damaged.
    """
    try:
        data = _ArrayUnpickler(file, encoding="latin1").load()
    except InputError as error:
        raise InputError(f"checkpoint {name} is not read: {error}") from None
    except Exception as error:  # damaged pickles raise whatever their bytes ask for
        raise InputError(f"checkpoint {name} is damaged: {error}") from error
    if not isinstance(data, dict):
        raise InputError(f"checkpoint {name} holds a {type(data).__name__}; expected weights")
    return data


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise InputError(f"it asks for {module}.{name}; expected arrays alone")
        return super().find_class(module, name)
