"""Measure what uniform density costs on built-in solids of several parts, and how much of it can be known.

    python -m benchmarks.density [--solids 2000] [--seed 0] [--json FILE]

Three answers are compared with the true centre of mass, each with the exact shape, so that nothing else is
wrong:

uniform: the exact centre of mass for uniform density.
family:  that, moved as the other members of its family are, in the family's frame: what someone knows who has
         learnt that heads are heavy, but does not look at this head.
parts:   with the exact shapes of the parts, the point nearest to all that the materials allow: the best that
         anyone can know who sees everything but the materials. What it misses cannot be learnt from shapes.

The last two are geometric medians, which have the smallest mean miss.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from plumbline.geometry.solids import draw_solid, make_solid
from plumbline.geometry.solids.parts import divide, draw_bodies
from plumbline.geometry.surfaces import mass_properties
from plumbline.records import Float

DRAWS = 64
"""Times that materials are drawn to find what they allow."""
ANSWERS = ("uniform", "family", "parts")


def displacements(num: int, seed: int) -> dict[str, Float]:
    """Draw ``num`` solids of several parts.

    Returns:
        For each family ``[solids, 2, 3]``: how far the true centre of mass, and the best guess from the
        parts, are from the uniform one, in radii.
    """
    rng = np.random.default_rng(seed)
    found, index = defaultdict(list), 0
    while sum(map(len, found.values())) < num:
        family, drawn = draw_solid(seed, index)
        pieces = divide(drawn) if drawn.parts else []
        if len(pieces) > 1:
            solid, true = make_solid(seed, index), make_solid(seed, index, "parts").com
            allowed = np.array([mass_properties(draw_bodies(pieces, rng))[1] for _ in range(DRAWS)])
            guess = median_point(allowed)
            found[family].append((np.array([true, guess]) - solid.com) / solid.bounding_radius)
        index += 1
    print(f"{num:,} of {index:,} built-in solids have several parts\n")
    return {family: np.array(rows) for family, rows in sorted(found.items())}


def median_point(points: Float) -> Float:
    """The ``[3]`` point with the smallest mean distance to ``points [P, 3]`` (Weiszfeld's iteration)."""
    centre: Float = points.mean(axis=0)
    for _ in range(100):
        weights = 1 / np.maximum(np.linalg.norm(points - centre, axis=1), 1e-9)
        centre = weights @ points / weights.sum()
    return centre


def misses(rows: Float) -> dict[str, Float]:
    """How far each answer is from the truth, ``[solids]``, for the displacements of one family."""
    true, guess = rows[:, 0], rows[:, 1]
    others = np.array([median_point(np.delete(true, i, axis=0)) for i in range(len(true))])
    answers = {"uniform": np.zeros_like(true), "family": others, "parts": guess}
    return {name: np.linalg.norm(true - answers[name], axis=1) for name in ANSWERS}


def main() -> None:
    """Measure, print a table in Markdown, and write the figures if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--solids", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    families = {family: misses(rows) for family, rows in displacements(args.solids, args.seed).items()}
    everything = {name: np.concatenate([each[name] for each in families.values()]) for name in ANSWERS}
    by_cost = sorted(families.items(), key=lambda item: -item[1]["uniform"].mean())
    print("| | solids | uniform: mean / median / 90 % | family | parts |\n|---|---|---|---|---|")
    for family, each in [("**all**", everything), *by_cost]:
        cells = [
            " / ".join(
                f"{100 * value:.1f}" for value in (miss.mean(), np.median(miss), np.quantile(miss, 0.9))
            )
            for miss in each.values()
        ]
        print(f"| {family} | {len(each['uniform'])} | " + " | ".join(cells) + " |")
    if args.json:
        args.json.write_text(
            json.dumps(
                {family: {k: v.tolist() for k, v in each.items()} for family, each in families.items()}
            )
        )


if __name__ == "__main__":
    main()
