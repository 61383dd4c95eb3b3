"""What a density run says of its choices and of the targets it could not measure as it measured the others."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sparsity_lab.fitting.density.densities import OTHER_SIZE, REFERENCE, Density, is_reference
from sparsity_lab.fitting.density.notes import Notes, listed
from sparsity_lab.fitting.density.rulers.choice import BUNDLED_SOURCE
from sparsity_lab.fitting.density.rulers.ruler import Ruler
from sparsity_lab.fitting.density.rulers.two_step import TwoStepRuler
from sparsity_lab.fitting.density.scores.sizes import SizeConvention
from sparsity_lab.fitting.density.scores.targets import Target

log = logging.getLogger(__name__)


def note_references(targets: Sequence[Target], ruler: Ruler, *, base: bool, notes: Notes) -> None:
    """Say which of the user's targets the ruler is made of; in the bundled table the flag alone says it."""
    among = [t.model for t in targets if is_reference(t, ruler.references)]
    if among and not base:
        notes.add(
            f"{len(among)} of the targets are models that the ruler {ruler.name} is made of: {listed(among)}; "
            f"their densities lie near 1 by construction (flag {REFERENCE})"
        )


def note_other_tasks(of_targets: Sequence[str], tasks: Sequence[str], ruler: Ruler, notes: Notes) -> None:
    """Say which tasks of the targets have no part in their scores."""
    others = [task for task in of_targets if task not in tasks]
    if others:
        notes.add(f"not used, since {ruler.name} does not have them: {listed(others)}")


def note_left_out(
    targets: Sequence[Target], densities: Sequence[Density], tasks: Sequence[str], notes: Notes
) -> None:
    """Say which targets got no density, for want of a score or of a size."""
    measured = {density.target.model for density in densities}
    left_out = [target for target in targets if target.model not in measured]
    kinds = {
        "without a score of these tasks": [
            t for t in left_out if not any(task in t.scores for task in tasks)
        ],
        "without a size": [t for t in left_out if any(task in t.scores for task in tasks)],
    }
    for kind, models in kinds.items():
        if models:
            notes.add(f"left out {kind}: {listed([target.model for target in models])}")


def note_sizes(densities: Sequence[Density], ruler: Ruler, notes: Notes) -> None:
    """Say how many targets are not counted as the ruler's models are."""
    otherwise = [density.target.model for density in densities if OTHER_SIZE in density.flags]
    if otherwise:
        notes.add(
            f"the ruler counts {ruler.params}, {len(otherwise)} of {len(densities)} targets are counted otherwise "
            f"(flag {OTHER_SIZE!r}); "
            "--embeddings out with a column params_nonembedding_b counts as the OLMo ladder does"
        )


def note_choices(
    ruler: Ruler,
    reason: str,
    tasks: Sequence[str],
    convention: SizeConvention,
    *,
    bundled: bool,
    notes: Notes,
) -> None:
    """Say every choice that was made, with its reason."""
    log.info("ruler: %s (%s), because %s", ruler.name, ruler.form, reason)
    mean = "mean of " if len(tasks) > 1 else ""
    log.info("size: %s; tasks: %s%s", convention.words, mean, ", ".join(tasks))
    if isinstance(ruler, TwoStepRuler):
        log.info("D0: %.3g tokens", ruler.d0_tokens)
    if not bundled or ruler.source != BUNDLED_SOURCE:
        notes.add(f"densities assume that targets were scored as the ruler was: {ruler.harness}")
