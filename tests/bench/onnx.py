"""ONNX graphs inside one process against onnxruntime on one thread: load, one row, 1,000 rows.

Usage: onnx.py PATH-TO-EXAMPLE (`cargo build --release --example onnx`). Needs tests/fidelity/requirements-onnx.txt and
pandas. Both sides take turns, five times, and each figure is the middle of these; `x` is the middle of how many times as long
onnxruntime took in a turn. Both sides are handed arrays, so reading rows is not in it. onnxruntime is called from Python: its
figures hold that call and, for text, the conversion of every Python string, so they are an upper bound of what it takes from
C. Figures of 1,000 rows of numbers are the fair comparison.
"""
import sys

sys.path = [entry for entry in sys.path[1:] if entry]

import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pandas
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

ROWS = 1000
TURNS = 5


def columns():
    rng = np.random.default_rng(0)
    data = {f"n{i}": rng.normal(size=ROWS).astype(np.float32) for i in range(4)}
    data |= {f"t{i}": rng.choice([f"word {j}" for j in range(12)], ROWS) for i in range(3)}
    frame = pandas.DataFrame(data)
    names = list(frame.columns)
    steps = ColumnTransformer([("n", StandardScaler(), names[:4]), ("t", OneHotEncoder(handle_unknown="ignore"), names[4:])])
    model = make_pipeline(steps, LogisticRegression()).fit(frame, (frame.n0 > 0).astype(int))
    kinds = [(name, (FloatTensorType if name[0] == "n" else StringTensorType)([None, 1])) for name in names]
    return to_onnx(model, initial_types=kinds, options={id(model): {"zipmap": False}}), {name: frame[name].to_numpy(dtype=object if name[0] == "t" else np.float32)[:, None] for name in names}


def plain(model, features, classes, **options):
    x, y = make_classification(ROWS, features, n_informative=features // 2, n_classes=classes, random_state=0)
    x = x.astype(np.float32)
    model.fit(x, y)
    return to_onnx(model, x[:1], options={id(model): {"zipmap": False}}), {"X": x}


CASES = {
    "columns + logistic, text": columns,
    "SVC rbf, 20 columns": lambda: plain(SVC(), 20, 3),
    "forest, 100 trees": lambda: plain(RandomForestClassifier(100, random_state=0, n_jobs=2), 20, 4),
    "MLP 128-256-10": lambda: plain(MLPClassifier((256,), max_iter=20), 128, 10),
}


def median(work):
    times, begin = [], time.perf_counter()
    while len(times) < 10 or (time.perf_counter() - begin < 0.3 and len(times) < 20000):
        start = time.perf_counter_ns()
        work()
        times.append(time.perf_counter_ns() - start)
    return sorted(times)[len(times) // 2]


with tempfile.TemporaryDirectory() as folder:
    print(f"{'us':28}" + "".join(f"{what:>11}{'ort':>10}{'x':>7}" for what in ("load", "one row", "1,000 rows")))
    for name, make in CASES.items():
        model, feeds = make()
        (Path(folder) / "model.onnx").write_bytes(model.SerializeToString())
        blocks = [value.reshape(ROWS, -1) for value in feeds.values()]
        text = "\n".join(",".join(str(v) if isinstance(v, str) else repr(float(v)) for block in blocks for v in block[row]) for row in range(ROWS))
        (Path(folder) / "rows.csv").write_text(text)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        start = lambda: onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        session = start()
        few = {key: value[:1] for key, value in feeds.items()}
        turns = []
        for _ in range(TURNS):
            done = subprocess.run([sys.argv[1], f"{folder}/model.onnx", f"{folder}/rows.csv"], capture_output=True, text=True, check=True)
            ours = [int(value) for value in done.stdout.split()[:3]]
            turns.append(list(zip(ours, [median(start), median(lambda: session.run(None, few)), median(lambda: session.run(None, feeds))])))
        line = f"{name:28}"
        for pairs in zip(*turns):
            mine, theirs = (statistics.median(side) / 1000 for side in zip(*pairs))
            line += f"{mine:11.2f}{theirs:10.2f}{statistics.median(b / a for a, b in pairs):7.2f}"
        print(line, flush=True)
