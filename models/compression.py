"""Compressed models: the trained digits' network with 8-bit weights, with weights or channels
removed, or distilled.

Each is made from the original network and takes the same images (B, 1, 16, 16), float32. It returns
logits (B, 10) of its own, so its cost is measured by accuracy on labelled samples, not by the
logits. ``facts`` of each holds ``size_bytes``, the size of its weights in a file, beside the
``original_bytes``.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import prune

from models import cnn, digits, weights
from models.weights import Weights

LAYERS = ("conv1", "conv2", "fc1", "fc2")
# share of all weights, or of the channels between the second convolution and the first linear layer
PRUNED = 0.5
STUDENT = (8, 16, 32)  # a quarter of the channels, and of the units of the hidden layer
OPSET = 20


class NotPruned(RuntimeError):
    """Weights that must be zero are not, or only by a mask. The message says how many, and what to
    look for.
    """


# ------------------------------------------------------------------------------------------------
# 8-bit weights


def dynamic_int8(plain: nn.Module) -> Quantised:
    """Return the network with 8-bit weights. The inputs of a layer are quantised too, in every
    call, by their range.

    ONNX Runtime quantises all four layers. Weights are unsigned: with signed ones its convolution
    of integers took four times as long. ONNX Runtime quantises a float32 network on a CPU only. So
    any other one raises ``NotImplementedError``: this variant cannot run here.
    """
    weight = next(plain.parameters())
    if weight.dtype != torch.float32 or weight.device.type != "cpu":
        raise NotImplementedError(
            f"only a float32 network on a CPU can be quantised, not {weight.dtype} on {weight.device}"
        )
    import onnxruntime

    recipe = [weights.digest(plain), OPSET, onnxruntime.__version__]
    made = weights.cached("digits_int8", recipe, (__file__,), lambda: {"onnx": _quantised(plain)})
    return Quantised(
        made.weights["onnx"].numpy().tobytes(), weights.size(plain.state_dict()), made.cold
    )


def _quantised(plain: nn.Module) -> Tensor:
    """Return the quantised ONNX model's bytes, uint8. Its metadata counts the operators that
    compute with integers.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with torch.inference_mode(False), torch.no_grad():
        program = torch.onnx.export(
            plain,
            (torch.zeros(2, 1, 16, 16),),
            dynamo=True,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: "batch"},),
            verbose=False,
        )
    assert program is not None
    exported = program.model_proto
    # it contains shapes of weights, which are wrong after the quantiser has transposed them
    del exported.graph.value_info[:]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "quantised.onnx"
        quantize_dynamic(exported, path, weight_type=QuantType.QUInt8)
        model = onnx.load(path)
    integers = Counter(
        node.op_type for node in model.graph.node if node.op_type.endswith("Integer")
    )
    onnx.helper.set_model_props(model, {"integer_operators": json.dumps(integers)})
    return torch.frombuffer(bytearray(model.SerializeToString()), dtype=torch.uint8)


class Quantised:
    """A quantised ONNX model, run by ONNX Runtime on as many threads as PyTorch has."""

    def __init__(self, model: bytes, original_bytes: int, cold: bool = False) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        self._facts = {"size_bytes": len(model), "original_bytes": original_bytes, "cold": cold}

    def __call__(self, images: Tensor) -> Tensor:
        """Map (B, 1, 16, 16) to logits (B, 10)."""
        (logits,) = self._session.run(None, {"images": images.numpy()})
        return torch.from_numpy(logits)

    def facts(self) -> dict[str, Any]:
        """Return sizes in bytes, and how many operators compute with integers."""
        integers = json.loads(
            self._session.get_modelmeta().custom_metadata_map["integer_operators"]
        )
        return self._facts | {"integer_operators": integers}


# -------------------------------------------------------------------------------------------
# smaller networks


class Compressed(cnn.DigitsCNN):
    """A ``DigitsCNN`` with the widths of the given weights, for inference only.

    ``zeros``: the share of its weights that must be zero. ``known``: further facts.
    """

    def __init__(self, given: Weights, zeros: float = 0.0, **known: Any) -> None:
        with torch.device("meta"):  # weights are given: no random number is drawn
            super().__init__()
            _widen(self, *(len(given[f"{layer}.bias"]) for layer in LAYERS[:3]))
        self.load_state_dict(given, assign=True)
        self.requires_grad_(False).eval()
        self._zeros, self._known = zeros, known

    def facts(self) -> dict[str, Any]:
        """Return sizes in bytes, and the share of the weights that is not zero. Raises
        ``NotPruned``.
        """
        check_pruned(self, self._zeros)
        return {
            "size_bytes": weights.size(self.state_dict()),
            "nonzero_share": nonzero_share(self),
        } | self._known


def _widen(network: cnn.DigitsCNN, first: int, second: int, hidden: int) -> cnn.DigitsCNN:
    """Return the same network with new layers of other widths: channels of the convolutions, units
    of the hidden layer.
    """
    network.conv1 = nn.Conv2d(1, first, kernel_size=3)
    network.conv2 = nn.Conv2d(first, second, kernel_size=3)
    network.fc1 = nn.Linear(second * 6 * 6, hidden)
    network.fc2 = nn.Linear(hidden, 10)
    return network


def nonzero_share(network: nn.Module) -> float:
    """Return the share, 0 to 1, of the weights of all layers that are not zero. Biases do not
    count.
    """
    every = [layer.weight for layer in _layers(network)]
    return sum(int(weight.count_nonzero()) for weight in every) / sum(
        weight.numel() for weight in every
    )


def check_pruned(network: nn.Module, zeros: float) -> None:
    """Raise ``NotPruned`` unless the share ``zeros`` of the weights is zero for good, i.e. without
    a mask.
    """
    if prune.is_pruned(network):
        raise NotPruned(
            "masks are still applied in every call, and the original weights are kept; call prune.remove"
        )
    share = 1 - nonzero_share(network)
    total = sum(layer.weight.numel() for layer in _layers(network))
    if round(share * total) < round(zeros * total):
        raise NotPruned(
            f"{share:.4%} of {total} weights are zero, {zeros:.4%} must be: some came back, by training or loading"
        )


def _layers(network: nn.Module) -> list[Any]:
    return [getattr(network, name) for name in LAYERS]


# ------------------------------------------------------------------------------------------------------
# pruning


def pruned(plain: nn.Module) -> Compressed:
    """Return the network with the smaller half of its weights set to zero, over all layers
    together.

    The zeros are still stored, so it is neither smaller nor faster. A format or kernel that skips
    zeros would be.
    """
    network = copy.deepcopy(plain)
    smallest = [(layer, "weight") for layer in _layers(network)]
    prune.global_unstructured(smallest, pruning_method=prune.L1Unstructured, amount=PRUNED)
    for layer in _layers(network):
        prune.remove(layer, "weight")
    return Compressed(network.state_dict(), PRUNED, original_bytes=weights.size(plain.state_dict()))


def pruned_channels(plain: nn.Module) -> Compressed:
    """Return the network without the half of the second convolution's channels that has weights of
    the smallest norm.

    The channels are removed, with their inputs to the next layer, so it is smaller and faster.
    """
    network = copy.deepcopy(plain)
    prune.ln_structured(network.conv2, "weight", amount=PRUNED, n=2, dim=0)
    stay = network.conv2.weight_mask.flatten(1).any(dim=1)
    prune.remove(network.conv2, "weight")
    return Compressed(
        without_channels(network, stay), original_bytes=weights.size(plain.state_dict())
    )


def without_channels(network: nn.Module, stay: Tensor) -> Weights:
    """Return the weights of the smaller network that gives the same answers if the channels that do
    not ``stay`` (C,) are zero.

    Such a channel equals its bias everywhere, also after ReLU and pooling. This constant is added
    to the next layer's bias.
    """
    given = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    maps = given["fc1.weight"].unflatten(1, (len(stay), -1))  # units x channels x 36 places
    constant = given["conv2.bias"][~stay].relu()
    return given | {
        "conv2.weight": given["conv2.weight"][stay],
        "conv2.bias": given["conv2.bias"][stay],
        "fc1.weight": maps[:, stay].flatten(1),
        "fc1.bias": given["fc1.bias"] + maps[:, ~stay].sum(2) @ constant,
    }


# -------------------------------------------------------------------------------------------------
# distillation


def distilled(plain: nn.Module) -> Compressed:
    """Return a network with a fifteenth of the weights, trained by distillation from the plain one.
    It is trained once and cached.
    """
    weight = next(plain.parameters())
    teacher = copy.deepcopy(plain).float().cpu()
    recipe = [weights.digest(teacher), STUDENT]
    made = weights.cached(
        "digits_student", recipe, (__file__, digits.__file__, cnn.__file__), lambda: distil(teacher)
    )
    given = {name: tensor.to(weight.device, weight.dtype) for name, tensor in made.weights.items()}
    return Compressed(given, original_bytes=weights.size(plain.state_dict()), cold=made.cold)


def distil(
    teacher: nn.Module,
    widths: tuple[int, int, int] = STUDENT,
    temperature: float = 4.0,
    epochs: int = 8,
    lr: float = 0.01,
    batch: int = 32,
    seed: int = 0,
) -> Weights:
    """Return the weights of a network of other ``widths`` that learns the digits from their labels
    and from a teacher.

    See ``distillation_loss``. The same arguments give the same weights on the same machine, in
    about 3 s. The global random state is not changed.
    """
    train, _ = digits.load()
    generator = torch.Generator().manual_seed(seed)
    with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = _widen(cnn.DigitsCNN(), *widths)
        optimizer = torch.optim.SGD(student.parameters(), lr=lr, momentum=0.9)
        with torch.no_grad():
            teacher_logits = teacher(train.images)
        for _ in range(epochs):
            for rows in torch.randperm(len(train.labels), generator=generator).split(batch):
                optimizer.zero_grad()
                answers = student(train.images[rows])
                distillation_loss(
                    answers, teacher_logits[rows], train.labels[rows], temperature
                ).backward()
                optimizer.step()
    return {name: tensor.detach() for name, tensor in student.state_dict().items()}


def distillation_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float
) -> Tensor:
    """Return T^2 KL(teacher || student) of both logits (B, classes) softened by T, plus the
    cross-entropy of the labels (B,).

    Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015: T^2 keeps the
    size of the soft part's gradients independent of T.
    """
    soft = functional.kl_div(
        (student / temperature).log_softmax(1),
        (teacher / temperature).log_softmax(1),
        reduction="batchmean",
        log_target=True,
    )
    return temperature**2 * soft + functional.cross_entropy(student, labels)
