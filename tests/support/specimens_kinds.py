"""Models of kinds that the harness must take as they are. Imported by workers only.

Each is odd in one way: it writes to its inputs, remembers, draws, answers with something else than
tensors, ...
"""

from __future__ import annotations

import dataclasses
import random
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    pass

CALLS = 0  # of ``Sleepy``


class Net(nn.Module):
    """Nothing odd: (batch, 8) to (batch, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.out = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Any:
        return self.out(self.mix(x).tanh())


def rows(sizes: dict[str, int], generator: torch.Generator) -> tuple[Tensor]:
    return (torch.randn(sizes["batch"], 8, generator=generator),)


def labelled(sizes: dict[str, int], generator: torch.Generator) -> tuple[tuple[Tensor], Tensor]:
    return rows(sizes, generator), torch.randint(0, 8, (sizes["batch"],), generator=generator)


# -- inputs that are written to


class Clamped(Net):
    """What dropout gives in eval is its very input."""

    def forward(self, x: Tensor) -> Tensor:
        kept = functional.dropout(x, 0.3, self.training)
        kept.clamp_(min=0)
        return super().forward(kept) + x


class Aliased(Net):
    """Writes to one of two inputs that share memory, and uses the other."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x.add_(1)
        return super().forward(x * y)


class AddedTo(Net):
    def forward(self, x: Tensor) -> Tensor:
        x += 1
        return super().forward(x)


class Assigned(Net):
    """Writes into a table, by index; the other input stays."""

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        table[1] = x.mean(0)
        return super().forward(x) @ table.t()


def rows_and_table(sizes: dict[str, int], generator: torch.Generator) -> dict[str, Tensor]:
    (x,) = rows(sizes, generator)
    return {"x": x, "table": torch.randn(5, 8, generator=generator)}


class Filling(Net):
    """Fills what is missing."""

    def forward(self, x: Tensor) -> Tensor:
        x[x.isnan()] = 0.0
        return super().forward(x)


def rows_twice(sizes: dict[str, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    (x,) = rows(sizes, generator)
    return x, x


def rows_from_both_ends(sizes: dict[str, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    (x,) = rows(sizes | {"batch": sizes["batch"] + 1}, generator)
    return x[:-1], x[1:]


def rows_with_gaps(sizes: dict[str, int], generator: torch.Generator) -> tuple[Tensor]:
    (x,) = rows(sizes, generator)
    x[:, 2] = float("nan")
    return (x,)


# -- what is remembered from call to call


class RunningMean(Net):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(8))

    def forward(self, x: Tensor) -> Tensor:
        self.mean.mul_(0.9).add_(x.mean(0), alpha=0.1)
        return super().forward(x - self.mean)


class Peaking(Net):
    """The same after the same inputs; the buffer is replaced."""

    peak: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("peak", torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        self.peak = torch.maximum(self.peak, x.abs().amax(0))
        return super().forward(x / self.peak)


class Cached(nn.Module):
    """Attention of one token to those of the calls before, in a cache of fixed size: (batch, 8) to
    (batch, 8).
    """

    def __init__(self) -> None:
        super().__init__()
        self.query, self.both = nn.Linear(8, 8), nn.Linear(8, 16)
        self.register_buffer("past", torch.zeros(16, 8, 2, 8), persistent=False)
        self.register_buffer("position", torch.zeros(1, dtype=torch.long), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        keys, values = self.both(x).chunk(2, -1)
        new = torch.stack((keys, values), 1)[None]
        self.past.index_copy_(0, self.position % 16, new)
        seen = torch.arange(16) <= self.position
        self.position += 1
        scores = (self.query(x)[None] * self.past[:, :, 0]).sum(-1) / 8**0.5
        weights = scores.masked_fill(~seen[:, None], float("-inf")).softmax(0)
        return (weights[..., None] * self.past[:, :, 1]).sum(0)


class Listing(Net):
    """Keeps its last hidden state in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.last = [torch.zeros(8)]

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x + self.last[0].to(x.dtype))
        self.last[0] = y.mean(0)
        return y


class Growing(Net):
    """A cache that is not there before the first call, and longer after each."""

    def __init__(self) -> None:
        super().__init__()
        self.past: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.past = x[:1] if self.past is None else torch.cat((self.past, x[:1]))[-50:]
        return super().forward(x) + self.past.mean(0)


class HoldingACache(Net):
    """One of transformers', kept in the model."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import DynamicCache

        self.cache = DynamicCache()

    def forward(self, x: Tensor) -> Tensor:
        keys, values = self.cache.update(x[:1, None, None], x[:1, None, None], 0)
        return super().forward(x) + (keys * values).mean((0, 1, 2))


class Numbering(Net):
    """Counts its calls in a number, and answers with it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x) * self.calls


class Drifting(Net):
    """A running mean that no ``state_dict`` holds, and a factor in a plain attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(8), persistent=False)
        self.factor = torch.ones(())

    def forward(self, x: Tensor) -> Tensor:
        self.mean.mul_(0.9).add_(x.mean(0).detach(), alpha=0.1)
        self.factor = self.factor * 0.9
        return super().forward(x - self.mean) * self.factor


class Idle(Net):
    """Counts, and does not answer with it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros(1, dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        self.steps += 1
        return super().forward(x)


# -- random numbers


class Noisy(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + 0.1 * torch.randn_like(x))


class NoisyByNumpy(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * np.random.rand()


class NoisyByPython(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * random.random()


class Seeded(Net):
    """The same numbers in every call, others in float64."""

    def forward(self, x: Tensor) -> Tensor:
        torch.manual_seed(3)
        return super().forward(x + torch.randn_like(x))


# -- training


def sgd(parameters: Any) -> torch.optim.Optimizer:
    """Of those that are to be trained; two of four."""
    every = list(parameters)
    trained = [one for one in every if one.requires_grad]
    if len(trained) != 2:
        raise RuntimeError(f"2 parameters are to be trained, {len(trained)} of {len(every)} are")
    return torch.optim.SGD(trained, lr=0.05)


class Frozen(Net):
    def __init__(self) -> None:
        super().__init__()
        self.mix.requires_grad_(False)


class Packed(nn.Module):
    """Holds a weight in eight bits, which no gradient can be asked of."""

    def __init__(self) -> None:
        super().__init__()
        self.packed = nn.Parameter(
            torch.randint(-8, 8, (8, 8), dtype=torch.int8), requires_grad=False
        )
        self.out = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.out((x @ self.packed.to(x.dtype)).tanh())


class PartlyFrozen(Net):
    """One tensor of each layer."""

    def __init__(self) -> None:
        super().__init__()
        self.mix.weight.requires_grad_(False)
        self.out.bias.requires_grad_(False)


class StaysInEval(nn.BatchNorm1d):
    def train(self, mode: bool = True) -> StaysInEval:
        return super().train(False)


class FrozenNorm(Net):
    def __init__(self) -> None:
        super().__init__()
        self.norm = StaysInEval(8)
        self.norm.running_mean += torch.randn(8)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.norm(x))


class TrainsNotItsNorm(Net):
    """By a ``train`` of its own, as detectors have it; and dropout that is off in a part."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop = nn.BatchNorm1d(8), nn.Dropout(0.5)

    def train(self, mode: bool = True) -> TrainsNotItsNorm:
        super().train(mode)
        self.norm.eval()
        self.drop.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.drop(self.norm(x)))


def normed() -> nn.Module:
    """Deepcopy refuses the weight, which is computed."""
    import warnings

    made = Net()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.mix = nn.utils.weight_norm(made.mix)
    return made


def parametrized() -> nn.Module:
    made = Net()
    made.mix = nn.utils.parametrizations.weight_norm(made.mix)
    return made


def spectral() -> nn.Module:
    made = Net()
    made.mix = nn.utils.parametrizations.spectral_norm(made.mix)
    return made


class Lazy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.Tanh(), nn.LazyLinear(8)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Tied(nn.Module):
    """One weight into the model and out of it again."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.back = nn.Linear(8, 8), nn.Linear(8, 8)
        self.back.weight = self.into.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.back(self.into(x).tanh())


# -- models that differ from build to build


class DrawnByItself(Net):
    """From a generator of its own, which nobody seeds."""

    def __init__(self) -> None:
        super().__init__()
        drawn = np.random.default_rng().standard_normal(8)
        self.register_buffer("drawn", torch.tensor(drawn, dtype=torch.float32), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + self.drawn)


class DrawnIntoAnAttribute(Net):
    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator()
        generator.seed()
        self.tables = {"first": torch.randn(8, generator=generator)}

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + self.tables["first"].to(x.dtype))


class DrawnAsAnArray(Net):
    def __init__(self) -> None:
        super().__init__()
        self.shift = np.random.default_rng().standard_normal(8)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.from_numpy(self.shift).to(x.dtype)


class KnowsWords(Net):
    """An array of objects, whose bytes are addresses: others in every process."""

    def __init__(self) -> None:
        super().__init__()
        self.words = np.array([f"{number} of them" for number in range(3)], dtype=object)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * len(self.words)


class DrawnIntoAWeight(Net):
    """Which is kept with the others."""

    def __init__(self) -> None:
        super().__init__()
        with torch.no_grad():
            self.mix.bias.copy_(torch.from_numpy(np.random.default_rng().standard_normal(8)))


class DrawnFromSeeds(Net):
    """From the generators that are seeded, all three of them."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn = torch.tensor(np.random.standard_normal(8) + random.random()) + torch.randn(8)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + self.drawn.to(x.dtype))


# -- outputs


@dataclasses.dataclass
class Answer:
    logits: Tensor
    hidden: list[Tensor]
    note: str = "done"


class InADataclass(Net):
    def forward(self, x: Tensor) -> Answer:
        y = super().forward(x)
        return Answer(y, [y.tanh(), x * 2])


class Answers(NamedTuple):
    logits: Tensor
    rest: dict[str, Any]


class OfAllKinds(Net):
    """A named tuple of a tensor, itself again, numbers, a string, None, and an empty one."""

    def forward(self, x: Tensor) -> Answers:
        y = super().forward(x)
        rest = {
            "again": y,
            "count": 3,
            "scale": 0.5,
            "flag": True,
            "word": "ok",
            "none": None,
            "empty": y[:, :0],
        }
        return Answers(y, rest)


class ByNumber(Net):
    """Answers with a number that is computed, beside a tensor."""

    def forward(self, x: Tensor) -> tuple[Tensor, float]:
        y = super().forward(x)
        return y, float(y.detach().sum())


class NumberAlone(Net):
    def forward(self, x: Tensor) -> float:
        return float(super().forward(x).detach().sum())


class Distributed(Net):
    """Answers with a distribution, whose tensors are compared."""

    def forward(self, x: Tensor) -> torch.distributions.Normal:
        y = super().forward(x)
        return torch.distributions.Normal(y, y.exp(), validate_args=False)


class Sparse(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu().to_sparse()


class OfParts(Net):
    """Answers with rows of different lengths in one nested tensor."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return torch.nested.nested_tensor([row[: 2 + number % 3] for number, row in enumerate(y)])


class Foreign:
    def __init__(self) -> None:
        self.name = "nothing to compare"


class Strange(Net):
    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"logits": super().forward(x), "more": [Foreign()]}


def gpt2() -> nn.Module:
    """Answers with its cache of keys and values, too."""
    import transformers

    config = transformers.GPT2Config(
        vocab_size=64, n_positions=32, n_embd=32, n_layer=2, n_head=2, initializer_range=0.3
    )
    return transformers.GPT2LMHeadModel(config)


def words(sizes: dict[str, int], generator: torch.Generator) -> dict[str, Tensor]:
    return {"input_ids": torch.randint(0, 64, (sizes["batch"], 6), generator=generator)}


# -- inputs


class Batch(NamedTuple):
    x: Tensor
    rest: dict[str, Tensor]


@dataclasses.dataclass(frozen=True)
class Options:
    shift: Tensor
    factor: float
    name: str


class Taking(Net):
    """Takes a named tuple and a dataclass."""

    def forward(self, batch: Batch, options: Options) -> Tensor:
        assert options.name == "plain"
        return super().forward(batch.x * options.factor + options.shift) + batch.rest["bias"]


def held(sizes: dict[str, int], generator: torch.Generator) -> dict[str, Any]:
    (x,), (bias,) = rows(sizes, generator), rows(sizes, generator)
    return {
        "batch": Batch(x, {"bias": bias}),
        "options": Options(torch.randn(8, generator=generator), 0.5, "plain"),
    }


def words_with_a_cache(sizes: dict[str, int], generator: torch.Generator) -> dict[str, Any]:
    """One more token after four, whose keys and values are given."""
    from transformers import DynamicCache

    cache, shape = DynamicCache(), (sizes["batch"], 2, 4, 16)
    for layer in range(2):
        cache.update(
            torch.randn(shape, generator=generator), torch.randn(shape, generator=generator), layer
        )
    ids = torch.randint(0, 64, (sizes["batch"], 1), generator=generator)
    return {"input_ids": ids, "past_key_values": cache}


def words_with_an_empty_cache(sizes: dict[str, int], generator: torch.Generator) -> dict[str, Any]:
    from transformers import DynamicCache

    return words(sizes, generator) | {"past_key_values": DynamicCache()}


class Conjugated(Net):
    """Takes a view that is conjugated lazily."""

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z.real + z.imag)


def conjugates(sizes: dict[str, int], generator: torch.Generator) -> tuple[Tensor]:
    return (torch.randn(sizes["batch"], 8, dtype=torch.complex64, generator=generator).conj(),)


class Striding(Net):
    """Takes views of one memory, and an expanded one."""

    def forward(self, x: Tensor, window: Tensor, wide: Tensor) -> Tensor:
        return super().forward(x) + window.sum() + wide


def views(sizes: dict[str, int], generator: torch.Generator) -> tuple[Tensor, ...]:
    (x,) = rows(sizes, generator)
    return x, x[1:3], torch.randn(8, generator=generator).expand(sizes["batch"], 8)


def arrays(sizes: dict[str, int], generator: torch.Generator) -> tuple[list[Any]]:
    made = torch.randint(
        0, 256, (sizes["batch"], 4, 4, 3), generator=generator, dtype=torch.uint8
    ).numpy()
    return ([np.ascontiguousarray(one) for one in made],)


def pictures(sizes: dict[str, int], generator: torch.Generator) -> tuple[list[Any]]:
    from PIL import Image

    return ([Image.fromarray(one) for one in arrays(sizes, generator)[0]],)


def looked_at(images: list[Any]) -> tuple[Tensor]:
    """Every image as eight numbers."""
    stacked = torch.stack([torch.from_numpy(np.array(image)) for image in images]).float() / 255
    return (stacked.flatten(1)[:, :8],)


def written_over(images: list[Any]) -> tuple[Tensor]:
    """The same, and what was given is changed."""
    for image in images:
        image //= 2
    return looked_at(images)


def painted_over(images: list[Any]) -> tuple[Tensor]:
    """Darkens what was given, as ``thumbnail`` and ``paste`` of PIL change their own image."""
    for image in images:
        image.paste(image.point(lambda value: value // 2))
    return looked_at(images)


# -- TorchScript


def scripted() -> Any:
    return torch.jit.script(Net())


def traced() -> Any:
    return torch.jit.trace(Net().eval(), torch.zeros(2, 8))


# -- padding


class Tagging(nn.Module):
    """A tag for every token, and one answer for each text: attention to those that are not
    padding.
    """

    def __init__(self) -> None:
        super().__init__()
        self.table, self.heads, self.tags = (
            nn.Embedding(64, 16),
            nn.Linear(16, 48),
            nn.Linear(16, 5),
        )
        nn.init.normal_(self.table.weight, std=2.0)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        q, k, v = self.heads(self.table(ids))[:, None].chunk(3, -1)
        hidden = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask[:, None, None, :].bool()
        )[:, 0]
        tags = self.tags(hidden)
        return tags, (tags * mask[..., None]).sum(1)


def padded(sizes: dict[str, int], generator: torch.Generator) -> dict[str, Tensor]:
    """Padded on the left."""
    lengths = torch.randint(2, 6, (sizes["batch"], 1), generator=generator)
    mask = (torch.arange(6) >= 6 - lengths).long()
    return {"ids": torch.randint(1, 64, mask.shape, generator=generator) * mask, "mask": mask}


def unpadded_tags(ids: Tensor, mask: Tensor) -> tuple[Tensor, None]:
    return mask.bool(), None


def unpadded(ids: Tensor, mask: Tensor) -> Tensor:
    return mask.bool()


# -- dynamic dimensions


class Anchored(Net):
    """(batch, 8) and a table (n, 8)."""

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        return super().forward(x) @ table.t()


def rows_and_as_many(sizes: dict[str, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A table that is as long as the batch by chance."""
    return torch.randn(sizes["batch"], 8, generator=generator), torch.randn(
        4, 8, generator=generator
    )


class Pooled(Net):
    """(batch, seq, 8), whatever their size."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).mean(1)


def sequences(sizes: dict[str, int], generator: torch.Generator) -> tuple[Tensor]:
    return (torch.randn(sizes["batch"], sizes["seq"], 8, generator=generator),)


class OfSix(Pooled):
    """Takes six tokens and no other number."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.randn(6, 8))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + self.places)


# -- inputs that no exporter takes, and objects that cannot be told from one another


class Neighbours(Net):
    """A graph's edges as a sparse matrix."""

    def forward(self, edges: Tensor, x: Tensor) -> Tensor:
        return torch.sparse.mm(edges, super().forward(x))


def edges_and_rows(sizes: dict[str, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    edges = torch.eye(sizes["batch"]).roll(1, 0).to_sparse()
    return edges, torch.randn(sizes["batch"], 8, generator=generator)


def of_all_lengths(sizes: dict[str, int], generator: torch.Generator) -> tuple[Tensor]:
    """Sequences of one to batch vectors in one tensor."""
    sequences = [
        torch.randn(length + 1, 8, generator=generator) for length in range(sizes["batch"])
    ]
    return (torch.nested.nested_tensor(sequences, layout=torch.jagged),)


class Coarse(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.dequantize())


def of_eight_bits(sizes: dict[str, int], generator: torch.Generator) -> tuple[Tensor]:
    rows = torch.randn(sizes["batch"], 8, generator=generator)
    return (torch.quantize_per_tensor(rows, 0.05, 0, torch.qint8),)


class Notes:
    """A cache of somebody's own: empty at first, and without an ``__eq__``."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []


class TakingNotes(Net):
    def forward(self, x: Tensor, notes: Notes) -> tuple[Tensor, list[Tensor]]:
        notes.seen.append(x.relu())
        return super().forward(x), notes.seen


def rows_and_notes(sizes: dict[str, int], generator: torch.Generator) -> tuple[Tensor, Notes]:
    return torch.randn(sizes["batch"], 8, generator=generator), Notes()


# -- slow ones, and those with nothing or hardly anything to compare


class Sleepy(Net):
    """Slow in its first two calls, so that tests are not."""

    seconds = 0.4

    def forward(self, x: Tensor) -> Tensor:
        global CALLS
        CALLS += 1
        time.sleep(self.seconds if CALLS <= 2 else 0)
        return super().forward(x)


class Drowsy(Sleepy):
    seconds = 2.5


class PartlyEmpty(Net):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = super().forward(x)
        return y, y[:, :0]


class Summing(Net):
    """Its second answer is zero but for rounding."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = super().forward(x).softmax(-1)
        return y, y.sum(-1) - 1


class OnlyRounding(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).softmax(-1).sum(-1) - 1


class Residue(Net):
    """A difference of two ways to compute one number, beside an answer."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = super().forward(x)
        return y, (y + x) - x - y


# -- float32 inside


class Normed(Net):
    """Norms in float32, as language models do."""

    def forward(self, x: Tensor) -> Tensor:
        y = x.to(torch.float32)
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-6)
        return super().forward(y.to(x.dtype))


class SoftInFloat(Net):
    """A softmax in float32, its answer in the dtype of the input."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.softmax(super().forward(x), -1, dtype=torch.float32).to(x.dtype)


class Tabled(Net):
    """Writes into a table of float32 that moves with nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.zeros(3, 8)

    def forward(self, x: Tensor) -> Tensor:
        self.table[1] = x.mean(0)
        return super().forward(x) + self.table.sum(0).to(x.dtype)


# -- what raises


def failing_model() -> nn.Module:
    raise RuntimeError("the weights are not here")


def failing_inputs(sizes: dict[str, int], generator: torch.Generator) -> tuple[Tensor]:
    return (torch.randn(sizes["rows"], 8),)


def failing_preprocess(x: Tensor) -> tuple[Tensor]:
    raise ValueError("no such vocabulary")


def failing_samples() -> tuple[Any, Any]:
    raise OSError("no such file")
