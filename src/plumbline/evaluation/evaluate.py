"""Evaluation of a trained model on a data set, compared with the untrained baselines: numbers, a report."""

import json
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

import plumbline
from plumbline.console.text import command, counted, percent
from plumbline.data.pt.cache import open_data, sample_files
from plumbline.data.split import num_same, object_sizes, split_samples
from plumbline.data.split_file import split_as_given
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.writer import MANIFEST
from plumbline.errors import InputError
from plumbline.evaluation.payload import PayloadTable, network_payload, summarise_payload
from plumbline.evaluation.per_scan import refuse_path, write_per_scan
from plumbline.evaluation.plots import read_history
from plumbline.evaluation.report import examples_of, render
from plumbline.evaluation.risk_coverage import Refusal, refusal
from plumbline.evaluation.table import OTHER, SEEN, UNSEEN, Table, summarise
from plumbline.files import check_out_folder, each_folder, folder_names
from plumbline.models import SYMMETRIES
from plumbline.own_parts import names_a_file
from plumbline.predictors.answers import Answers
from plumbline.predictors.calibration import Ellipsoid, coverage, ellipsoids
from plumbline.predictors.checkpoint import Trained, load_checkpoint
from plumbline.predictors.device import choose_device
from plumbline.predictors.find_checkpoint import checkpoint_name, find_best
from plumbline.predictors.inference import answers_for
from plumbline.predictors.trained_on import TrainedOn
from plumbline.predictors.untrained import Scans, names_of
from plumbline.quantities import plain
from plumbline.records import Float, Int
from plumbline.reporting import Event, Reporter
from plumbline.writing import write_atomically

REPORT, NUMBERS, METRICS = "report.html", "evaluation.json", "metrics.csv"

_MARKS = {REPORT: b'<p class="kicker">plumbline ', NUMBERS: b'"fingerprint":'}
"""By file, what one of ours contains."""

_AT_ONCE = 256
"""Graphs whose positions are read together."""
SPLITS = {"val": "held out from training", "train": "trained on", "test": "kept for test", "all": "all"}
"""Splits, with a description of their graphs."""


class Choice(NamedTuple):
    """The graphs to measure: name of their split, their indices, their relation to the training (UNSEEN, SEEN
    or OTHER), and, on another data set, how many of its objects were trained on."""

    split: str
    indices: Int
    relation: str
    trained_on: int = 0


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Result of the evaluation of a model on a data set.

    Attributes:
        trained: the model.
        store: the data set.
        data_dir: folder of the data set, or several.
        split: which graphs: "val" (held out from training), "train", "test" or "all".
        table: the errors of the model and of the untrained baselines, graph by graph.
        answers: what the model predicts, stored frame.
        held: nominal share (``"0.9"``) to the actual share of errors within the radius that the model
            predicts for it; empty for a model that does not predict its error.
        ellipsoid: the same for the ellipsoids that it predicts; None if it predicts none.
        refusal: its relative errors if some scans are refused; None if it knows nothing to refuse them by.
        payload: the errors of volume and inertia; None for a model that predicts neither.
    """

    trained: Trained
    store: PackedStore
    data_dir: Path | tuple[Path, ...]
    split: str
    table: Table
    answers: Answers
    held: dict[str, float]
    ellipsoid: Ellipsoid | None
    refusal: Refusal | None
    payload: PayloadTable | None

    @property
    def folder(self) -> Path:
        """Default output folder: next to the checkpoint, or, for another data set, a subfolder of that."""
        own = self.trained.path.parent
        other = "+".join(folder.resolve().name for folder in each_folder(self.data_dir))
        return own / other if self.table.relation == OTHER else own

    def to_dict(self) -> dict[str, Any]:
        """The content of ``evaluation.json`` as plain values."""
        return {
            **self.table.to_dict(),
            "held_by_expected_error": self.held,
            "ellipsoid": None if self.ellipsoid is None else self.ellipsoid._asdict(),
            **({} if self.refusal is None else {"refusal": self.refusal.to_dict()}),
            **({} if self.payload is None else {"payload": self.payload.to_dict()}),
            "checkpoint": checkpoint_name(self.trained.path),
            "data_dir": plain(self.data_dir),
            "fingerprint": self.store.fingerprint,
            "split": self.split,
            "version": plumbline.__version__,
        }

    def to_json(self) -> str:
        """The text of ``evaluation.json``."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def write(self, out: Path) -> None:
        """Write ``evaluation.json`` and ``report.html`` into a folder, over those of an earlier one.

        Raises:
            InputError: the folder cannot be written, or holds a file of that name that is not ours.
        """
        for name, mark in _MARKS.items():
            if (out / name).exists() and mark not in (out / name).read_bytes():
                raise InputError(
                    f"{out / name} is not from an evaluation and would be overwritten: move it, or choose "
                    "another --out"
                )
        path = self.trained.path
        # Several are those that the checkpoint names.
        where = ["--data_dir", self.data_dir] if isinstance(self.data_dir, Path) else []
        again = ["plumbline", "evaluate", checkpoint_name(path), *where, "--split", self.split]
        own = [name for name in (*self.table.methods[1:], *self.table.left_out) if names_a_file(name)]
        page = render(
            table=self.table,
            payload=self.payload,
            refusal=self.refusal,
            examples=examples_of(self.store, self.table),
            history=read_history(path.parent / METRICS),
            facts=_facts(self),
            command=command(
                *again,
                *(["--baselines", *own] if own else []),
                *([] if out == self.folder else ["--out", out]),
            ),
            kicker=f"plumbline {plumbline.__version__} · evaluation · {date.today().isoformat()}",
        )
        check_out_folder(out)
        try:
            out.mkdir(parents=True, exist_ok=True)
            write_atomically(out / NUMBERS, self.to_json().encode())
            write_atomically(out / REPORT, page.encode("utf-8", "xmlcharrefreplace"))
        except OSError as error:
            raise InputError(f"cannot write to {out} ({error.strerror}): choose another --out") from error


def evaluate(
    checkpoint: Path | str,
    *,
    model: str | type | None = None,
    baselines: Iterable[str | Callable[[Scans], Float]] = (),
    data_dir: Path | str | None = None,
    split: str = "auto",
    batch_size: int = 64,
    out: Path | str | None = None,
    per_scan: Path | str | None = None,
    report: Callable[[Event], None] | None = None,
) -> Evaluation:
    """Measure a trained model on a data set, next to the untrained baselines.

    Args:
        checkpoint: a checkpoint, or the folder of a run, whose best one is taken.
        model: the class of a network of your own, see :func:`plumbline.load_checkpoint`.
        baselines: your own baselines to compare with as well: functions, ``"path/to/file.py:function"``,
            or :class:`plumbline.Baseline`.
        data_dir: the data set; by default the one that the model was trained on.
        split: which graphs: "val" (held out from training), "train", "test" (of a training with a
            ``split_file``), "all", or "auto": "val" on the training data set, "all" on any other.
        batch_size: graphs per batch.
        out: a folder for ``report.html`` and ``evaluation.json``; None writes nothing.
        per_scan: a ``.csv`` or ``.jsonl`` file for each scan's prediction, truth and error; None writes none.
        report: called with every event; files are counted while a folder of ``.pt`` files is read.

    Raises:
        InputError: the checkpoint or data set does not exist, they do not match, predictions are not finite,
            a baseline of your own cannot be used, or ``out`` or ``per_scan`` is not writable.
    """
    if per_scan is not None:
        refuse_path(Path(per_scan))
    out = None if out is None else Path(out)
    if out is not None and (out / MANIFEST).exists():
        raise InputError(f"{out} is a data set; choose another folder for the report")
    own = names_of(baselines)
    trained = load_checkpoint(find_best(Path(checkpoint)), model=model)
    where = _data_dir(trained.data) if data_dir is None else Path(data_dir)
    reporter = Reporter(report)
    store = open_data(where, progress=lambda done, total: reporter.progress("file", done, total))
    check_features(trained.data, store, where)
    choice = choose_graphs(store, trained.data, split, where)
    answers = answers_for(
        trained.model, store, choice.indices, batch_size=batch_size, device=choose_device("auto")
    )
    table = summarise(
        store,
        choice.indices,
        answers.com,
        model=trained.model_name,
        relation=choice.relation,
        trained_on=choice.trained_on,
        baselines=own,
    )
    errors = table.errors[table.model].error
    calibration, expected = trained.calibration, answers.expected_error
    held = {} if expected is None else coverage(errors, expected, calibration.error_factors)
    off = answers.com - store.target[choice.indices]
    ellipsoid = ellipsoids(off, answers, calibration)
    payload = None
    if (predicted := network_payload(answers)) is not None:
        payload = summarise_payload(store, choice.indices, {trained.model_name: predicted})
    refused = _refusal(trained, store, table, answers)
    found = Evaluation(trained, store, where, choice.split, table, answers, held, ellipsoid, refused, payload)
    if per_scan is not None:
        write_per_scan(Path(per_scan), found, sample_files(where, store))
    if out is not None:
        found.write(out)
    return found


def check_features(trained_on: TrainedOn, store: PackedStore, data_dir: Path | tuple[Path, ...]) -> None:
    """Refuse a data set whose features or frame differ from those of the training data."""
    where = folder_names(data_dir)
    if trained_on.normalise != store.normalise:
        raise InputError(
            f"the model was trained on points in another frame (--normalise {trained_on.normalise}) than "
            f"that of {where} (--normalise {store.normalise}): prepare it like the training data"
        )
    wanted, found = trained_on.feature_names, tuple(store.feature_names)
    if wanted != found:
        raise InputError(
            f"the model reads {len(wanted)} features per point ({', '.join(wanted)}), but {where} has "
            f"{len(found)} ({', '.join(found)}): prepare it like the training data"
        )
    vectors = trained_on.vector_names
    if vectors != tuple(store.vector_names[: len(vectors)]):
        lost = [name for name in vectors if name not in store.vector_names] or vectors
        raise InputError(
            f"the model reads vectors of each scan that {where} does not have ({', '.join(lost)}): prepare "
            "it like the training data, that of a table with --sensor_model depth"
        )


def choose_graphs(
    store: PackedStore, trained_on: TrainedOn, split: str, data_dir: Path | tuple[Path, ...]
) -> Choice:
    """Choose the graphs of a split ("auto", "val", "train", "test" or "all") on this data set.

    Raises:
        InputError: "val", "train" or "test" on a data set that the model was not trained on, "test" without a
            split of the user's own, or an unknown split.
    """
    same = store.fingerprint == trained_on.fingerprint
    everything = np.arange(len(store))
    if split == "auto":
        split = "val" if same else "all"
    if split == "all":
        if same:
            return Choice(split, everything, SEEN)
        known = num_same(trained_on.objects or "", object_sizes(store, everything))
        return Choice(split, everything, OTHER, known)
    if split not in SPLITS:
        raise InputError(f"split must be auto, {', '.join(SPLITS)}, got {split!r}")
    if not same:
        raise InputError(
            f"--split {split}: {folder_names(data_dir)} is not the data set that the model was trained on "
            f"({folder_names(trained_on.data_dir)}), so it has no such split; use --split all"
        )
    if trained_on.split is not None:
        where = "the split that the checkpoint records"
        sides = split_as_given(store.object_idx, store.object_names, trained_on.split, where)
    else:
        train, val = split_samples(
            store.object_idx, store.object_names, trained_on.val_split, trained_on.seed, trained_on.split_by
        )
        sides = {"train": train, "val": val}
    if len(sides.get(split, ())) == 0:
        raise InputError(
            f"--split {split}: the model was trained without objects for test (--split_file of plumbline "
            "train); use --split val"
        )
    return Choice(split, sides[split], SEEN if split == "train" else UNSEEN)


def held_lines(found: Evaluation) -> dict[str, str]:
    """What the model's 90 % radius and ellipsoid contain, in words, by their names."""
    lines = {}
    if "0.9" in found.held:
        lines["90 % radius"] = f"contains {percent(found.held['0.9'])} of the true centres of mass"
    if found.ellipsoid is not None:
        held, ratio = found.ellipsoid
        lines["90 % ellipsoid"] = f"contains {percent(held)}, with {percent(ratio)} of the ball's volume"
    return lines


def _refusal(trained: Trained, store: PackedStore, table: Table, answers: Answers) -> Refusal | None:
    """The relative errors if scans are refused by their novelty, or by their expected error."""
    usual, expected = trained.calibration.usual, answers.expected_error
    with np.errstate(divide="ignore", over="ignore"):  # points may coincide
        relative = None if expected is None else expected / _extents(store, table.indices)
    return refusal(
        table.errors[table.model].error_rel,
        novelty=None if usual is None or answers.features is None else usual.novelty(answers.features),
        relative=relative,
    )


def _extents(store: PackedStore, indices: Int) -> Float:
    """Longest sides ``[G]`` of the bounding boxes of graphs, stored units."""
    found = np.empty(len(indices))
    for start in range(0, len(indices), _AT_ONCE):
        graphs = store.gather(indices[start : start + _AT_ONCE])
        first = graphs.node_ptr[:-1]
        sides = np.maximum.reduceat(graphs.pos, first) - np.minimum.reduceat(graphs.pos, first)
        found[start : start + _AT_ONCE] = sides.max(axis=1)
    return found


def _data_dir(trained_on: TrainedOn) -> Path | tuple[Path, ...]:
    folders = each_folder(trained_on.data_dir)
    for folder in folders:
        if not folder.is_dir():
            raise InputError(
                f"the data set that the model was trained on ({folder}) does not exist: give one with "
                "--data_dir"
            )
    return tuple(folders) if len(folders) > 1 else folders[0]


def _facts(found: Evaluation) -> dict[str, dict[str, str]]:
    """Facts for the report about the data, the model, the settings and the versions."""
    store, table, trained = found.store, found.table, found.trained
    sizes = np.diff(store.node_ptr)[table.indices]
    points = f"{sizes.min():,}" if sizes.min() == sizes.max() else f"{sizes.min():,} to {sizes.max():,}"
    data = {
        "folder": folder_names(found.data_dir),
        "scans": f"{table.num_graphs:,} of {len(store):,} ({SPLITS[found.split]})",
        "objects": f"{table.num_objects:,} of {store.num_objects:,}",
        "points per scan": points,
        "features per point": ", ".join(store.feature_names),
        "rejected inputs": f"{len(store.rejected):,}",
        "fingerprint": store.fingerprint[:16],
    }
    model: Any = trained.model
    facts = {
        "name": trained.model_name,
        "parameters": f"{sum(weights.numel() for weights in model.parameters()):,}",
        "arguments": ", ".join(f"{name} {value}" for name, value in trained.model_args.items()),
        "symmetry": f"{model.symmetry}: {SYMMETRIES[model.symmetry]}",
        "trained for": counted(trained.epochs_done, "epoch"),
        **{f"predicted {name}": line for name, line in held_lines(found).items()},
        "checkpoint": checkpoint_name(trained.path),
    }
    versions = {
        "plumbline": plumbline.__version__,
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "PyTorch": torch.__version__,
    }
    settings = {name: _plain(value) for name, value in trained.config.items()}
    return {"Data set": data, "Model": facts, "Training flags": settings, "Versions": versions}


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return "not given" if value is None else str(value)
