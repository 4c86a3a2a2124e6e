"""Makes the file of weights that plumbline ships from a run: ``python -m pretrained.pack RUN``.

It holds what prediction needs and no state of the training, is sealed and read like every checkpoint, and
says nothing of the machine. The predictions that tests compare with are not rewritten here: see
``tests/golden/pretrained.py``.
"""

import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from plumbline.errors import InputError
from plumbline.own_parts import names_a_file
from plumbline.predictors.checkpoint import load_checkpoint, read_checkpoint, seal
from plumbline.predictors.find_checkpoint import SHIPPED, find_best
from plumbline.writing import write_atomically

LARGEST = 5_000_000
"""Bytes that the file may have."""
_WEIGHTS = "model."
_KEPT = (
    "format", "model", "model_args", "needs", "data", "config", "versions", "metrics", "calibration",
    "epochs_done", "global_step",
)  # fmt: skip
_LEFT_OUT = (
    "rng",
    "rng_of_others",
    "train_sums",
    "nonfinite",
    "loader",
    "batches_done",
    "tracking",
    "loss_sha256",
)
_PLACES = ("data_dir", "checkpoint_dir", "split_file", "resume")
"""Flags that name files and folders."""


def pack(run: Path, out: Path = SHIPPED) -> None:
    """Write the best model of a run as a file of weights to ship.

    Args:
        run: the folder of a run, or a checkpoint. A ``state_dict`` of averaged weights stays averaged.
        out: the file to write.

    Raises:
        InputError: there is no checkpoint, the network is not one of the package, the file would be too
            large, or the checkpoint holds something that this function does not know.
    """
    path = find_best(run)
    content = read_checkpoint(path)
    ours = content["plumbline"]
    if unknown := set(ours) - {*_KEPT, *_LEFT_OUT}:
        raise InputError(
            f"{path} describes {', '.join(sorted(unknown))}: add it to _KEPT or _LEFT_OUT of "
            "pretrained/pack.py"
        )
    if names_a_file(ours["model"]):
        raise InputError(
            f"{path} holds {ours['model']}, which is not part of plumbline: it cannot be shipped"
        )
    weights = {
        name: value.clone() for name, value in content["state_dict"].items() if name.startswith(_WEIGHTS)
    }
    described = {name: ours[name] for name in _KEPT if name in ours}
    for part in ("data", "config"):
        described[part] = {
            name: _without_folders(value) if name in _PLACES else value for name, value in ours[part].items()
        }
    buffer = BytesIO()
    torch.save({"state_dict": weights, "plumbline": described}, buffer)
    sealed = seal(buffer.getbuffer())
    if len(sealed) > LARGEST:
        raise InputError(f"{path} would have {len(sealed):,} bytes as a file of weights; {LARGEST:,} may be")
    out.parent.mkdir(exist_ok=True)
    write_atomically(out, sealed)
    load_checkpoint(out)


def _without_folders(value: Any) -> Any:
    """The last part of a path, or of each of several: the rest says how a machine is set up."""
    if isinstance(value, list):
        return [_without_folders(one) for one in value]
    return None if value is None else Path(value).name


def main() -> int:
    """Pack the run that is named, and say what comes next."""
    try:
        if len(sys.argv) != 2:
            raise InputError("give the folder of a run, or a checkpoint: python -m pretrained.pack RUN")
        pack(Path(sys.argv[1]))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{SHIPPED.name} written, {SHIPPED.stat().st_size:,} bytes. Next:")
    print("  python -m tests.golden.pretrained --write    the predictions that tests compare with")
    print("  python -m docs.build                         the facts in docs/model-card.md")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
