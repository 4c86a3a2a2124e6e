"""Measures what radii and ellipsoids contain: ``python -m benchmarks.coverage RUN --data_dir DATA ...``.

RUN is the folder of an ensemble, whose members are measured too, or of any other training. On the data set of
the training only the graphs held out for validation count, by which it was calibrated; on others all count.
Lengths are in per cent of the bounding radius of each object; brackets are 95 % intervals over objects.
"""

import argparse
from pathlib import Path

import numpy as np

from plumbline.console.text import percent
from plumbline.data.pt.cache import open_data
from plumbline.evaluation.evaluate import check_features, choose_graphs
from plumbline.evaluation.metrics import bootstrap_mean, errors_on
from plumbline.predictors.calibration import ellipsoids, mahalanobis
from plumbline.predictors.checkpoint import Trained, load_checkpoint
from plumbline.predictors.find_checkpoint import find_best
from plumbline.predictors.inference import answers_for
from plumbline.records import Float

HEAD = ("", "miss", "expected", "90 % radius holds", "its size", "90 % ellipsoid holds", "its volume")


def main() -> None:
    """Measure and print a Markdown table for each data set."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--data_dir", type=Path, nargs="+", required=True)
    given = parser.parse_args()
    members = sorted(given.run.glob("member-*"))
    models = {path.name: load_checkpoint(find_best(path)) for path in [*members, given.run]}
    for data_dir in given.data_dir:
        print(f"\n{data_dir}\n\n| {' | '.join(HEAD)} |\n{'|---' * len(HEAD)}|")
        for name, trained in models.items():
            print(f"| {name} | {' | '.join(row(trained, data_dir))} |", flush=True)


def row(trained: Trained, data_dir: Path) -> list[str]:
    """The cells of one model on one data set; those that it does not predict are empty."""
    store = open_data(data_dir)
    check_features(trained.data, store, data_dir)
    indices = choose_graphs(store, trained.data, "auto", data_dir).indices
    answers = answers_for(trained.model, store, indices)
    errors = errors_on(store, indices, {"": answers.com})[""]
    off, radius = answers.com - store.target[indices], store.bounding_radius[indices]
    calibration = trained.calibration
    cells = [percent(float(errors.error_rel.mean()))] + [""] * 5
    factor, reach = (each.get("0.9") for each in (calibration.error_factors, calibration.ellipsoid_factors))
    if answers.expected_error is not None:
        cells[1] = percent(float((answers.expected_error / radius).mean()))
        if factor is not None:
            stated = factor * answers.expected_error
            cells[2] = share(errors.error <= stated, errors.objects)
            cells[3] = percent(float((stated / radius).mean()))
    if answers.covariance is not None and reach is not None:
        cells[4] = share(mahalanobis(off, answers.covariance) <= reach, errors.objects)
        if (found := ellipsoids(off, answers, calibration)) is not None:
            cells[5] = percent(found.volume_ratio)
    return cells


def share(held: Float, objects: np.ndarray) -> str:
    """A share of graphs, with its interval."""
    low, high = bootstrap_mean(held.astype(float), objects)
    return f"{percent(float(held.mean()))} [{100 * low:.1f}, {100 * high:.1f}]"


if __name__ == "__main__":
    main()
