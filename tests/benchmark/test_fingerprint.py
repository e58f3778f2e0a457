"""What changes a fingerprint, and what does not."""

from __future__ import annotations

import pytest

from mf_plugin.benchmark.fingerprint import config_files, hash_files, hash_texts

CODE = '"""A."""\n\n\ndef f(x):\n    """B."""\n    return x + 1  # C\n'


@pytest.mark.parametrize(
    "text, same",
    [
        (CODE, True),
        (CODE.replace("C", "other"), True),
        (CODE.replace("A.", "Another."), True),
        (CODE.replace('    """B."""\n', ""), True),
        (CODE.replace("x + 1", "(x\n            + 1)"), True),
        (CODE.replace("+ 1", "+ 2"), False),
        (CODE + '"""no docstring"""\n', False),
        ("broken (", False),
    ],
)
def test_python_counts_by_its_meaning(tmp_path, text, same):
    for name, content in (("one", CODE), ("two", text)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "m.py").write_text(content)
    hashes = {hash_files(tmp_path / name, ["m.py"]) for name in ("one", "two")}
    assert (len(hashes) == 1) == same


def test_names_contents_and_absence_count(tmp_path):
    (tmp_path / "d/__pycache__").mkdir(parents=True)
    (tmp_path / "d/a.json").write_text("1")
    seen = [hash_files(tmp_path, ["d", "x"])]
    (tmp_path / "d/__pycache__/m.pyc").write_text("1")
    assert hash_files(tmp_path, ["d", "x"]) == seen[0]
    (tmp_path / "d/a.json").write_text("22")
    seen.append(hash_files(tmp_path, ["d", "x"]))
    (tmp_path / "d/a.json").rename(tmp_path / "d/b.json")
    seen.append(hash_files(tmp_path, ["d", "x"]))
    (tmp_path / "x").write_text("")
    seen.append(hash_files(tmp_path, ["d", "x"]))
    assert len(set(seen)) == 4


def test_a_repository_may_move(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "d").mkdir(parents=True)
        (tmp_path / name / "d/a").write_text("1")
    one, two = tmp_path / "one", tmp_path / "two"
    assert hash_files(one, ["d"]) == hash_files(two, [str(two / "d")])


def test_texts_do_not_run_together():
    assert hash_texts(["ab", "c"]) != hash_texts(["a", "bc"])


def test_parents_of_configs(tmp_path):
    (tmp_path / "sub").mkdir()
    files = {
        "base.py": "a = 1",
        "other.py": "b = 2",
        "sub/list.py": "_base_ = ['../base.py', '../other.py']\nc = {{_base_.a}}\n",
        "sub/text.py": "_base_ = './list.py'\nimport json\n",
        "sub/child.py": "import dataclasses\nfrom base import a\nfrom text import c\n",
        "sub/d2.yaml": '_BASE_: "../up.yaml"\nMODEL:\n  X: 1\n',
        "up.yaml": "MODEL: {}\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    def found(name):
        return [p.relative_to(tmp_path).as_posix() for p in config_files(tmp_path / name)]

    assert found("sub/text.py") == ["sub/text.py", "sub/list.py", "base.py", "other.py"]
    assert set(found("sub/child.py")) == {
        "sub/child.py", "base.py", "sub/text.py", "sub/list.py", "other.py"
    }  # fmt: skip
    assert found("sub/d2.yaml") == ["sub/d2.yaml", "up.yaml"]
    assert found("nothing.py") == ["nothing.py"]
