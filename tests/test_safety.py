"""No foreign pickle is opened, no hub model is loaded but at its revision; names stay text."""

from __future__ import annotations

import ast
import pickle
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from mf_plugin.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted([*(ROOT / "mf_plugin").rglob("*.py"), *(ROOT / "tools").glob("*.py")])
UNPICKLER = "mf_plugin/detectron2/weights.py"  # the one that lets arrays pass and nothing else
EVIL = "</script><img src=x onerror=alert(1)>'\"{{ 7 * 7 }}"


def calls(path: Path) -> list[tuple[str, set[str]]]:
    """(dotted name, names of the keyword arguments that are constants other than False)."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            keys = {
                k.arg or ""
                for k in node.keywords
                if not (isinstance(k.value, ast.Constant) and k.value.value is False)
            }
            found.append((ast.unparse(node.func), keys))
    return found


def dangers(path: Path) -> list[str]:
    problems = []
    for name, keys in calls(path):
        first, _, last = name.rpartition(".")
        if name == "torch.load" and "weights_only" not in keys:
            problems.append("torch.load without weights_only")
        if first in ("pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal"):
            problems.append(name)
        if last == "load" and "allow_pickle" in keys:
            problems.append("allow_pickle")
        if name in ("yaml.load", "yaml.unsafe_load") or "trust_remote_code" in keys:
            problems.append(name)
    return problems


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_is_unpickled(path):
    assert dangers(path) == []
    imports = [
        alias.name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import)
        for alias in node.names
    ]
    assert "pickle" not in imports or str(path.relative_to(ROOT)) == UNPICKLER


@pytest.mark.parametrize(
    "line, problem",
    [
        ("torch.load(p)", "torch.load without weights_only"),
        ("torch.load(p, weights_only=False)", "torch.load without weights_only"),
        ("pickle.loads(b)", "pickle.loads"),
        ("np.load(p, allow_pickle=True)", "allow_pickle"),
        ("AutoModel.from_pretrained(p, trust_remote_code=True)", "AutoModel.from_pretrained"),
    ],
)
def test_the_search_itself(tmp_path, line, problem):
    (tmp_path / "a.py").write_text(line)
    assert dangers(tmp_path / "a.py") == [problem]


class Attack:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_judge_of_a_stranger_is_not_run(tmp_path):
    torch = pytest.importorskip("torch")
    from mf_plugin.evaluation.judge import JudgeConfig, load_or_train_judge
    from mf_plugin.lvis.sprites import preset_categories

    torch.save({"fingerprint": Attack(tmp_path / "trace")}, tmp_path / "judge.pt")
    categories = preset_categories("demo")[:2]
    with pytest.raises(pickle.UnpicklingError):
        load_or_train_judge(tmp_path, categories, JudgeConfig())
    assert not (tmp_path / "trace").exists()


def test_arrays_of_a_stranger_are_not_run(tmp_path):
    """What the training of the bundled model reads its latents with."""
    np.save(tmp_path / "a.npy", np.array([Attack(tmp_path / "trace")], object))
    with pytest.raises(ValueError, match="allow_pickle"):
        np.load(tmp_path / "a.npy")
    assert not (tmp_path / "trace").exists()


def test_pickled_weights_of_a_diffusion_model_are_not_run(tiny_sd_folder, tmp_path):
    import shutil

    import torch

    from mf_plugin.mosaic.components import load_components

    folder = tmp_path / "model"
    shutil.copytree(tiny_sd_folder, folder)
    (folder / "unet/diffusion_pytorch_model.safetensors").unlink()
    weights = {"weight": Attack(tmp_path / "trace")}
    torch.save(weights, folder / "unet/diffusion_pytorch_model.bin")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_components(str(folder))
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("kind", ["Sam", "CLIP"])
def test_the_revision_reaches_every_part(monkeypatch, kind):
    transformers = pytest.importorskip("transformers")
    from mf_plugin.mosaic.pretrained import load_pretrained

    asked = []

    class Config:
        model_type = kind.lower()

    class Part:
        @classmethod
        def from_pretrained(cls, name, **options):
            asked.append((name, options["revision"]))
            if cls is not Part:
                raise OSError("no network")
            return Config

    class Model(Part):
        @classmethod
        def from_pretrained(cls, name, **options):
            asked.append((name, options["revision"]))
            network = type("N", (), {"to": lambda s, d: s, "eval": lambda s: s})
            network.requires_grad_ = lambda s, on: s
            return network(), {"missing_keys": []}

    monkeypatch.setattr(transformers, "AutoConfig", Part)
    monkeypatch.setattr(transformers, f"{kind}Model", Model)
    monkeypatch.setattr(transformers, f"{kind}Processor", Part)
    load_pretrained(kind, "org/name", revision="abc")
    assert asked == [("org/name", "abc")] * 3


def test_a_folder_has_no_revision(tmp_path):
    pytest.importorskip("transformers")
    from mf_plugin.mosaic.pretrained import load_pretrained

    with pytest.raises(InputError, match="revision 'abc' of the folder"):
        load_pretrained("Sam", tmp_path, revision="abc")


class Elements(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.handlers: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def test_a_report_believes_no_name():
    from mf_plugin.evaluation.report import render_html, render_markdown

    metrics = dict.fromkeys(("AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf"), 10.0)
    runs = {name: {"segm": metrics, "bbox": metrics} for name in ("real", EVIL)}
    report = {
        "runs": runs,
        "delta": {EVIL: {"segm": metrics, "bbox": metrics}},
        "interval": {EVIL: {t: {m: [1.0, 2.0] for m in metrics} for t in ("segm", "bbox")}},
        "std": {name: {t: dict.fromkeys(metrics) for t in ("segm", "bbox")} for name in runs},
        "seeds": dict.fromkeys(runs, 1),
        "baseline": "real",
        "per_category": {name: {t: {"1": 1.0} for t in ("segm", "bbox")} for name in runs},
        "categories": [{"id": 1, "name": EVIL, "frequency": "r"}],
        "ground_truth": {"file": EVIL, "images": 2, "objects": 5, "groups": EVIL},
        "bootstrap": {"draws": 100, "seed": 0, "confidence": 0.95},
        "title": EVIL,
        "notes": [EVIL],
        "commands": [EVIL],
    }
    page = Elements(render_html(report))
    assert not page.tags & {"script", "img", "iframe", "a"} and page.handlers == []
    assert "49" not in render_html({**report, "runs": runs})
    assert EVIL in render_markdown(report)  # text of a file that nobody runs


def test_a_chart_believes_no_label():
    from mf_plugin.generation.charts import draw_histogram

    page = Elements(str(draw_histogram([1, 2], EVIL)))
    assert "img" not in page.tags and page.handlers == []
