"""A short training of a text classifier, by a hand-written loop and by Hugging Face's Trainer, with
equal settings.

Shapes: K steps, B batch, L sequence. Token ids and masks are int64 (K, B, L), labels (K, B), losses
(K,).
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW

from models import corpus, text

RATE = 5e-5


class Loop:
    """The training loop of PyTorch's tutorials. Every call trains from the initial weights."""

    def __init__(self) -> None:
        self.model: nn.Module = text.tiny().model.train()
        self._initial = copy.deepcopy(self.model.state_dict())

    def __call__(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> Tensor:
        """Train on (K, B, L) batches with their labels, on the device of the batches. Return the
        loss of every step (K,).
        """
        self.model.to(input_ids.device)
        self.reset()
        optimizer, losses = self.optimizer(), []
        for ids, mask, right in zip(input_ids, attention_mask, labels, strict=True):
            optimizer.zero_grad()
            loss = functional.cross_entropy(self.model(ids, attention_mask=mask).logits, right)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses)

    def optimizer(self) -> AdamW:
        """Return AdamW over the model's weights, without decay."""
        return AdamW(self.model.parameters(), lr=RATE, weight_decay=0.0)

    def reset(self) -> None:
        """Restore the initial weights."""
        self.model.load_state_dict(self._initial)

    def double(self) -> Loop:
        """Convert the loop to float64 and return it."""
        self.model.double()
        self._initial = {
            name: value.double() if value.is_floating_point() else value
            for name, value in self._initial.items()
        }
        return self


def hf_trainer(loop: Loop) -> Callable[..., Tensor]:
    """Return the same training by ``transformers.Trainer``. Raises ``ImportError`` without
    accelerate.
    """
    from transformers import Trainer, TrainingArguments
    from transformers.utils import is_accelerate_available

    if not is_accelerate_available():
        raise ImportError("transformers.Trainer needs accelerate: pip install accelerate")

    def train(input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> Tensor:
        loop.reset()
        losses: list[Tensor] = []

        def loss_of(outputs: Any, right: Tensor, **_: Any) -> Tensor:
            loss = functional.cross_entropy(outputs.logits, right)
            losses.append(loss.detach())  # the Trainer logs rounded losses
            return loss

        arguments = TrainingArguments(
            output_dir=str(
                Path(tempfile.gettempdir()) / "paritygate-trainer"
            ),  # it stays empty: nothing is saved
            per_device_train_batch_size=input_ids.shape[1],
            max_steps=len(input_ids),
            train_sampling_strategy="sequential",
            lr_scheduler_type="constant",
            max_grad_norm=0.0,  # the default clips
            use_cpu=input_ids.device.type == "cpu",
            tf32=None,  # any other value uses an API after which torch.compile refuses to work
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        samples = [
            {"input_ids": ids, "attention_mask": mask, "labels": label}
            for ids, mask, label in zip(
                input_ids.flatten(0, 1), attention_mask.flatten(0, 1), labels.flatten(), strict=True
            )
        ]
        trainer = Trainer(
            loop.model,
            arguments,
            train_dataset=samples,
            compute_loss_func=loss_of,
            optimizers=(loop.optimizer(), None),
        )
        trainer.train()
        return torch.stack(losses)

    return train


def corpus_batches(sizes: Mapping[str, int], generator: torch.Generator) -> dict[str, Tensor]:
    """Return sentences of the corpus with their labels, drawn at random: K batches of B, padded and
    cut to L.
    """
    split = corpus.load().train
    rows = torch.randint(
        len(split.sentences), (sizes["steps"] * sizes["batch"],), generator=generator
    )
    encoded = text.encode([split.sentences[row] for row in rows.tolist()], sizes["seq"])
    shape = (sizes["steps"], sizes["batch"], sizes["seq"])
    return {
        "input_ids": encoded["input_ids"].view(shape),
        "attention_mask": encoded["attention_mask"].view(shape),
        "labels": split.labels[rows].view(shape[:2]),
    }
