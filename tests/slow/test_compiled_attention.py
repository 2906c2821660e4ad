"""Attention through torch.compile, compiled for real."""

import pytest
import torch

from models import attention as attn

HEADS = {"batch": 2, "heads": 4, "seq": 33, "head_dim": 16}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("inputs", [attn.qkv, attn.qkv_padded])
@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")
def test_compiled_flex_is_the_formula_and_compiles_once(inputs):
    compiled = torch.compile(attn.FlexAttention(), fullgraph=True)
    for seed, stance in enumerate(("default", "fail_on_recompile")):
        made = inputs({**HEADS, "kv_heads": 2}, seeded(seed))
        given = (
            made
            if isinstance(made, dict)
            else dict(zip(("query", "key", "value"), made, strict=True))
        )
        with torch.inference_mode(), torch.compiler.set_stance(stance):
            torch.testing.assert_close(compiled(**given), attn.NaiveAttention()(**given))
