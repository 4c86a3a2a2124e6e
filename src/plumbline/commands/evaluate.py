"""``plumbline evaluate``: a trained model beside the untrained baselines, as a table and a report."""

import json
import platform
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console

import plumbline
from plumbline.config import EvaluateConfig
from plumbline.console.progress import file_bar
from plumbline.console.terminal import print_line
from plumbline.console.text import command, percent
from plumbline.data.pt.cache import open_data
from plumbline.data.split import num_same, object_sizes, split_samples
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.tensors import atomic_file
from plumbline.data.store.writer import MANIFEST
from plumbline.errors import InputError
from plumbline.evaluation.plots import read_history
from plumbline.evaluation.report import examples_of, write_report
from plumbline.evaluation.table import OTHER, SEEN, UNSEEN, Table, print_table, summarise
from plumbline.models import SYMMETRIES
from plumbline.predictors.calibration import coverage
from plumbline.predictors.checkpoint import Trained, load_checkpoint
from plumbline.predictors.find_checkpoint import find_best
from plumbline.predictors.inference import predict_with_error
from plumbline.records import Float, Int

REPORT, NUMBERS, METRICS = "report.html", "evaluation.json", "metrics.csv"

_SPLITS = {
    "val": "kept back in training",
    "train": "trained on",
    "all": "all",
}


class Choice(NamedTuple):
    """Which graphs are measured: their split's name, their indices, how they relate to training, and how many
    objects of another data set were trained on."""

    split: str
    indices: Int
    relation: str
    trained_on: int = 0


def run(config: EvaluateConfig, console: Console) -> int:
    """Measure, print, and write ``evaluation.json`` and ``report.html``. Returns the exit code."""
    if config.out is not None and (config.out / MANIFEST).exists():
        raise InputError(f"--out {config.out}: this is a data set; choose another folder for the report")
    path = find_best(config.checkpoint)
    loaded = load_checkpoint(path)
    data_dir = config.data_dir or _trained_on(loaded.data)
    with file_bar(console) as progress:
        store = open_data(data_dir, progress=progress)
    check_features(loaded.data, store, data_dir)
    choice = choose_graphs(store, loaded.data, config.split, data_dir)
    answers, expected = _answers(loaded, store, choice.indices, config.batch_size)
    table = summarise(
        store,
        choice.indices,
        answers,
        model=loaded.model_name,
        relation=choice.relation,
        trained_on=choice.trained_on,
    )
    errors = table.errors[table.model].error
    held = {} if expected is None else coverage(errors, expected, loaded.error_factors)
    numbers = {
        **table.to_dict(),
        "held_by_expected_error": held,
        "checkpoint": str(path),
        "data_dir": str(data_dir),
        "fingerprint": store.fingerprint,
        "split": choice.split,
        "version": plumbline.__version__,
    }
    text = json.dumps(numbers, indent=2, allow_nan=False)
    # An evaluation on other data must not replace the one on the training's own.
    beside = path.parent / data_dir.resolve().name if choice.relation == OTHER else path.parent
    out = config.out or beside
    _write(out, text)
    write_report(
        out / REPORT,
        table=table,
        examples=examples_of(store, table),
        history=read_history(path.parent / METRICS),
        facts=_facts(loaded, path, store, data_dir, choice, table, held),
        command=_command(config, path, data_dir, choice.split),
        kicker=f"plumbline {plumbline.__version__} · evaluation · {date.today().isoformat()}",
    )
    if config.json:
        print(text)
        return 0
    console.print(f"{path} on {data_dir} ({_SPLITS[choice.split]})", highlight=False, markup=False)
    console.print()
    print_table(console, table)
    if "0.9" in held:
        console.print(f"Its own 90 % radius {_held(held)}.", style="dim")
    console.print()
    print_line(console, f"report   {out / REPORT}")
    print_line(console, f"numbers  {out / NUMBERS}")
    return 0


def _answers(
    loaded: Trained, store: PackedStore, indices: Int, batch_size: int
) -> tuple[Float, Float | None]:
    """Of the model, and the errors that it expects if it says so. Raises InputError: a GPU is too small."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return predict_with_error(loaded.model, store, indices, batch_size=batch_size, device=device)
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"the GPU's memory does not hold --batch_size {batch_size}: give a smaller one"
        ) from error


def _command(config: EvaluateConfig, path: Path, data_dir: Path, split: str) -> str:
    out = [] if config.out is None else ["--out", str(config.out)]
    return command("plumbline", "evaluate", path, "--data_dir", data_dir, "--split", split, *out)


def check_features(trained: dict[str, Any], store: PackedStore, data_dir: Path) -> None:
    """Refuses a data set whose points carry other features, or lie in another frame, than in training."""
    if trained["normalise"] != store.normalise:
        raise InputError(
            f"the model was trained on points in another frame (--normalise {trained['normalise']}) than "
            f"{data_dir} holds (--normalise {store.normalise}): prepare it as the training data were"
        )
    wanted, found = list(trained["feature_names"]), list(store.feature_names)
    if wanted != found:
        raise InputError(
            f"the model reads {len(wanted)} features per point ({', '.join(wanted)}), and {data_dir} has "
            f"{len(found)} ({', '.join(found)}): prepare the data set as the one the model was trained on"
        )


def choose_graphs(store: PackedStore, trained: dict[str, Any], split: str, data_dir: Path) -> Choice:
    """The graphs that ``--split`` means on this data set.

    Args:
        store: the data set.
        trained: what the checkpoint says of its training data (fingerprint, val_split, split_by, seed).
        split: "auto", "val", "train" or "all".
        data_dir: for the message.

    Raises:
        InputError: "val" or "train" on a data set that the model was not trained on.
    """
    same = store.fingerprint == trained["fingerprint"]
    everything = np.arange(len(store))
    if split == "auto":
        split = "val" if same else "all"
    if split == "all":
        if same:
            return Choice(split, everything, SEEN)
        known = num_same(trained.get("objects", ""), object_sizes(store, everything))
        return Choice(split, everything, OTHER, known)
    if not same:
        raise InputError(
            f"--split {split}: {data_dir} is not the data set that the model was trained on "
            f"({trained['data_dir']}), so it has no such part; use --split all"
        )
    how = (trained["val_split"], trained["seed"], trained["split_by"])
    train, val = split_samples(store.object_idx, store.object_names, *how)
    return Choice(split, val, UNSEEN) if split == "val" else Choice(split, train, SEEN)


def _trained_on(trained: dict[str, Any]) -> Path:
    folder = Path(trained["data_dir"])
    if not folder.is_dir():
        raise InputError(
            f"the data set that the model was trained on ({folder}) is not here: give one with --data_dir"
        )
    return folder


def _write(out: Path, text: str) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with atomic_file(out / NUMBERS) as file:
            file.write(text.encode())
    except OSError as error:
        raise InputError(
            f"cannot write into {out} ({error.strerror}): choose another folder with --out"
        ) from error


def _facts(
    loaded: Trained,
    path: Path,
    store: PackedStore,
    data_dir: Path,
    choice: Choice,
    table: Table,
    held: dict[str, float],
) -> dict[str, dict[str, str]]:
    """What the report says about the data, the model, the settings and the versions."""
    sizes = np.diff(store.node_ptr)[choice.indices]
    points = f"{sizes.min():,}" if sizes.min() == sizes.max() else f"{sizes.min():,} to {sizes.max():,}"
    data = {
        "folder": str(data_dir),
        "scans": f"{table.num_graphs:,} of {len(store):,} ({_SPLITS[choice.split]})",
        "objects": f"{table.num_objects:,} of {store.num_objects:,}",
        "points per scan": points,
        "features per point": ", ".join(store.feature_names),
        "rejected inputs": f"{len(store.rejected):,}",
        "fingerprint": store.fingerprint[:16],
    }
    model: Any = loaded.model
    facts = {
        "name": loaded.model_name,
        "parameters": f"{sum(weights.numel() for weights in model.parameters()):,}",
        "arguments": ", ".join(f"{name} {value}" for name, value in loaded.model_args.items()),
        "symmetry": f"{model.symmetry}: {SYMMETRIES[model.symmetry]}",
        "trained for": f"{loaded.epochs_done:,} epoch{'s' * (loaded.epochs_done != 1)}",
        **({"its own 90 % radius": _held(held)} if "0.9" in held else {}),
        "checkpoint": str(path),
    }
    versions = {
        "plumbline": plumbline.__version__,
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "PyTorch": torch.__version__,
    }
    settings = {name: _plain(value) for name, value in loaded.config.items()}
    return {"Data set": data, "Model": facts, "Training flags": settings, "Versions": versions}


def _held(held: dict[str, float]) -> str:
    return f"holds {percent(held['0.9'])} of the true centres of mass"


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return "not given" if value is None else str(value)
