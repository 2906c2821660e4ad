"""The patches behind ``reports/evidence/patches.csv`` fit the code as it is."""

from __future__ import annotations

import pytest

from evidence.patches import PATCHES
from tests.support.paths import ROOT


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.name)
def test_every_text_that_a_patch_replaces_occurs_once(patch):
    texts = {}
    for file, old, new in filter(None, (patch.before, patch.head)):
        text = texts.get(file) or (ROOT / file).read_text()
        assert text.count(old) == 1, f"{file}: {old!r}"
        texts[file] = text.replace(old, new)
        compile(texts[file], file, "exec")
