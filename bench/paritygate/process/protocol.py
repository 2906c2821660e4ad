"""What the pytest process and its measuring processes say to each other."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """What a measuring process is doing. The value is its sentence, with a gap for a detail."""

    IMPORTING = "importing {}"
    BUILDING = "importing and building the model"
    MAKING_INPUTS = "making inputs"
    KEEPING = "keeping inputs and weights"
    RUNNING_EAGER = "running eager"
    EAGER_SAMPLES = "answering labelled samples in eager"
    FLOAT64 = "computing the float64 reference"
    TRAINING_TWIN = "training eager's twin"
    IGNORING_MASK = "ignoring the mask on purpose"
    PERTURBING = "perturbing each weight"
    MAKING_ARTEFACT = "making what {} needs"
    LOADING = "loading inputs"
    PREPARING = "preparing the model"
    ANSWERING = "answering the checked inputs"
    COMPARING = "comparing with the reference"
    TRAINING_STEPS = "training some steps"
    SAMPLES = "answering labelled samples"
    LEARNING = "learning"
    SOAKING = "calling {} times"
    TIMING = "timing"

    def sentence(self, detail: object = "") -> str:
        """What people read."""
        return self.value.format(detail)


BEFORE_EAGER = frozenset(
    {Stage.IMPORTING, Stage.BUILDING, Stage.MAKING_INPUTS, Stage.KEEPING, Stage.RUNNING_EAGER}
)
"""The stages of a reference worker until eager has answered: where it ends in one of them, there is
nothing that any cell could be compared with.
"""
