# From meshes to a prediction, in Python only: write meshes, make a data set, train, evaluate, predict.
#
# Run it as a script, `python examples/from_meshes_to_a_prediction.py`, or cell by cell in an editor that
# knows "# %%" (VS Code, Spyder, PyCharm, Jupyter with jupytext). It takes less than a minute on two quiet
# cores, prints what it does, and writes into the folder `example` of the current folder. When it runs
# again, the data set is found finished and the files of the first training move to `example/run/run-001`.

# %% Three closed meshes, in metres: an outline with corners counter-clockwise, extruded.
from pathlib import Path

import numpy as np

import plumbline

folder = Path("example")
outlines = {  # a fan of triangles from the first corner fills the outline
    "bracket": [(0.05, 0.05), (0.05, 0.20), (0, 0.20), (0, 0), (0.30, 0), (0.30, 0.05)],
    "wedge": [(0, 0), (0.30, 0), (0, 0.12)],
    "slab": [(0, 0), (0.25, 0), (0.25, 0.15), (0, 0.15)],
}
height = 0.06

(folder / "meshes").mkdir(parents=True, exist_ok=True)
for name, outline in outlines.items():
    n = len(outline)
    vertices = [(x, y, z) for z in (0.0, height) for x, y in outline]
    bottom = [(0, i + 1, i) for i in range(1, n - 1)]
    top = [(n, n + i, n + i + 1) for i in range(1, n - 1)]
    sides = [face for i in range(n) for j in [(i + 1) % n] for face in ((i, j, n + j), (i, n + j, n + i))]
    lines = ["OFF", f"{len(vertices)} {len(bottom + top + sides)} 0"]
    lines += [" ".join(map(str, vertex)) for vertex in vertices]
    lines += [" ".join(map(str, (3, *face))) for face in bottom + top + sides]
    (folder / "meshes" / f"{name}.off").write_text("\n".join(lines) + "\n")


# %% Whatever takes long reports what it does, to a function of yours. This one prints the sentences.
def show(event: plumbline.Event) -> None:
    if event.kind in ("message", "step"):
        print(event.text)


# %% A data set: the meshes and 200 built-in solids, each scanned four times from one to three sides.
made = plumbline.make_dataset(
    folder / "data",
    folder / "meshes",
    solids=200,
    scan=plumbline.ScanSettings(samples=4, views=plumbline.Range(1, 3), points=plumbline.Range(128)),
    workers=2,
    report=show,
)
print(f"{made.scans} scans of {made.objects} objects, {len(made.rejected)} meshes rejected")

# %% Train. The arguments are the flags of `plumbline train`; the others have the values of the recipe.
result = plumbline.train(
    recipe="best",
    data_dir=folder / "data",
    checkpoint_dir=folder / "run",
    hidden_dim=32,
    report=show,
)
print(f"{result.outcome}; the best model is {result.best_checkpoint}")

# %% Evaluate on the objects that the training kept back, next to guesses that need no training.
evaluation = plumbline.evaluate(folder / "run", out=folder / "run")
for method, errors in evaluation.table.errors.items():
    print(f"{method:15} misses by {errors.error_rel.mean():.1%} of the radius")

# %% Predict. In place of a scan of yours, two simulated views of the bracket, with the true answer.
bracket = plumbline.load_mesh(folder / "meshes" / "bracket.off", name="bracket")
scan = plumbline.scan_solid(
    bracket,
    plumbline.Caster(bracket.vertices, bracket.faces),
    plumbline.ScanSettings(views=plumbline.Range(2), points=plumbline.Range(512)),
    rng=np.random.default_rng(7),
)
points, truth = scan.points, scan.com  # [N, 3] and [3], both in metres and in the frame of the scan
assert truth is not None  # a simulated scan has it
predictor = plumbline.load_predictor(folder / "run")
prediction = predictor.predict(points, sensor=scan.sensor)

print(f"predicted {prediction.com.round(4)}, true {truth.round(4)}")
miss = float(np.linalg.norm(prediction.com - truth))
print(f"off by {miss:.4f} m; nine times in ten within {prediction.radius_90:.4f} m, says the model")

# %% The same through a file, as your scanner may write one, and with a guess that needs no training.
np.savetxt(folder / "scan.xyz", points)
cloud = plumbline.load_cloud(folder / "scan.xyz")
guess = plumbline.load_predictor("carve").predict(cloud, sensor=scan.sensor)
print(f"carve {guess.com.round(4)}, off by {float(np.linalg.norm(guess.com - truth)):.4f} m")
