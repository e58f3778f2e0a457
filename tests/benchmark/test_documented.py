"""The tables of docs/benchmark/ are those of the committed records."""

from pathlib import Path

import pytest

from mf_plugin.benchmark.config import load_benchmark_config
from mf_plugin.benchmark.records import read_records
from mf_plugin.benchmark.report import make_report
from mf_plugin.benchmark.tables import render_markdown

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs/benchmark"
TABLES = sorted(path.stem for path in DOCS.glob("*.md"))


def test_there_is_a_main_table():
    assert "demo" in TABLES


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_made_from_its_records(name):
    config = load_benchmark_config(ROOT / f"configs/benchmark/{name}.py")
    report = make_report(config, read_records(config, DOCS / "records"))
    assert render_markdown(report) == (DOCS / f"{name}.md").read_text(encoding="utf-8")
