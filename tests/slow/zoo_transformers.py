"""Architectures of transformers, tiny and random, as transformers gives them: with caches and
``ModelOutput``.

Shapes: B batch, L sequence ("seq"). Ids and masks are int64 (B, L), pixels float32 (B, 3, height,
width), waves float32 (B, samples). A mask holds 1 at a token and 0 at padding; about a third of
every row is padding, at its end.

``ARCHITECTURES`` is a table of plain values. torch and transformers are imported when a model or
its inputs are made, not before. Each row has two names for a ``Case``:
``tests.slow.zoo_transformers:bert`` is the factory of the model,
``tests.slow.zoo_transformers:bert_inputs`` makes its inputs.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.slow.zoo import attributes

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Sizes = Mapping[str, int]
Inputs = Callable[[Sizes, "torch.Generator"], dict[str, "Tensor"]]

VOCABULARY, FIRST_WORD = 128, 5  # ids below the first word are special
LONGEST = 160  # positions of every model that has a table of them; "seq" goes up to 128
STD = 0.3  # of weights: at the usual 0.02 an attention over random tokens is nearly uniform and hides faults
LEARNED_BUFFERS = {  # of batch norms, experts' gates, decoders and codebooks
    "running_mean",
    "running_var",
    "e_score_correction_bias",
    "final_logits_bias",
    "embed",
    "embed_sum",
}
IMAGE, PATCH = 32, 8
WINDOW = 8  # keys that a query sees where attention is local; no longer than the shortest sequence
BOXES = 64  # coordinates of layouts are below this


@dataclass(frozen=True)
class Architecture:
    """A model of transformers with its inputs: ``inputs`` gives the keyword arguments of a call."""

    name: str
    family: str
    make: Callable[[], nn.Module]
    inputs: Inputs


# -- weights


def spread(model: nn.Module) -> nn.Module:
    """Make the weights of a new model uneven, with the global generator, and return the model.

    Draw every parameter that is all zeros (or as good as) or all ones anew, as 0.2 n or 1 + 0.2 n,
    n normal: a bias of 0 or a scale of 1 hides a backend that forgets it. So do the buffers that
    are learned. Scale every matrix with a standard deviation below 0.05, for which the config has
    no setting, to 0.2. All other parameters may have a meaning and stay.
    """
    import torch

    buffers = [buffer for name, buffer in model.named_buffers() if _is_learned(model, name)]
    with torch.no_grad():
        for tensor in (*model.parameters(), *buffers):
            if not tensor.is_floating_point() or not tensor.numel():
                continue
            if tensor.abs().max() < 1e-4:
                tensor.copy_(0.2 * torch.randn_like(tensor))
            elif (tensor == 1).all():
                tensor.copy_(
                    1 + 0.2 * torch.randn_like(tensor).clamp(-3, 3)
                )  # also a variance, which is above 0
            elif tensor.ndim > 1 and 0 < (std := tensor.std().item()) < 0.05:
                tensor.mul_(0.2 / std)
    return model


def _is_learned(model: nn.Module, name: str) -> bool:
    owner, _, own = name.rpartition(".")
    return own in LEARNED_BUFFERS or "FrozenBatchNorm" in type(model.get_submodule(owner)).__name__


def _build(model: str, config: Mapping[str, Any]) -> nn.Module:
    import transformers

    made = getattr(transformers, model)
    return spread(made(made.config_class(**copy.deepcopy(dict(config)))))


# -- inputs


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    """Return normal random numbers."""
    import torch

    return torch.randn(shape, generator=generator)


def whole(generator: torch.Generator, low: int, high: int, *shape: int) -> Tensor:
    """Return random whole numbers from ``low`` to ``high`` - 1."""
    import torch

    return torch.randint(low, high, shape, generator=generator)


def padding(generator: torch.Generator, batch: int, seq: int, most: int = LONGEST) -> Tensor:
    """Return a mask (B, L) whose rows end in padding, from a sixth to a half of L, and are never
    empty.

    ``most`` is the largest number of padded tokens. A query that sees only a window of keys must
    find one that is not padding, or its answer is an accident of rounding.
    """
    import torch

    shortest = max(1, math.ceil(seq / 2), seq - most)
    longest = max(shortest, math.floor(seq * 5 / 6))
    lengths = torch.randint(shortest, longest + 1, (batch, 1), generator=generator)
    return (torch.arange(seq) < lengths).long()


def text(
    *,
    pad: int = 0,
    types: int = 0,
    mask: str | None = "attention_mask",
    ids: str = "input_ids",
    seq: int = 0,
    most: int = LONGEST,
) -> Inputs:
    """Return a function that makes token ids with padding.

    ``types`` is the number of token types, if the model takes them; ``mask`` the name of the mask,
    None for a model without one, whose rows are then full; ``seq`` a length that replaces that of
    the shape; ``most`` is the largest number of padded tokens.
    """

    def inputs(sizes: Sizes, generator: torch.Generator) -> dict[str, Tensor]:
        batch, length = sizes["batch"], seq or sizes["seq"]
        words = whole(generator, FIRST_WORD, VOCABULARY, batch, length)
        if mask is None:
            made = {ids: words}
        else:
            real = padding(generator, batch, length, most)
            made = {ids: words.masked_fill(real == 0, pad), mask: real}
        if types:
            made["token_type_ids"] = whole(generator, 0, types, batch, length)
        return made

    return inputs


def decoding(encoder: Inputs, *, ids: str = "decoder_input_ids", mask: bool = False) -> Inputs:
    """Return a function that adds the decoder's ids to the encoder's inputs: half as many as L,
    without padding.
    """

    def inputs(sizes: Sizes, generator: torch.Generator) -> dict[str, Tensor]:
        made = encoder(sizes, generator)
        seq = max(2, sizes["seq"] // 2)
        made[ids] = whole(generator, FIRST_WORD, VOCABULARY, sizes["batch"], seq)
        if mask:
            made["decoder_attention_mask"] = padding(generator, sizes["batch"], seq)
        return made

    return inputs


def boxes(base: Inputs) -> Inputs:
    """Return a function that adds the box of every token on its page, (B, L, 4)."""

    def inputs(sizes: Sizes, generator: torch.Generator) -> dict[str, Tensor]:
        made = base(sizes, generator)
        corners = whole(generator, 0, BOXES, sizes["batch"], sizes["seq"], 2, 2)
        made["bbox"] = corners.sort(dim=2).values.flatten(2)
        return made

    return inputs


def pixels(
    size: int = IMAGE, *, mask: bool = False, frames: int = 0, name: str = "pixel_values"
) -> Inputs:
    """Return a function that makes images; with ``mask`` their right half is padding."""

    def inputs(sizes: Sizes, generator: torch.Generator) -> dict[str, Tensor]:
        import torch

        shape = (frames, 3, size, size) if frames else (3, size, size)
        made = {name: normal(generator, sizes["batch"], *shape)}
        if mask:
            made["pixel_mask"] = torch.ones(sizes["batch"], size, size, dtype=torch.int64)
            made["pixel_mask"][:, :, size // 2 :] = 0
        return made

    return inputs


def wave(per_token: int = 20, least: int = 60, *, mask: bool = False, channels: int = 0) -> Inputs:
    """Return a function that makes waves of ``least`` + ``per_token`` * L samples."""

    def inputs(sizes: Sizes, generator: torch.Generator) -> dict[str, Tensor]:
        samples = least + per_token * sizes["seq"]
        shape = (channels, samples) if channels else (samples,)
        made = {"input_values": normal(generator, sizes["batch"], *shape)}
        if mask:
            made["attention_mask"] = padding(generator, sizes["batch"], samples)
        return made

    return inputs


def features(name: str, *shape: int | str, mask: str | None = None) -> Inputs:
    """Return a function that makes a float tensor (B, *shape); "L" stands for the sequence, "4L"
    for four times it.
    """

    def inputs(sizes: Sizes, generator: torch.Generator) -> dict[str, Tensor]:
        sized = [
            int(size[:-1] or 1) * sizes["seq"] if isinstance(size, str) else size for size in shape
        ]
        made = {name: normal(generator, sizes["batch"], *sized)}
        if mask:
            made[mask] = padding(generator, sizes["batch"], sized[0])
        return made

    return inputs


def both(*parts: Inputs) -> Inputs:
    """Return a function that makes the inputs of all ``parts``."""

    def inputs(sizes: Sizes, generator: torch.Generator) -> dict[str, Tensor]:
        made: dict[str, Tensor] = {}
        for part in parts:
            made |= part(sizes, generator)
        return made

    return inputs


def _first_is_global(sizes: Sizes, generator: torch.Generator) -> dict[str, Tensor]:
    import torch

    made = text(pad=1)(sizes, generator)
    made["global_attention_mask"] = torch.zeros_like(made["input_ids"])
    made["global_attention_mask"][:, 0] = 1
    return made


def _entities(sizes: Sizes, generator: torch.Generator) -> dict[str, Tensor]:
    made = text(pad=1)(sizes, generator)
    batch, entities, words = sizes["batch"], 3, 2
    made["entity_ids"] = whole(generator, 1, 16, batch, entities)
    made["entity_attention_mask"] = padding(generator, batch, entities)
    made["entity_position_ids"] = whole(generator, 0, sizes["seq"], batch, entities, words)
    return made


def _table(sizes: Sizes, generator: torch.Generator) -> dict[str, Tensor]:
    import torch

    made = text()(sizes, generator)
    columns = [whole(generator, 0, high, sizes["batch"], sizes["seq"], 1) for high in TABLE_TYPES]
    made["token_type_ids"] = torch.cat(columns, dim=-1)
    return made


def _trajectory(sizes: Sizes, generator: torch.Generator) -> dict[str, Tensor]:
    batch, seq = sizes["batch"], sizes["seq"]
    return {
        "states": normal(generator, batch, seq, 6),
        "actions": normal(generator, batch, seq, 3),
        "rewards": normal(generator, batch, seq, 1),
        "returns_to_go": normal(generator, batch, seq, 1),
        "timesteps": whole(generator, 0, LONGEST, batch, seq),
        "attention_mask": padding(generator, batch, seq),
    }


def _series(sizes: Sizes, generator: torch.Generator) -> dict[str, Tensor]:
    batch, past = sizes["batch"], CONTEXT + max(LAGS)
    return {
        "past_values": normal(generator, batch, past),
        "past_time_features": normal(generator, batch, past, 2),
        "past_observed_mask": (whole(generator, 0, 8, batch, past) > 0).float(),
        "future_values": normal(generator, batch, HORIZON),
        "future_time_features": normal(generator, batch, HORIZON, 2),
    }


def _times(sizes: Sizes, generator: torch.Generator) -> dict[str, Tensor]:
    batch = sizes["batch"]
    return {
        "past_values": normal(generator, batch, 64),
        "past_values_padding": 1 - padding(generator, batch, 64).flip(1),
        "freq": whole(generator, 0, 3, batch, 1),
    }


def _captioned(sizes: Sizes, generator: torch.Generator) -> dict[str, Tensor]:
    """Make text that begins with one image token for every patch of its picture."""
    import torch

    made = text()(sizes, generator) | pixels()(sizes, generator)
    image = torch.full((sizes["batch"], (IMAGE // PATCH) ** 2), IMAGE_TOKEN)
    made["input_ids"] = torch.cat([image, made["input_ids"]], dim=1)
    made["attention_mask"] = torch.cat([torch.ones_like(image), made["attention_mask"]], dim=1)
    return made


def _queries(sizes: Sizes, generator: torch.Generator) -> dict[str, Tensor]:
    """Make two texts for every image, as one batch of texts."""
    twice = {"batch": 2 * sizes["batch"], "seq": sizes["seq"]}
    return text()(twice, generator) | pixels()(sizes, generator)


def _codes(sizes: Sizes, generator: torch.Generator) -> dict[str, Tensor]:
    """Make the codes of two codebooks for every sample, as one batch."""
    return {"input_ids": whole(generator, 0, 64, 2 * sizes["batch"], sizes["seq"])}


def _regions(sizes: Sizes, generator: torch.Generator) -> dict[str, Tensor]:
    batch = sizes["batch"]
    made = text(types=2)(sizes, generator)
    made["visual_feats"] = normal(generator, batch, 6, 16)
    made["visual_pos"] = normal(generator, batch, 6, 4).sigmoid()
    return made


# -- sizes of configs

SPECIAL = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "initializer_range": STD,
}
ENCODER = SPECIAL | SMALL | {"max_position_embeddings": LONGEST}
ROBERTA = ENCODER | {
    "pad_token_id": 1,
    "bos_token_id": 0,
}  # counts positions from the padding id + 1
DECODER = ENCODER | {"num_key_value_heads": 2}
HEADS = DECODER | {"head_dim": 8}
GPT = SPECIAL | {
    "n_positions": LONGEST,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "initializer_range": STD,
}
EXPERTS = DECODER | {"num_experts": 4, "num_experts_per_tok": 2}
LATENT = {
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
}
T5 = SPECIAL | {
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 2,
    "num_heads": 4,
    "decoder_start_token_id": 0,
}
BART = SPECIAL | {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": LONGEST,
    "init_std": STD,
    "decoder_start_token_id": 2,
}
VIT = SMALL | {"image_size": IMAGE, "patch_size": PATCH}
VIDEO = VIT | {"num_frames": 4}
PYRAMID = {  # four stages that halve the picture
    "depths": [1, 1, 1, 1],
    "hidden_sizes": [8, 16, 16, 32],
    "num_attention_heads": [1, 2, 2, 4],
    "initializer_range": STD,
}
SWIN = {
    "embed_dim": 16,
    "depths": (1, 2),
    "num_heads": (2, 4),
    "window_size": 4,
    "initializer_range": STD,
}
RESNET = {"embedding_size": 8, "hidden_sizes": (8, 16, 16, 32), "depths": (1, 1, 1, 1)}
BACKBONE = RESNET | {"model_type": "resnet", "layer_type": "basic", "out_features": ["stage4"]}
DETR = BART | {"num_queries": 6, "init_std": STD, "backbone_config": BACKBONE}
WAVE = (
    SPECIAL
    | SMALL
    | {
        "conv_dim": (16, 16, 16),
        "conv_stride": (5, 2, 2),
        "conv_kernel": (10, 3, 3),
        "num_conv_pos_embeddings": 8,
        "num_conv_pos_embedding_groups": 2,
    }
)
TEXT_TOWER = ENCODER | {"projection_dim": 16}
VISION_TOWER = VIT | {"projection_dim": 16}
TOWERS = {"text_config": TEXT_TOWER, "vision_config": VISION_TOWER, "projection_dim": 16}
TABLE_TYPES = (3, 8, 8, 2, 8, 8, 10)
CONTEXT, HORIZON, LAGS = 16, 8, (1, 2, 3)
SERIES = {
    "context_length": CONTEXT,
    "prediction_length": HORIZON,
    "lags_sequence": LAGS,
    "num_time_features": 2,
    "d_model": 16,
    "init_std": STD,
}
IMAGE_TOKEN = VOCABULARY  # one more than the words


def _row(
    name: str,
    family: str,
    model: str,
    inputs: Inputs,
    base: Mapping[str, Any] | None = None,
    **config: Any,
) -> Architecture:
    """Return the architecture whose config is ``base`` changed by ``config``."""
    return Architecture(name, family, partial(_build, model, {**(base or {}), **config}), inputs)


# One row is one model; one line for each argument would be 2000 lines.
# fmt: off
_ENCODERS = (
    _row("bert", "encoder", "BertModel", text(types=2), ENCODER),
    _row("roberta", "encoder", "RobertaModel", text(pad=1), ROBERTA, type_vocab_size=1),
    _row("albert", "encoder", "AlbertModel", text(types=2), ENCODER, embedding_size=16),
    _row("distilbert", "encoder", "DistilBertModel", text(), SPECIAL, dim=32, n_layers=2, n_heads=4,
         hidden_dim=64, max_position_embeddings=LONGEST, initializer_range=STD),
    _row("electra", "encoder", "ElectraForPreTraining", text(types=2), ENCODER, embedding_size=16),
    _row("deberta", "encoder", "DebertaModel", text(), ENCODER, relative_attention=True,
         pos_att_type=["c2p", "p2c"], max_relative_positions=LONGEST),
    _row("deberta_v2", "encoder", "DebertaV2Model", text(), ENCODER, relative_attention=True, share_att_key=True,
         pos_att_type=["c2p", "p2c"], position_buckets=16, norm_rel_ebd="layer_norm"),
    _row("mpnet", "encoder", "MPNetModel", text(pad=1), ROBERTA),
    _row("longformer", "encoder", "LongformerModel", _first_is_global, ROBERTA, attention_window=8),
    _row("big_bird", "encoder", "BigBirdModel", text(types=2), ENCODER, block_size=2, num_random_blocks=1),
    _row("funnel", "encoder", "FunnelModel", text(types=2), SPECIAL, block_sizes=(1, 1), num_decoder_layers=1,
         d_model=32, n_head=4, d_head=8, d_inner=64, initializer_std=STD),
    _row("xlnet", "encoder", "XLNetModel", text(types=2), SPECIAL, d_model=32, n_layer=2, n_head=4, d_inner=64,
         d_head=8, initializer_range=STD),
    _row("nystromformer", "encoder", "NystromformerModel", text(types=2, mask=None, seq=32), ENCODER, num_landmarks=8,
         segment_means_seq_len=32, conv_kernel_size=5),
    _row("yoso", "encoder", "YosoModel", text(pad=1), ROBERTA),
    _row("roformer", "encoder", "RoFormerModel", text(types=2), ENCODER),
    _row("reformer", "encoder", "ReformerModel", text(), ENCODER, attention_head_size=8, feed_forward_size=64,
         attn_layers=("local", "lsh"), local_attn_chunk_length=4, lsh_attn_chunk_length=4, num_buckets=4,
         axial_pos_shape=(8, 16), axial_pos_embds_dim=(16, 16), max_position_embeddings=128, hash_seed=0),
    _row("canine", "encoder", "CanineModel", text(types=2), ENCODER, local_transformer_stride=8,
         num_hash_functions=2, num_hash_buckets=256),
    _row("fnet", "encoder", "FNetModel", text(types=2, mask=None), ENCODER),
    _row("layoutlm", "encoder", "LayoutLMModel", boxes(text(types=2)), ENCODER, max_2d_position_embeddings=BOXES),
    _row("lilt", "encoder", "LiltModel", boxes(text(pad=1)), ROBERTA, hidden_size=48,
         max_2d_position_embeddings=BOXES),
    _row("splinter", "encoder", "SplinterModel", text(types=2), ENCODER),
    _row("squeezebert", "encoder", "SqueezeBertModel", text(types=2), ENCODER, embedding_size=32),
    _row("mobilebert", "encoder", "MobileBertModel", text(types=2), ENCODER, embedding_size=16,
         intra_bottleneck_size=16, num_feedforward_networks=2),
    _row("convbert", "encoder", "ConvBertModel", text(types=2), ENCODER, embedding_size=16, conv_kernel_size=3),
    _row("ibert", "encoder", "IBertModel", text(pad=1), ROBERTA),
    _row("modernbert", "encoder", "ModernBertModel", text(most=3), ENCODER, cls_token_id=1, sep_token_id=2,
         local_attention=8),
    _row("camembert", "encoder", "CamembertForTokenClassification", text(pad=1), ROBERTA, type_vocab_size=1),
    _row("xlm_roberta", "encoder", "XLMRobertaForMaskedLM", text(pad=1), ROBERTA, type_vocab_size=1),
    _row("xlm_roberta_xl", "encoder", "XLMRobertaXLModel", text(pad=1), ROBERTA, type_vocab_size=1),
    _row("roberta_prelayernorm", "encoder", "RobertaPreLayerNormModel", text(pad=1), ROBERTA),
    _row("data2vec_text", "encoder", "Data2VecTextModel", text(pad=1), ROBERTA),
    _row("ernie", "encoder", "ErnieModel", text(types=2), ENCODER, use_task_id=True, task_type_vocab_size=3),
    _row("esm", "encoder", "EsmModel", text(pad=1), ROBERTA, position_embedding_type="rotary", mask_token_id=4,
         emb_layer_norm_before=True),
    _row("megatron_bert", "encoder", "MegatronBertModel", text(types=2), ENCODER),
    _row("rembert", "encoder", "RemBertModel", text(types=2), ENCODER, input_embedding_size=16,
         output_embedding_size=16),
    _row("roc_bert", "encoder", "RoCBertModel", text(types=2), ENCODER, pronunciation_vocab_size=VOCABULARY,
         shape_vocab_size=VOCABULARY, pronunciation_embed_dim=8, shape_embed_dim=8),
    _row("xlm", "encoder", "XLMModel", text(pad=2), SPECIAL, pad_token_id=2, eos_token_id=1, emb_dim=32,
         n_layers=2, n_heads=4, max_position_embeddings=LONGEST, embed_init_std=STD, init_std=STD),
    _row("flaubert", "encoder", "FlaubertModel", text(pad=2), SPECIAL, pad_token_id=2, eos_token_id=1, emb_dim=32,
         n_layers=2, n_heads=4, max_position_embeddings=LONGEST, embed_init_std=STD, init_std=STD),
    _row("bert_generation", "encoder", "BertGenerationEncoder", text(), ENCODER),
    _row("markuplm", "encoder", "MarkupLMModel", text(types=2), ENCODER, xpath_unit_hidden_size=8, max_depth=4,
         max_xpath_tag_unit_embeddings=20, max_xpath_subs_unit_embeddings=20, tag_pad_id=18, subs_pad_id=19),
    _row("nomic_bert", "encoder", "NomicBertModel", text(types=2), ENCODER),
    _row("eurobert", "encoder", "EuroBertModel", text(), DECODER, mask_token_id=4),
    _row("xmod", "encoder", "XmodModel", text(pad=1), ROBERTA, languages=("en_XX", "de_DE"),
         default_language="de_DE"),
    _row("luke", "encoder", "LukeModel", _entities, ROBERTA, entity_vocab_size=16, entity_emb_size=16),
    _row("tapas", "encoder", "TapasModel", _table, ENCODER, type_vocab_sizes=TABLE_TYPES),
    _row("dpr", "encoder", "DPRQuestionEncoder", text(types=2), ENCODER, projection_dim=16),
    _row("jina_embeddings_v3", "encoder", "JinaEmbeddingsV3Model", text(pad=1), ROBERTA),
)

_DECODERS = (
    _row("gpt2", "decoder", "GPT2LMHeadModel", text(), GPT),
    _row("gpt_neo", "decoder", "GPTNeoForCausalLM", text(most=3), ENCODER, num_layers=2, num_heads=4, window_size=4,
         attention_types=[[["global", "local"], 1]]),
    _row("gpt_neox", "decoder", "GPTNeoXForCausalLM", text(), ENCODER),
    _row("gptj", "decoder", "GPTJForCausalLM", text(), GPT, rotary_dim=4),
    _row("opt", "decoder", "OPTForCausalLM", text(pad=1), ROBERTA, ffn_dim=64, init_std=STD,
         word_embed_proj_dim=16),
    _row("bloom", "decoder", "BloomForCausalLM", text(), SPECIAL, hidden_size=32, n_layer=2, n_head=4,
         initializer_range=STD),
    _row("llama", "decoder", "LlamaForCausalLM", text(), DECODER),
    _row("mistral", "decoder", "MistralForCausalLM", text(most=WINDOW - 1), HEADS, sliding_window=WINDOW),
    _row("qwen2", "decoder", "Qwen2ForCausalLM", text(), DECODER),
    _row("qwen3", "decoder", "Qwen3ForCausalLM", text(), HEADS),
    _row("gemma", "decoder", "GemmaForCausalLM", text(), HEADS),
    _row("gemma2", "decoder", "Gemma2ForCausalLM", text(most=WINDOW - 1), HEADS, sliding_window=WINDOW,
         query_pre_attn_scalar=8),
    _row("gemma3", "decoder", "Gemma3ForCausalLM", text(most=WINDOW - 1), HEADS, sliding_window=WINDOW,
         query_pre_attn_scalar=8, layer_types=["sliding_attention", "full_attention"]),
    _row("phi", "decoder", "PhiForCausalLM", text(), DECODER),
    _row("phi3", "decoder", "Phi3ForCausalLM", text(most=WINDOW - 1), DECODER, sliding_window=WINDOW),
    _row("falcon", "decoder", "FalconForCausalLM", text(), ENCODER, bias=True),
    _row("stablelm", "decoder", "StableLmForCausalLM", text(), DECODER, use_qkv_bias=True, qk_layernorm=True),
    _row("olmo", "decoder", "OlmoForCausalLM", text(), DECODER, clip_qkv=2.0),
    _row("olmo2", "decoder", "Olmo2ForCausalLM", text(), DECODER),
    _row("olmo3", "decoder", "Olmo3ForCausalLM", text(most=WINDOW - 1), DECODER, sliding_window=WINDOW,
         layer_types=["sliding_attention", "full_attention"]),
    _row("cohere", "decoder", "CohereForCausalLM", text(), DECODER, use_qk_norm=True),
    _row("cohere2", "decoder", "Cohere2ForCausalLM", text(most=WINDOW - 1), DECODER, sliding_window=WINDOW,
         layer_types=["sliding_attention", "full_attention"]),
    _row("granite", "decoder", "GraniteForCausalLM", text(), DECODER, embedding_multiplier=2.0,
         residual_multiplier=0.5, attention_multiplier=0.3, logits_scaling=2.0),
    _row("starcoder2", "decoder", "Starcoder2ForCausalLM", text(most=WINDOW - 1), DECODER, sliding_window=WINDOW),
    _row("codegen", "decoder", "CodeGenForCausalLM", text(), GPT, n_ctx=LONGEST, rotary_dim=4),
    _row("mpt", "decoder", "MptForCausalLM", text(), SPECIAL, d_model=32, n_heads=4, n_layers=2,
         max_seq_len=LONGEST, initializer_range=STD),
    _row("persimmon", "decoder", "PersimmonForCausalLM", text(), ENCODER),
    _row("glm", "decoder", "GlmForCausalLM", text(), HEADS),
    _row("glm4", "decoder", "Glm4ForCausalLM", text(), HEADS),
    _row("smollm3", "decoder", "SmolLM3ForCausalLM", text(), DECODER, no_rope_layers=[1, 0]),
    _row("nemotron", "decoder", "NemotronForCausalLM", text(), HEADS),
    _row("ctrl", "decoder", "CTRLLMHeadModel", text(), GPT, dff=64),
    _row("openai_gpt", "decoder", "OpenAIGPTLMHeadModel", text(), GPT),
    _row("xglm", "decoder", "XGLMForCausalLM", text(pad=1), SPECIAL, pad_token_id=1, bos_token_id=0, d_model=32,
         ffn_dim=64, num_layers=2, attention_heads=4, max_position_embeddings=LONGEST, init_std=STD),
    _row("biogpt", "decoder", "BioGptForCausalLM", text(pad=1), ROBERTA),
    _row("gpt_bigcode", "decoder", "GPTBigCodeForCausalLM", text(), GPT),
    _row("helium", "decoder", "HeliumForCausalLM", text(), HEADS),
    _row("exaone4", "decoder", "Exaone4ForCausalLM", text(most=WINDOW - 1), DECODER, sliding_window=WINDOW,
         layer_types=["sliding_attention", "full_attention"]),
    _row("ernie4_5", "decoder", "Ernie4_5ForCausalLM", text(), HEADS, use_bias=True),
    _row("arcee", "decoder", "ArceeForCausalLM", text(), HEADS),
    _row("bitnet", "decoder", "BitNetForCausalLM", text(), DECODER),
    _row("diffllama", "decoder", "DiffLlamaForCausalLM", text(), HEADS),
    _row("doge", "decoder", "DogeForCausalLM", text(), DECODER, keep_window_size=8),
    _row("hunyuan_v1_dense", "decoder", "HunYuanDenseV1ForCausalLM", text(), HEADS),
    _row("seed_oss", "decoder", "SeedOssForCausalLM", text(), HEADS),
    _row("apertus", "decoder", "ApertusForCausalLM", text(), DECODER),
    _row("minicpm3", "decoder", "MiniCPM3ForCausalLM", text(), ENCODER | LATENT, num_key_value_heads=4),
    _row("modernbert_decoder", "decoder", "ModernBertDecoderForCausalLM", text(most=3), ENCODER, cls_token_id=1,
         sep_token_id=2, local_attention=8),
    _row("vaultgemma", "decoder", "VaultGemmaForCausalLM", text(most=WINDOW - 1), HEADS, sliding_window=WINDOW,
         query_pre_attn_scalar=8),
    _row("nanochat", "decoder", "NanoChatForCausalLM", text(), DECODER),
    _row("youtu", "decoder", "YoutuForCausalLM", text(), ENCODER | LATENT, num_key_value_heads=4),
)

_MIXTURES = (
    _row("mixtral", "moe", "MixtralForCausalLM", text(), EXPERTS, head_dim=8),
    _row("qwen2_moe", "moe", "Qwen2MoeForCausalLM", text(), EXPERTS, moe_intermediate_size=32,
         shared_expert_intermediate_size=32),
    _row("qwen3_moe", "moe", "Qwen3MoeForCausalLM", text(), EXPERTS, moe_intermediate_size=32, head_dim=8),
    _row("deepseek_v2", "moe", "DeepseekV2ForCausalLM", text(), EXPERTS | LATENT, num_key_value_heads=4,
         moe_intermediate_size=32, n_shared_experts=1, first_k_dense_replace=1, head_dim=8),
    _row("deepseek_v3", "moe", "DeepseekV3ForCausalLM", text(), ENCODER | LATENT, num_key_value_heads=4,
         moe_intermediate_size=32, n_routed_experts=8, n_group=4, topk_group=2, num_experts_per_tok=2,
         first_k_dense_replace=1),
    _row("gpt_oss", "moe", "GptOssForCausalLM", text(most=WINDOW - 1), EXPERTS, head_dim=8, sliding_window=WINDOW),
    _row("jamba", "moe", "JambaForCausalLM", text(), EXPERTS, num_hidden_layers=4, attn_layer_period=2,
         attn_layer_offset=1, mamba_d_state=8, use_mamba_kernels=False),
    _row("olmoe", "moe", "OlmoeForCausalLM", text(), EXPERTS),
    _row("phimoe", "moe", "PhimoeForCausalLM", text(), DECODER, num_local_experts=4, num_experts_per_tok=2),
    _row("granitemoe", "moe", "GraniteMoeForCausalLM", text(), DECODER, num_local_experts=4, num_experts_per_tok=2,
         attention_multiplier=0.3),
    _row("granitemoeshared", "moe", "GraniteMoeSharedForCausalLM", text(), DECODER, num_local_experts=4,
         num_experts_per_tok=2, attention_multiplier=0.3, shared_intermediate_size=32),
    _row("jetmoe", "moe", "JetMoeForCausalLM", text(), SPECIAL, hidden_size=32, num_hidden_layers=2,
         num_key_value_heads=2, kv_channels=8, intermediate_size=64, max_position_embeddings=LONGEST,
         num_local_experts=4, num_experts_per_tok=2, initializer_range=STD),
    _row("dbrx", "moe", "DbrxForCausalLM", text(), SPECIAL, d_model=32, n_heads=4, n_layers=2, max_seq_len=LONGEST,
         attn_config={"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10_000.0}, initializer_range=STD,
         ffn_config={"ffn_hidden_size": 32, "hidden_size": 32, "moe_num_experts": 4, "moe_top_k": 2}),
    _row("glm4_moe", "moe", "Glm4MoeForCausalLM", text(), HEADS, moe_intermediate_size=32, n_routed_experts=4,
         num_experts_per_tok=2, use_qk_norm=True),
    _row("dots1", "moe", "Dots1ForCausalLM", text(), DECODER, moe_intermediate_size=32, n_routed_experts=4,
         n_shared_experts=1, num_experts_per_tok=2, first_k_dense_replace=1),
    _row("ernie4_5_moe", "moe", "Ernie4_5_MoeForCausalLM", text(), DECODER, moe_intermediate_size=32, moe_k=2,
         moe_num_experts=4, moe_num_shared_experts=1),
    _row("minimax", "moe", "MiniMaxForCausalLM", text(), DECODER, num_local_experts=4, head_dim=8, block_size=8),
    _row("flex_olmo", "moe", "FlexOlmoForCausalLM", text(), EXPERTS),
    _row("llama4", "moe", "Llama4ForCausalLM", text(mask=None), HEADS, intermediate_size_mlp=64, num_local_experts=4,
         attention_chunk_size=WINDOW),
    _row("longcat_flash", "moe", "LongcatFlashForCausalLM", text(), SPECIAL | LATENT, hidden_size=32, num_layers=2,
         num_attention_heads=4, ffn_hidden_size=64, head_dim=8, moe_topk=2, n_routed_experts=4, zero_expert_num=2,
         expert_ffn_hidden_size=32, max_position_embeddings=LONGEST, initializer_range=STD),
    _row("afmoe", "moe", "AfmoeForCausalLM", text(most=WINDOW - 1), HEADS, moe_intermediate_size=32, num_experts=4,
         num_experts_per_tok=2, num_shared_experts=1, sliding_window=WINDOW, global_attn_every_n_layers=2),
    _row("hunyuan_v1_moe", "moe", "HunYuanMoEV1ForCausalLM", text(), EXPERTS, moe_topk=2, head_dim=8),
    _row("switch_transformers", "moe", "SwitchTransformersModel", decoding(text()), T5, num_experts=4,
         num_decoder_layers=2, num_sparse_encoder_layers=1, num_sparse_decoder_layers=1),
    _row("nllb_moe", "moe", "NllbMoeModel", decoding(text(pad=1)), BART, pad_token_id=1, bos_token_id=0,
         num_experts=4, encoder_sparse_step=2, decoder_sparse_step=2),
)

_STATE_SPACES = (
    _row("mamba", "state_space", "MambaForCausalLM", text(), SPECIAL, hidden_size=32, num_hidden_layers=2,
         state_size=8, initializer_range=STD),
    _row("mamba2", "state_space", "Mamba2ForCausalLM", text(), SPECIAL, hidden_size=32, num_hidden_layers=2,
         state_size=8, num_heads=4, head_dim=16, n_groups=2, chunk_size=8, initializer_range=STD),
    _row("xlstm", "state_space", "xLSTMForCausalLM", text(mask=None), SPECIAL, hidden_size=64, num_hidden_layers=2,
         num_heads=4, qk_dim_factor=1.0, chunk_size=8, ffn_round_up_to_multiple_of=8),
    _row("rwkv", "state_space", "RwkvForCausalLM", text(mask=None), SPECIAL, hidden_size=32, num_hidden_layers=2,
         context_length=LONGEST),
    _row("zamba", "state_space", "ZambaForCausalLM", text(), DECODER, num_hidden_layers=5, n_mamba_heads=2,
         attn_layer_period=2, attn_layer_offset=1, mamba_d_state=8, use_mamba_kernels=False,
         num_key_value_heads=4),
    _row("zamba2", "state_space", "Zamba2ForCausalLM", text(), DECODER, num_hidden_layers=3, mamba_d_state=8,
         mamba_ngroups=1, n_mamba_heads=4, chunk_size=8, num_key_value_heads=4, adapter_rank=8,
         layers_block_type=["linear_attention", "hybrid", "linear_attention"], use_mamba_kernels=False),
    _row("bamba", "state_space", "BambaForCausalLM", text(), DECODER, attn_layer_indices=[1], mamba_n_heads=4,
         mamba_d_head=16, mamba_d_state=8, mamba_chunk_size=8),
    _row("falcon_mamba", "state_space", "FalconMambaForCausalLM", text(), SPECIAL, hidden_size=32,
         num_hidden_layers=2, state_size=8, initializer_range=STD),
    _row("falcon_h1", "state_space", "FalconH1ForCausalLM", text(), DECODER, mamba_d_ssm=64, mamba_n_heads=4,
         mamba_d_head=16, mamba_d_state=8, mamba_chunk_size=8),
    _row("recurrent_gemma", "state_space", "RecurrentGemmaForCausalLM", text(most=WINDOW - 1), DECODER,
         num_hidden_layers=3, lru_width=32, w_init_variance_scale=3.0, attention_window_size=WINDOW),
    _row("granitemoehybrid", "state_space", "GraniteMoeHybridForCausalLM", text(), DECODER, num_local_experts=4,
         num_experts_per_tok=2, shared_intermediate_size=32, layer_types=["mamba", "attention"], mamba_n_heads=4,
         mamba_d_head=16, mamba_d_state=8, mamba_chunk_size=8),
    _row("lfm2", "state_space", "Lfm2ForCausalLM", text(), DECODER, layer_types=["conv", "full_attention"],
         block_auto_adjust_ff_dim=False),
    _row("nemotron_h", "state_space", "NemotronHForCausalLM", text(), HEADS, ssm_state_size=8, mamba_num_heads=4,
         mamba_head_dim=16, n_groups=2, chunk_size=8, use_mamba_kernels=False,
         layers_block_type=["mamba", "attention", "mlp"]),
    _row("qwen3_next", "state_space", "Qwen3NextForCausalLM", text(), EXPERTS, head_dim=8, linear_key_head_dim=8,
         linear_value_head_dim=8, linear_num_key_heads=2, linear_num_value_heads=4, moe_intermediate_size=32,
         shared_expert_intermediate_size=32, layer_types=["linear_attention", "full_attention"]),
    _row("kimi_linear", "state_space", "KimiLinearForCausalLM", text(), ENCODER | LATENT, num_key_value_heads=4,
         q_lora_rank=None, moe_intermediate_size=32, num_local_experts=4, num_experts_per_tok=2,
         linear_head_dim=8, linear_num_heads=4, layer_types=["linear_attention", "full_attention"]),
    _row("olmo_hybrid", "state_space", "OlmoHybridForCausalLM", text(), DECODER,
         layer_types=["linear_attention", "full_attention"]),
)

_TRANSLATORS = (
    _row("t5", "encoder_decoder", "T5Model", decoding(text()), T5),
    _row("umt5", "encoder_decoder", "UMT5Model", decoding(text()), T5),
    _row("mt5", "encoder_decoder", "MT5ForConditionalGeneration", decoding(text()), T5,
         feed_forward_proj="gated-gelu"),
    _row("longt5", "encoder_decoder", "LongT5Model", decoding(text()), T5, local_radius=3, global_block_size=4,
         encoder_attention_type="transient-global"),
    _row("t5gemma", "encoder_decoder", "T5GemmaForConditionalGeneration", decoding(text(most=3)), SPECIAL,
         encoder=HEADS | {"sliding_window": WINDOW}, decoder=HEADS | {"sliding_window": WINDOW}),
    _row("bart", "encoder_decoder", "BartModel", decoding(text(pad=1), mask=True), BART, pad_token_id=1,
         bos_token_id=0),
    _row("mbart", "encoder_decoder", "MBartForConditionalGeneration", decoding(text(pad=1)), BART, pad_token_id=1,
         bos_token_id=0),
    _row("pegasus", "encoder_decoder", "PegasusModel", decoding(text()), BART),
    _row("pegasus_x", "encoder_decoder", "PegasusXModel", decoding(text()), BART, num_global_tokens=2,
         block_size=4),
    _row("bigbird_pegasus", "encoder_decoder", "BigBirdPegasusModel", decoding(text()), BART, block_size=2,
         num_random_blocks=1),
    _row("marian", "encoder_decoder", "MarianMTModel", decoding(text()), BART),
    _row("m2m_100", "encoder_decoder", "M2M100Model", decoding(text(pad=1)), BART, pad_token_id=1, bos_token_id=0),
    _row("blenderbot", "encoder_decoder", "BlenderbotModel", decoding(text()), BART),
    _row("blenderbot_small", "encoder_decoder", "BlenderbotSmallModel", decoding(text()), BART),
    _row("led", "encoder_decoder", "LEDModel", decoding(text(pad=1)), BART, pad_token_id=1, bos_token_id=0,
         attention_window=8, max_encoder_position_embeddings=LONGEST, max_decoder_position_embeddings=LONGEST),
    _row("prophetnet", "encoder_decoder", "ProphetNetModel", decoding(text()), SPECIAL, hidden_size=32,
         encoder_ffn_dim=64, num_encoder_layers=2, num_encoder_attention_heads=4, decoder_ffn_dim=64,
         num_decoder_layers=2, num_decoder_attention_heads=4, max_position_embeddings=LONGEST, init_std=STD),
    _row("fsmt", "encoder_decoder", "FSMTModel", decoding(text(pad=1)), BART, pad_token_id=1, bos_token_id=0,
         src_vocab_size=VOCABULARY, tgt_vocab_size=VOCABULARY),
    _row("plbart", "encoder_decoder", "PLBartModel", decoding(text(pad=1)), BART, pad_token_id=1, bos_token_id=0),
    _row("mvp", "encoder_decoder", "MvpModel", decoding(text(pad=1)), BART, pad_token_id=1, bos_token_id=0,
         use_prompt=True, prompt_length=4, prompt_mid_dim=16),
    _row("bert2bert", "encoder_decoder", "EncoderDecoderModel", decoding(text()),
         encoder=ENCODER | {"model_type": "bert"},
         decoder=ENCODER | {"model_type": "bert", "is_decoder": True, "add_cross_attention": True},
         decoder_start_token_id=1, pad_token_id=0),
)

_VISION = (
    _row("vit", "vision", "ViTForImageClassification", pixels(), VIT),
    _row("deit", "vision", "DeiTForImageClassificationWithTeacher", pixels(), VIT),
    _row("beit", "vision", "BeitModel", pixels(), VIT, use_relative_position_bias=True, layer_scale_init_value=1.0),
    _row("data2vec_vision", "vision", "Data2VecVisionModel", pixels(), VIT, use_shared_relative_position_bias=True,
         layer_scale_init_value=1.0),
    _row("swin", "vision", "SwinModel", pixels(), SWIN, image_size=IMAGE, patch_size=4),
    _row("swinv2", "vision", "Swinv2Model", pixels(), SWIN, image_size=IMAGE, patch_size=4),
    _row("swin2sr", "vision", "Swin2SRForImageSuperResolution", pixels(16), SWIN, image_size=16, depths=(2, 2),
         num_heads=(2, 2)),
    _row("convnext", "vision", "ConvNextModel", pixels(), PYRAMID, patch_size=2, layer_scale_init_value=1.0),
    _row("convnextv2", "vision", "ConvNextV2Model", pixels(), PYRAMID, patch_size=2),
    _row("resnet", "vision", "ResNetForImageClassification", pixels(), RESNET),
    _row("regnet", "vision", "RegNetModel", pixels(), RESNET, groups_width=4),
    _row("bit", "vision", "BitModel", pixels(), RESNET, num_groups=4),
    _row("mobilenet_v1", "vision", "MobileNetV1Model", pixels(), depth_multiplier=0.25, initializer_range=STD),
    _row("mobilenet_v2", "vision", "MobileNetV2Model", pixels(), depth_multiplier=0.25, initializer_range=STD),
    _row("mobilevit", "vision", "MobileViTModel", pixels(64), image_size=64, hidden_sizes=(16, 24, 32),
         neck_hidden_sizes=(8, 8, 8, 16, 16, 16, 32), initializer_range=0.6),
    _row("mobilevitv2", "vision", "MobileViTV2Model", pixels(64), image_size=64, n_attn_blocks=(1, 1, 1),
         base_attn_unit_dims=(16, 24, 32), width_multiplier=0.25, initializer_range=0.5),
    _row("efficientnet", "vision", "EfficientNetModel", pixels(), image_size=IMAGE, width_coefficient=0.5,
         kernel_sizes=(3, 5), in_channels=(32, 16), out_channels=(16, 32), strides=(1, 2), num_block_repeats=(1, 2),
         expand_ratios=(1, 4), hidden_dim=640, initializer_range=0.6),
    _row("poolformer", "vision", "PoolFormerModel", pixels(64), depths=(1, 1, 1, 1), hidden_sizes=(8, 16, 16, 32),
         layer_scale_init_value=1.0, initializer_range=STD),
    _row("segformer", "vision", "SegformerForSemanticSegmentation", pixels(64), PYRAMID, decoder_hidden_size=16),
    _row("glpn", "vision", "GLPNForDepthEstimation", pixels(64), PYRAMID, decoder_hidden_size=16),
    _row("pvt", "vision", "PvtModel", pixels(), PYRAMID, image_size=IMAGE, sequence_reduction_ratios=(4, 2, 1, 1)),
    _row("pvt_v2", "vision", "PvtV2Model", pixels(64), PYRAMID, image_size=64),
    _row("cvt", "vision", "CvtModel", pixels(), embed_dim=(8, 16, 32), num_heads=(1, 2, 4), depth=(1, 2, 3),
         initializer_range=STD),
    _row("levit", "vision", "LevitModel", pixels(64), image_size=64, hidden_sizes=(16, 24, 32),
         num_attention_heads=(2, 3, 4), depths=(1, 1, 1), key_dim=(8, 8, 8), initializer_range=0.2),
    _row("dpt", "vision", "DPTForDepthEstimation", pixels(), VIT, num_hidden_layers=4, initializer_range=0.2,
         backbone_out_indices=(0, 1, 2, 3), neck_hidden_sizes=(8, 8, 16, 16), fusion_hidden_size=16),
    _row("dinov2", "vision", "Dinov2Model", pixels(), VIT, layerscale_value=1.0),
    _row("dinov2_with_registers", "vision", "Dinov2WithRegistersModel", pixels(), VIT, layerscale_value=1.0,
         use_swiglu_ffn=True),
    _row("dinov3_vit", "vision", "DINOv3ViTModel", pixels(), VIT, layerscale_value=1.0, num_register_tokens=2),
    _row("dinov3_convnext", "vision", "DINOv3ConvNextModel", pixels(), hidden_sizes=[8, 16, 16, 32],
         depths=[1, 1, 1, 1], layer_scale_init_value=1.0, initializer_range=STD),
    _row("yolos", "vision", "YolosForObjectDetection", pixels(), VIT, image_size=(IMAGE, IMAGE),
         num_detection_tokens=6),
    _row("vit_mae", "vision", "ViTMAEModel", both(pixels(), features("noise", 16)), VIT,
         decoder_num_attention_heads=4, decoder_hidden_size=32, decoder_num_hidden_layers=1,
         decoder_intermediate_size=32),
    _row("vit_msn", "vision", "ViTMSNModel", pixels(), VIT),
    _row("ijepa", "vision", "IJepaModel", pixels(), VIT),
    _row("focalnet", "vision", "FocalNetModel", pixels(), image_size=IMAGE, patch_size=4, embed_dim=8,
         hidden_sizes=(8, 16), depths=(1, 1), focal_levels=(2, 2), focal_windows=(3, 3), use_layerscale=True,
         layerscale_value=1.0, initializer_range=STD),
    _row("hiera", "vision", "HieraModel", pixels(64), image_size=(64, 64), embed_dim=8, depths=(1, 1, 1, 1),
         num_heads=(1, 1, 2, 4), masked_unit_size=(8, 8), initializer_range=STD),
    _row("swiftformer", "vision", "SwiftFormerModel", pixels(64), image_size=64, depths=(1, 1, 1, 1),
         embed_dims=(8, 16, 16, 32), layer_scale_init_value=1.0),
    _row("textnet", "vision", "TextNetModel", pixels(64), stem_out_channels=8, hidden_sizes=(8, 8, 16, 16, 32),
         conv_layer_kernel_sizes=[[[3, 3]], [[3, 3], [1, 3]], [[3, 3], [3, 1]], [[3, 3]]],
         conv_layer_strides=[[1], [2, 1], [2, 1], [2]], initializer_range=STD),
    _row("hgnet_v2", "vision", "HGNetV2ForImageClassification", pixels(64), embedding_size=8,
         hidden_sizes=(8, 16, 16, 32), depths=(1, 1, 1, 1), stem_channels=(3, 8, 8), stage_in_channels=(8, 8, 16, 16),
         stage_mid_channels=(8, 8, 8, 8), stage_out_channels=(8, 16, 16, 32), stage_num_blocks=(1, 1, 1, 1),
         stage_numb_of_layers=(2, 2, 2, 2), use_learnable_affine_block=True, initializer_range=STD),
    _row("upernet", "vision", "UperNetForSemanticSegmentation", pixels(64), hidden_size=16, pool_scales=(1, 2),
         auxiliary_in_channels=16, auxiliary_channels=8, initializer_range=STD,
         backbone_config=PYRAMID | {"model_type": "convnext", "out_features": ["stage1", "stage2", "stage3", "stage4"],
                                    "layer_scale_init_value": 1.0}),
    _row("depth_anything", "vision", "DepthAnythingForDepthEstimation", pixels(), patch_size=PATCH,
         reassemble_hidden_size=32, neck_hidden_sizes=(8, 8, 16, 16), fusion_hidden_size=16, head_hidden_size=8,
         backbone_config=VIT | {"model_type": "dinov2", "num_hidden_layers": 4, "out_indices": [1, 2, 3, 4],
                                "reshape_hidden_states": False}, initializer_range=0.2),
    _row("vitmatte", "vision", "VitMatteForImageMatting", features("pixel_values", 4, IMAGE, IMAGE), hidden_size=32,
         convstream_hidden_sizes=[8, 8, 16], fusion_hidden_sizes=[16, 16, 8, 8], initializer_range=STD,
         backbone_config=VIT | {"model_type": "vitdet", "num_channels": 4, "out_features": ["stage2"],
                                "patch_size": 16, "pretrain_image_size": IMAGE}),
    _row("superpoint", "vision", "SuperPointForKeypointDetection", pixels(), encoder_hidden_sizes=(8, 8, 16, 16),
         decoder_hidden_size=16, descriptor_decoder_dim=16, initializer_range=0.1),
    _row("detr", "vision", "DetrForObjectDetection", pixels(64, mask=True), DETR),
    _row("conditional_detr", "vision", "ConditionalDetrForObjectDetection", pixels(64, mask=True), DETR),
    _row("table_transformer", "vision", "TableTransformerForObjectDetection", pixels(64, mask=True), DETR),
    _row("deformable_detr", "vision", "DeformableDetrForObjectDetection", pixels(64, mask=True), DETR,
         num_feature_levels=2, encoder_n_points=2, decoder_n_points=2,
         backbone_config=BACKBONE | {"out_features": ["stage3", "stage4"]}),
    _row("rt_detr", "vision", "RTDetrForObjectDetection", pixels(64), initializer_range=STD, d_model=32,
         encoder_hidden_dim=32, encoder_in_channels=(16, 16, 32), encoder_ffn_dim=64, encoder_attention_heads=4,
         num_queries=6, decoder_in_channels=(32, 32, 32), decoder_ffn_dim=64, decoder_n_points=2, decoder_layers=2,
         decoder_attention_heads=4, num_denoising=0,
         backbone_config=RESNET | {"model_type": "rt_detr_resnet", "layer_type": "basic",
                                   "out_features": ["stage2", "stage3", "stage4"]}),
    _row("maskformer", "vision", "MaskFormerForInstanceSegmentation", pixels(64), fpn_feature_size=32,
         mask_feature_size=32, init_std=STD,
         backbone_config=SWIN | {"model_type": "swin", "image_size": 64, "depths": (1, 1, 1, 1),
                                 "num_heads": (1, 2, 2, 4), "embed_dim": 8,
                                 "out_features": ["stage1", "stage2", "stage3", "stage4"]},
         decoder_config=DETR | {"model_type": "detr"}),
    _row("mask2former", "vision", "Mask2FormerForUniversalSegmentation", pixels(64), feature_size=32, hidden_dim=32,
         encoder_feedforward_dim=32, encoder_layers=1, decoder_layers=3, num_attention_heads=4, dim_feedforward=32,
         num_queries=6, init_std=STD,
         backbone_config=SWIN | {"model_type": "swin", "image_size": 64, "depths": (1, 1, 1, 1),
                                 "num_heads": (1, 2, 2, 4), "embed_dim": 8,
                                 "out_features": ["stage1", "stage2", "stage3", "stage4"]}),
    _row("timesformer", "vision", "TimesformerModel", pixels(frames=4), VIDEO),
    _row("videomae", "vision", "VideoMAEModel", pixels(frames=4), VIDEO),
    _row("vivit", "vision", "VivitModel", pixels(frames=4), VIDEO, tubelet_size=(2, 8, 8)),
    _row("vjepa2", "vision", "VJEPA2Model", pixels(frames=4, name="pixel_values_videos"), VIT, crop_size=IMAGE,
         frames_per_clip=4, pred_hidden_size=24, pred_num_attention_heads=2, pred_num_hidden_layers=1),
)

_AUDIO = (
    _row("wav2vec2", "audio", "Wav2Vec2ForCTC", wave(), WAVE),
    _row("wav2vec2_conformer", "audio", "Wav2Vec2ConformerModel", wave(), WAVE, conv_depthwise_kernel_size=7),
    _row("wav2vec2_bert", "audio", "Wav2Vec2BertModel", features("input_features", "L", 16, mask="attention_mask"),
         SMALL, feature_projection_input_dim=16, conv_depthwise_kernel_size=7),
    _row("hubert", "audio", "HubertModel", wave(mask=True), WAVE, feat_extract_norm="layer",
         do_stable_layer_norm=True),
    _row("wavlm", "audio", "WavLMModel", wave(), WAVE, num_buckets=16, max_bucket_distance=32),
    _row("unispeech", "audio", "UniSpeechModel", wave(), WAVE),
    _row("unispeech_sat", "audio", "UniSpeechSatModel", wave(), WAVE),
    _row("data2vec_audio", "audio", "Data2VecAudioModel", wave(), WAVE, num_conv_pos_embeddings=2,
         conv_pos_kernel_size=5),
    _row("sew", "audio", "SEWModel", wave(), WAVE),
    _row("sew_d", "audio", "SEWDModel", wave(), WAVE, max_position_embeddings=LONGEST, position_buckets=16),
    _row("whisper", "audio", "WhisperForConditionalGeneration", decoding(features("input_features", 16, 64)), BART,
         num_mel_bins=16, max_source_positions=32, max_target_positions=LONGEST, begin_suppress_tokens=None),
    _row("speech_to_text", "audio", "Speech2TextModel",
         decoding(features("input_features", "4L", 16, mask="attention_mask")), BART, input_feat_per_channel=16,
         conv_channels=32, max_source_positions=2 * LONGEST, max_target_positions=LONGEST),
    _row("speecht5", "audio", "SpeechT5ForSpeechToText", decoding(wave()), WAVE, encoder_layers=2,
         encoder_attention_heads=4, encoder_ffn_dim=64, decoder_layers=2, decoder_ffn_dim=64,
         decoder_attention_heads=4, max_text_positions=LONGEST),
    _row("moonshine", "audio", "MoonshineForConditionalGeneration", decoding(wave(96, 1024)), SPECIAL,
         hidden_size=32, intermediate_size=64, encoder_num_hidden_layers=2, decoder_num_hidden_layers=2,
         encoder_num_attention_heads=4, decoder_num_attention_heads=4, max_position_embeddings=LONGEST,
         initializer_range=STD),
    _row("ast", "audio", "ASTForAudioClassification", features("input_values", 32, 16), SMALL, patch_size=8,
         frequency_stride=4, time_stride=4, max_length=32, num_mel_bins=16),
    _row("clap_audio", "audio", "ClapAudioModel", features("input_features", 1, 128, 16), spec_size=64,
         num_mel_bins=16, window_size=4, depths=(1, 1), num_attention_heads=(2, 4), num_hidden_layers=2,
         hidden_size=32, patch_embeds_hidden_size=16, projection_dim=16),
    _row("parakeet", "audio", "ParakeetEncoder", features("input_features", "4L", 16, mask="attention_mask"), SMALL,
         num_mel_bins=16, subsampling_factor=4, subsampling_conv_channels=8, max_position_embeddings=4 * LONGEST),
    _row("musicgen_decoder", "audio", "MusicgenForCausalLM", _codes, SMALL, vocab_size=64, ffn_dim=64,
         num_codebooks=2, max_position_embeddings=LONGEST, pad_token_id=64,
         bos_token_id=64, initializer_factor=STD),
)

_MULTIMODAL = (
    _row("clip", "multimodal", "CLIPModel", both(text(), pixels()), TOWERS),
    _row("siglip", "multimodal", "SiglipModel", both(text(), pixels()), TOWERS,
         text_config=TEXT_TOWER | {"projection_size": 32}),
    _row("blip", "multimodal", "BlipModel", both(text(), pixels()), TOWERS),
    _row("chinese_clip", "multimodal", "ChineseCLIPModel", both(text(types=2), pixels()), TOWERS),
    _row("altclip", "multimodal", "AltCLIPModel", both(text(pad=1), pixels()), TOWERS,
         text_config=ROBERTA | {"project_dim": 16}),
    _row("align", "multimodal", "AlignModel", both(text(types=2), pixels()), projection_dim=32, text_config=ENCODER,
         vision_config={"image_size": IMAGE, "width_coefficient": 0.5, "kernel_sizes": (3, 5), "in_channels": (32, 16),
                        "out_channels": (16, 64), "strides": (1, 2), "num_block_repeats": (1, 2),
                        "expand_ratios": (1, 4), "hidden_dim": 32, "initializer_range": STD}, initializer_range=STD),
    _row("flava", "multimodal", "FlavaModel", both(text(types=2), pixels()), image_config=VIT, text_config=ENCODER,
         multimodal_config=SMALL, hidden_size=32, projection_dim=16, init_codebook=False, initializer_range=STD),
    _row("groupvit", "multimodal", "GroupViTModel", both(text(), pixels()), projection_dim=16,
         projection_intermediate_dim=32, text_config=ENCODER,
         vision_config=VIT | {"depths": (1, 1), "num_group_tokens": (4, 0), "num_output_groups": (4, 4)}),
    _row("clipseg", "multimodal", "CLIPSegForImageSegmentation", both(text(), pixels()), TOWERS,
         extract_layers=(0, 1), reduce_dim=16, decoder_intermediate_size=32),
    _row("owlvit", "multimodal", "OwlViTForObjectDetection", _queries, TOWERS, projection_dim=32),
    _row("owlv2", "multimodal", "Owlv2ForObjectDetection", _queries, TOWERS, projection_dim=32),
    _row("aimv2", "multimodal", "Aimv2Model", both(text(), pixels()), TOWERS),
    _row("visual_bert", "multimodal", "VisualBertModel", both(text(types=2), features("visual_embeds", 6, 16)), ENCODER,
         visual_embedding_dim=16),
    _row("lxmert", "multimodal", "LxmertModel", _regions, ENCODER, l_layers=1, x_layers=1, r_layers=1,
         visual_feat_dim=16),
    _row("layoutlmv3", "multimodal", "LayoutLMv3Model", both(boxes(text(pad=1)), pixels()), ROBERTA,
         max_2d_position_embeddings=1024, coordinate_size=6, shape_size=4, input_size=IMAGE, patch_size=PATCH,
         rel_pos_bins=8, max_rel_pos=16, rel_2d_pos_bins=8, max_rel_2d_pos=32),
    _row("bridgetower", "multimodal", "BridgeTowerModel", both(text(pad=1), pixels()), hidden_size=32,
         num_attention_heads=4, num_hidden_layers=2,
         text_config=ROBERTA, vision_config={"hidden_size": 64, "num_hidden_layers": 2, "patch_size": PATCH,
                                             "image_size": IMAGE}),
    _row("git", "multimodal", "GitModel", both(text(), pixels()), ENCODER, vision_config=VIT),
    _row("blip_2", "multimodal", "Blip2QFormerModel",
         both(features("query_embeds", 4, 32), features("encoder_hidden_states", 6, 32)), SMALL,
         encoder_hidden_size=32),
    _row("llava", "multimodal", "LlavaForConditionalGeneration", _captioned, vision_feature_layer=-1,
         image_token_index=IMAGE_TOKEN, vision_config=VIT | {"model_type": "clip_vision_model"},
         text_config=DECODER | {"model_type": "llama", "vocab_size": VOCABULARY + 1}),
    _row("vision_encoder_decoder", "multimodal", "VisionEncoderDecoderModel", decoding(pixels()),
         encoder=VIT | {"model_type": "vit"}, decoder=GPT | {"model_type": "gpt2", "add_cross_attention": True},
         decoder_start_token_id=1, pad_token_id=0),
)

_SERIES = (
    _row("time_series_transformer", "time_series", "TimeSeriesTransformerModel", _series, SERIES),
    _row("informer", "time_series", "InformerModel", _series, SERIES, lags_sequence=list(LAGS), attention_type="full"),
    _row("autoformer", "time_series", "AutoformerModel", _series, SERIES, label_length=4, moving_average=5),
    _row("patchtst", "time_series", "PatchTSTForPrediction", features("past_values", 32, 3), num_input_channels=3,
         patch_length=4, patch_stride=4, num_hidden_layers=2, d_model=16, ffn_dim=32, prediction_length=8, loss="mse",
         init_std=STD),
    _row("patchtsmixer", "time_series", "PatchTSMixerForPrediction", features("past_values", 32, 3),
         num_input_channels=3, patch_length=4, patch_stride=4, num_layers=2, d_model=16, prediction_length=8,
         loss="mse", init_std=STD),
    _row("timesfm", "time_series", "TimesFmModel", _times, SMALL, patch_length=8, context_length=64, horizon_length=8,
         head_dim=8),
)

_OTHERS = (
    _row("perceiver", "other", "PerceiverForMaskedLM", text(ids="inputs"), vocab_size=VOCABULARY, num_latents=8,
         d_latents=32, d_model=32, num_self_attends_per_block=2, num_self_attention_heads=4,
         num_cross_attention_heads=4, qk_channels=16, v_channels=32, max_position_embeddings=LONGEST,
         initializer_range=STD),
    _row("decision_transformer", "other", "DecisionTransformerModel", _trajectory, state_dim=6, act_dim=3,
         hidden_size=32, max_ep_len=LONGEST, n_positions=4 * LONGEST, n_layer=2, n_head=4, initializer_range=STD),
    _row("imagegpt", "other", "ImageGPTForCausalImageModeling", text(mask=None), GPT),
    _row("encodec", "other", "EncodecModel", wave(8, 64, channels=1), hidden_size=16, num_filters=4,
         upsampling_ratios=(4, 2), codebook_size=16, num_lstm_layers=1),
    _row("dac", "other", "DacModel", wave(8, 64, channels=1), encoder_hidden_size=8, downsampling_ratios=(2, 4),
         decoder_hidden_size=16, n_codebooks=2, codebook_size=16, codebook_dim=4),
    _row("mimi", "other", "MimiModel", wave(8, 64, channels=1), SMALL, num_filters=4, upsampling_ratios=[4, 2],
         codebook_size=16, codebook_dim=16, vector_quantization_hidden_dimension=16, num_quantizers=2,
         num_key_value_heads=4, upsample_groups=4, layer_scale_initial_scale=1.0, sliding_window=WINDOW),
    _row("univnet", "other", "UnivNetModel",
         both(features("input_features", "L", 16), features("noise_sequence", "L", 8)), model_in_channels=8,
         model_hidden_channels=8, num_mel_bins=16, resblock_kernel_sizes=(3, 3), resblock_stride_sizes=(4, 2),
         resblock_dilation_sizes=((1, 3), (1, 3)), kernel_predictor_hidden_channels=8, initializer_range=0.1),
)
# fmt: on

ARCHITECTURES: dict[str, Architecture] = {
    row.name: row
    for row in (
        *_ENCODERS,
        *_DECODERS,
        *_MIXTURES,
        *_STATE_SPACES,
        *_TRANSLATORS,
        *_VISION,
        *_AUDIO,
        *_MULTIMODAL,
        *_SERIES,
        *_OTHERS,
    )
}

__getattr__ = attributes(ARCHITECTURES, __name__)
