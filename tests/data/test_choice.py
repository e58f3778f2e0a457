from __future__ import annotations

from types import SimpleNamespace

import pytest

from mf_plugin.data.choice import SyntheticChoice, choose_synthetic
from mf_plugin.data.provider import resolve_folders
from mf_plugin.errors import InputError


def choose(**given):
    options = dict(
        synthetic=None, no_synthetic=False, synthetic_only=False, policy=None, synthetic_ratio=None
    )
    return choose_synthetic(SimpleNamespace(**options | given))


@pytest.mark.parametrize(
    "given, expected",
    [
        (dict(), SyntheticChoice((), None, None)),
        (dict(synthetic="a", policy="real"), SyntheticChoice(("a",), "real", None)),
        (
            dict(synthetic=["a", "b"], synthetic_ratio=[0.2, 0.1]),
            SyntheticChoice(("a", "b"), None, (0.2, 0.1)),
        ),
        (dict(synthetic=["a", "b"], synthetic_ratio=[0.2]), SyntheticChoice(("a", "b"), None, 0.2)),
        (dict(synthetic="a", synthetic_only=True), SyntheticChoice(("a",), "synthetic", None)),
    ],
)
def test_options_become_a_choice(given, expected):
    assert choose(**given) == expected


@pytest.mark.parametrize(
    "given, message",
    [
        (dict(no_synthetic=True, synthetic="a"), "--no-synthetic excludes --synthetic a: expected"),
        (dict(no_synthetic=True, synthetic_only=True), "excludes --synthetic-only: expected one"),
        (
            dict(no_synthetic=True, policy="ratio", synthetic_ratio=[0.1, 0.2]),
            "--no-synthetic excludes --policy ratio, --synthetic-ratio 0.1 0.2: expected",
        ),
        (
            dict(synthetic="a", synthetic_only=True, policy="real"),
            "--synthetic-only excludes --policy real: expected",
        ),
        (
            dict(synthetic="a", synthetic_only=True, policy="synthetic", synthetic_ratio=0.1),
            "--synthetic-only excludes --synthetic-ratio 0.1: expected",
        ),
        (dict(synthetic="a", synthetic_ratio=[0.1, 0.2]), "2 numbers for 1 --synthetic"),
    ],
)
def test_options_that_contradict_one_another(given, message):
    with pytest.raises(InputError, match=message):
        choose(**given)


def test_a_folder_is_given_once(tmp_path):
    assert resolve_folders([tmp_path / "a", tmp_path / "b"]) == (
        (str(tmp_path / "a"), None),
        (str(tmp_path / "b"), None),
    )
    with pytest.raises(InputError, match="a is given twice"):
        resolve_folders([tmp_path / "a", f"{tmp_path}/b/../a"])
    with pytest.raises(InputError, match="one synthetic dataset or more"):
        resolve_folders([])
