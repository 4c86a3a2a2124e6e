"""Joins runs into one model, the mean of their best ones: ``python -m pretrained.join DATA RUN RUN ...``.

The members were trained on different scans. Their mean is calibrated on the scans in DATA of objects that no
member was trained on, and written to ``runs/pretrained-ensemble``.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from plumbline.data.pt.cache import open_data
from plumbline.data.split import num_marked, object_sizes, split_samples
from plumbline.errors import InputError
from plumbline.predictors.checkpoint import load_checkpoint
from plumbline.predictors.find_checkpoint import find_best
from plumbline.training.persistence.ensembles import write_ensemble

OUT = Path("runs/pretrained-ensemble")
"""The folder of the joined model."""


def join(data: Path, runs: Sequence[Path], out: Path = OUT) -> Path:
    """Join the best models of some runs, and calibrate their mean.

    Args:
        data: a data set; the objects that the split of the first run keeps for validation are used.
        runs: folders of runs, or checkpoints.
        out: the folder for the joined model.

    Raises:
        InputError: something cannot be read, or a run was trained on an object that the first one kept apart.
    """
    paths = [find_best(run) for run in runs]
    members = [load_checkpoint(path).data for path in paths]
    first, store = members[0], open_data(data)
    _, kept = split_samples(store.object_idx, store.object_names, first.val_split, first.seed, first.split_by)
    sizes = object_sizes(store, kept)
    for path, member in zip(paths, members, strict=True):
        if seen := num_marked(member.objects or "", sizes):
            raise InputError(
                f"{path} was trained on {seen:,} of the {len(sizes):,} objects that are kept for validation: "
                "train all members with one --seed"
            )
    out.mkdir(parents=True, exist_ok=True)
    return write_ensemble(out, paths, store, kept, batch_size=64)


def main() -> int:
    """Join the runs that are named, and say where the model is."""
    try:
        if len(sys.argv) < 4:
            raise InputError("give a data set and at least two runs: python -m pretrained.join DATA RUN RUN")
        data, *runs = map(Path, sys.argv[1:])
        print(f"{join(data, runs)} written")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
