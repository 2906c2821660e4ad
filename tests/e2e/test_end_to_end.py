"""An own model in another folder, as the README tells it: a few lines, and every backend
answers.
"""

from __future__ import annotations

import re

from tests.support.paths import ROOT

README = ROOT / "README.md"


def blocks(text: str) -> dict[str, str]:
    """The fenced Python blocks of a text that are preceded by a line with a file's name: name ->
    code.
    """
    return dict(
        re.findall(
            r"^[^\n]*?`?([\w/]+\.py)`?[^\n]*\n+```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL
        )
    )


def section(title: str) -> str:
    """A section of the README, without its heading; "" where there is none."""
    text = README.read_text() if README.exists() else ""
    found = re.search(rf"^#+ {title}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def test_blocks_are_found_by_the_name_before_them():
    text = "`conftest.py`\n```python\na = 1\n```\n\nIn my_model.py:\n\n```python\nb = 2\n```\n```sh\nc\n```\n"
    assert blocks(text) == {"conftest.py": "a = 1\n", "my_model.py": "b = 2\n"}


def test_an_own_model_in_another_folder_runs_on_every_backend(project):
    written = blocks(section("Your own model"))
    assert set(written) == {"my_model.py", "test_my_model.py"}
    (project.path / "conftest.py").unlink()
    for name, code in written.items():
        project.write(name, code)
    harness = written["test_my_model.py"].split("\n")
    assert sum(map(bool, harness)) < 20
    assert "paritygate" not in written["my_model.py"]
    result = project.run("-v", targets=None)
    assert result.ret == 0
    found = {record.backend: record for record in project.records().values()}
    assert {backend: str(record.status) for backend, record in found.items()} == {
        "eager": "ok",
        "compile": "ok",
        "onnxruntime": "ok",
    }
    assert all(record.throughput > 0 and record.speedup > 0 for record in found.values())
    assert found["eager"].speedup == 1.0
    result.stdout.fnmatch_lines(
        [
            "*::test_parity[[]*-cpu-compile-fp32] PASSED*",
            "?1/1, done? *  eager */s  compile ~*x  onnxruntime ~*x",
            "*= paritygate =*",
            "3 cells ok*",
        ]
    )
