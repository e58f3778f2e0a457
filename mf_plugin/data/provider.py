"""SyntheticDataset: load a synthetic dataset, or generate it once and load it.

Both frameworks build their datasets in every process of a training job, and detectron2 asks a
registered function again and again for the same result. So generation is guarded by a lock on
the file system: whoever comes first generates, the others wait and load.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from mf_plugin.errors import InputError
from mf_plugin.jsonfile import read_json
from mf_plugin.lvis.io import read_lvis, validate_lvis

if TYPE_CHECKING:
    from mf_plugin.generation.generator import GeneratorConfig

logger = logging.getLogger(__name__)

ANNOTATIONS = "annotations.json"
PROVENANCE = "dataset.json"


def resolve_folder(folder: str | Path) -> tuple[str, str | None]:
    """The absolute folder, and the generation config where that was given in its place.

    A generation config (a .py file) stands for ``work_dirs/<stem of the file>``.
    """
    if str(folder).endswith(".py"):
        return os.path.abspath(Path("work_dirs", Path(folder).stem)), os.path.abspath(folder)
    return os.path.abspath(folder), None


def resolve_folders(
    folders: str | Path | Sequence[str | Path],
) -> tuple[tuple[str, str | None], ...]:
    """`resolve_folder` of one or several, in their order.

    Raises:
        InputError: there is none, or one is given twice.
    """
    several = [folders] if isinstance(folders, (str, Path)) else list(folders)
    found = tuple(resolve_folder(folder) for folder in several)
    if not found:
        raise InputError("expected one synthetic dataset or more, got none")
    roots = [root for root, _ in found]
    twice = next((root for root in roots if roots.count(root) > 1), None)
    if twice is not None:
        raise InputError(f"the synthetic dataset {twice} is given twice: expected each once")
    return found


class SyntheticDataset:
    """A synthetic dataset folder, and the config that it is generated from where it is missing.

    Args:
        root: the dataset folder; it need not exist yet if there is a config.
        config: a GenerationConfig or SegGenConfig, or the path of a Python file that defines one. A
            dataset that is already there must have been generated with it.
    """

    def __init__(
        self, root: str | Path, config: GeneratorConfig | str | Path | None = None
    ) -> None:
        self.root = Path(os.path.abspath(root))
        self._config = config

    @property
    def annotations_file(self) -> Path:
        """The LVIS json."""
        return self.root / ANNOTATIONS

    @property
    def image_root(self) -> Path:
        """The folder that the paths in ``coco_url`` start from."""
        return self.root

    def ensure(self, device: str = "cpu", *, generate: Callable[..., Any] | None = None) -> Path:
        """Make sure that the dataset is there, complete and from this config; return its root.

        Any number of processes may call it at once: one generates.

        Args:
            device: where to generate.
            generate: called as ``generate(config, root, device=device)`` where the dataset is
                missing; ``mf_plugin.generation.run.generate`` if None.

        Raises:
            InputError: the dataset is missing and there is no config, is from another config, or
                is damaged (truncated json, an image missing on disk).
        """
        config = self._load_config()
        if not self._is_complete():
            if config is None:
                raise InputError(self._how_to_generate())
            self._generate_once(config, device, generate)
        self._check_config(config)
        self._check_content()
        return self.root

    def _is_complete(self) -> bool:
        return self.annotations_file.is_file() and (self.root / PROVENANCE).is_file()

    def _generate_once(
        self, config: GeneratorConfig, device: str, generate: Callable[..., Any] | None
    ) -> None:
        self.root.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root.with_name(self.root.name + ".lock"))
        with _acquired(lock, f"waiting for another process that generates {self.root}"):
            if self._is_complete():
                return
            if generate is None:
                from mf_plugin.generation import run

                generate = run.generate
            logger.info("generating the synthetic dataset %s", self.root)
            generate(config, self.root, device=device)
        if not self._is_complete():
            raise RuntimeError(
                f"generation ended without {ANNOTATIONS} and {PROVENANCE} in {self.root}"
            )

    def _load_config(self) -> GeneratorConfig | None:
        if not isinstance(self._config, (str, Path)):
            return self._config
        from mf_plugin.generation.config import load_generation_config

        self._config = load_generation_config(self._config)
        return self._config

    def _check_config(self, config: GeneratorConfig | None) -> None:
        if config is None:
            return
        path = self.root / PROVENANCE
        provenance = read_json(path, "a finished dataset")
        if not isinstance(provenance, dict) or not isinstance(provenance.get("config", {}), dict):
            raise InputError(f"{path} is damaged: expected an object with the config")
        if provenance.get("config_hash") == config.config_hash:
            return
        from mf_plugin.generation.config import differences

        changed = differences(provenance.get("config") or {}, config.to_json())
        raise InputError(
            f"{self.root} was generated with another config "
            f"({'; '.join(changed[:5]) or 'config_hash differs'}): "
            "use that config or another folder"
        )

    def _check_content(self) -> None:
        data = read_lvis(self.annotations_file)
        try:
            validate_lvis(data, self.image_root)
        except InputError as error:
            raise InputError(f"{self.annotations_file}: {error}") from None
        logger.info(
            "%s: %d synthetic images, %d instances",
            self.root,
            len(data["images"]),
            len(data["annotations"]),
        )

    def _how_to_generate(self) -> str:
        what = "an unfinished synthetic dataset" if self.root.is_dir() else "no synthetic dataset"
        return (
            f"{self.root} holds {what} ({ANNOTATIONS} or {PROVENANCE} is missing): generate it "
            f"with python tools/generate.py --config configs/generation/X.py --out {self.root}"
        )


def categories_per_image(
    annotations: Mapping[str, Any], image_ids: Sequence[int] | None = None
) -> list[list[int]]:
    """The distinct category ids of each image, ascending: the input of `sampling.repeat_factors`.

    Args:
        annotations: an LVIS annotation json.
        image_ids: N image ids that set the order; the json's own order where absent. Images that
            are not in it are passed over.

    Returns:
        N lists; empty for an image without annotations.

    Raises:
        InputError: an image id that is not in the json.
    """
    known = [image["id"] for image in annotations["images"]]
    found: dict[int, set[int]] = {image_id: set() for image_id in known}
    for annotation in annotations["annotations"]:
        try:
            found[annotation["image_id"]].add(annotation["category_id"])
        except KeyError:
            raise InputError(
                f"annotation {annotation.get('id')!r}: "
                f"unknown image id {annotation.get('image_id')!r}"
            ) from None
    try:
        return [sorted(found[i]) for i in (known if image_ids is None else image_ids)]
    except KeyError as error:
        raise InputError(f"image id {error} is not one of the {len(known)} images") from None


def _acquired(lock: FileLock, waiting: str) -> AbstractContextManager[Any]:
    """The lock, held; says so if that takes waiting for somebody else."""
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        logger.info(waiting)
        return lock.acquire()
