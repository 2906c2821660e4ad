"""Show what a training loses if torch 2.13 compiles it on a CPU: ten epochs of digits, in eager and
compiled.

    python -m bench.evidence.lost_gradient

Prints for both the loss of the last epoch, the share of held-out digits that are right, and how far
each layer has moved from its initial weights. The compiler fuses the code that fills the gradient
of ``max_pool2d`` with zeros with the code that reads it, and writes the values afterwards
(channels_last, batches of 32 and more). So layers in front of the last pooling do not move.
``TORCHINDUCTOR_LAYOUT_OPTIMIZATION=0`` avoids it.
"""

from __future__ import annotations

import copy

import torch
from torch.nn import functional

from evidence import command_line
from models import digits, training, training_data
from models.cnn import DigitsCNN

BATCH = 32


def main() -> None:
    """Train twice from the same weights on the same batches."""
    command_line.parser().parse_args()
    for name in ("eager", "compile"):
        torch.manual_seed(0)
        model = DigitsCNN()
        initial = copy.deepcopy(model.state_dict())
        forward = torch.compile(model, dynamic=False) if name == "compile" else model
        optimizer = training.sgd_momentum(model.parameters())
        losses = []
        for (images,), labels in training_data.digit_epochs({"batch": BATCH}):
            optimizer.zero_grad()
            loss = functional.cross_entropy(forward(images), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        (held,), right = digits.held_out()
        with torch.no_grad():
            accuracy = (model(held).argmax(1) == right).float().mean().item()
        last = losses[-len(losses) // training_data.DIGIT_EPOCHS :]
        moved = {
            key: (value - initial[key]).norm().item() for key, value in model.state_dict().items()
        }
        print(
            f"{name}: loss {sum(last) / len(last):.3f}, accuracy {accuracy:.1%}, moved by "
            + ", ".join(f"{key} {far:.2f}" for key, far in moved.items() if key.endswith("weight"))
        )


if __name__ == "__main__":
    main()
