"""Matrix: the cells of a session, from the declared cases, the options and the machine."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from paritygate.backends import Backend
from paritygate.core.case import Case, Cell, Target, cell_of
from paritygate.core.declaration import DeclarationError
from paritygate.host.lookup import Lookup, Suites
from paritygate.session import targets
from paritygate.session.options import Options

VARIANTS = "paritygate.backends.variants"


class Matrix:
    """The cells of one session.

    ``backends``: those of the options, and the variants of cases. ``homes``: case -> the folder of
    the suite file that declares it first.
    """

    def __init__(self, options: Options, suites: Suites | None = None) -> None:
        self.options, self.suites = options, suites or Suites()
        self.backends = dict(options.backends)
        self.homes: dict[str, str] = {}
        self._cases: dict[str, Case] = {}
        self._reasons: dict[Target, str | None] = {}

    def cells(self, cases: Iterable[Case], timed: bool, suite: Path | None = None) -> list[Cell]:
        """Return the cells of some cases within budget and targets. ``timed``: only those that have
        a speed.

        In the quick budget a case with timed shapes skips its parity-only shapes on backends that
        are slow to open: compiling takes seconds each. ``suite``: the folder of the suite file.
        Raises ``DeclarationError`` when two different cases have the same name.
        """
        found = []
        for case in cases:
            known = self._cases.setdefault(case.name, case)
            if known is not case and known.as_dict() != case.as_dict():
                raise DeclarationError(
                    f"two cases are named {case.name!r}{self._where(case, suite)}; history is joined by "
                    "id, give one of them another name"
                )
            if suite is not None and self.homes.setdefault(case.name, str(suite)) != str(suite):
                self._refuse_other_files(case, str(suite))
            wanted = [
                target
                for chosen in self.options.targets
                for target in self._with_variants(case, chosen)
            ]
            shapes = self.options.budget.shapes(case)
            beside = self.options.budget.name == "quick" and any(shape.timed for shape in shapes)
            for shape in shapes:
                for target in wanted:
                    left_out = timed or (beside and self.backends[target.backend].slow_to_open)
                    if left_out and not shape.timed:
                        continue
                    if (cell := cell_of(case, shape, target)) is not None:
                        found.append(cell)
        return found

    def _where(self, case: Case, suite: Path | None) -> str:
        """Return the folders of the two suites as text, or "" unless they are known to differ."""
        first = self.homes.get(case.name)
        return (
            ""
            if first is None or suite is None or first == str(suite)
            else f" (in {first} and in {suite})"
        )

    def _refuse_other_files(self, case: Case, suite: str) -> None:
        """Raise ``DeclarationError`` if two suites declare the same case but mean different files."""
        first, lookup = self.homes[case.name], Lookup(self.suites, sys.path)
        for location in case.locations().values():
            module = location.partition(":")[0]
            files = [lookup.locate(module, folder) for folder in (first, suite)]
            if files[0] != files[1]:
                raise DeclarationError(
                    f"two cases are named {case.name!r}: {location!r} is in {files[0]} to the suite in {first}, and in "
                    f"{files[1]} to the suite in {suite}; history is joined by id, give one of the cases another name"
                )

    def _with_variants(self, case: Case, target: Target) -> list[Target]:
        """Return the target. Behind eager's, add the case's own variants on the same device.

        Raises ``DeclarationError`` if a variant has the name of a backend.
        """
        if target.backend != "eager":
            return [target]
        for variant in case.variants:
            own = Backend(variant, VARIANTS, compiles=True)
            if self.backends.setdefault(variant, own).module != VARIANTS:
                raise DeclarationError(
                    f"case {case.name}: its variant {variant!r} bears the name of a backend; rename it"
                )
        return [
            target,
            *(Target(target.device, variant, target.dtype) for variant in case.variants),
        ]

    def require_modules(self, cells: Iterable[Cell]) -> None:
        """Raise ``DeclarationError`` if a case of these cells names a module that does not exist.

        Call it after collection: until then a folder may still be added to the path.
        """
        lookup, wrong = Lookup(self.suites, sys.path), list[str]()
        cases = {cell.case.name: cell.case for cell in self.runnable(cells)}
        for case in cases.values():
            for option, location in case.locations().items():
                module = location.partition(":")[0]
                if why := lookup.missing(module, self.homes.get(case.name, "")):
                    wrong.append(f'case {case.name}: {option}="{location}": {why}')
        if wrong:
            raise DeclarationError("\n".join(wrong))

    def unavailable(self, cell: Cell) -> str | None:
        """Return why a cell cannot run here, as far as is known without opening it, or None."""
        if reason := cell.case.reason(cell.case.skips, cell.target):
            return reason
        if cell.target not in self._reasons:
            self._reasons[cell.target] = targets.unavailable(cell.target, self.backends)
        backend = self.backends[cell.target.backend]
        if cell.case.mode != "inference" and not backend.differentiable:
            return f"{backend.name} runs no backward, which mode={cell.case.mode!r} needs"
        return self._reasons[cell.target]

    def runnable(self, cells: Iterable[Cell]) -> list[Cell]:
        """Return the cells that can run here, as far as is known."""
        return [cell for cell in cells if self.unavailable(cell) is None]
