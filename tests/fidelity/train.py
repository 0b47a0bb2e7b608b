"""What `rookery train` makes, served by the real binary, against scikit-learn and plain numpy.

Usage: train.py PATH-TO-ROOKERY. Needs numpy and scikit-learn. Every model is trained by the binary from a CSV file,
uploaded and asked through the server. Ends with `fidelity train: N models equal`; exit 1 at any difference.

Nearest neighbours: labels and neighbours equal to scikit-learn's brute force, distances within 1e-5; ties by the lower
index, against a stable sort. Linear learners: coefficients near scikit-learn's optimum, answers equal to x.w + b in
f32. Random cut forests: scores equal within 1e-6 to the published formula written out below, and outliers on top.
"""
import gzip
import io
import json
import struct
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from served import Served
from sklearn.linear_model import ElasticNet, HuberRegressor, LinearRegression, LogisticRegression, QuantileRegressor
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

ROOKERY = sys.argv[1]
F32 = np.float32
# The least that must be compared.
MODELS_MIN = 30
failures = []
models = 0


class Trained(Served):
    def train(self, name, kind, table, *arguments, header=None):
        """Trains and uploads; returns the artifact's members and the summary."""
        data, out = str(self.folder / f"{name}.csv"), str(self.folder / f"{name}.tar.gz")
        lines = ([",".join(header)] if header else []) + [",".join(repr(float(v)) for v in row) for row in table]
        Path(data).write_text("\n".join(lines) + "\n")
        summary = json.loads(self.run("train", kind, data, "-o", out, "--json", *arguments))
        again = str(self.folder / "again.tar.gz")
        self.run("train", kind, data, "-o", again, *arguments)
        expect(name, "the same bytes twice", Path(out).read_bytes() == Path(again).read_bytes())
        self.put(name, out)
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(Path(out).read_bytes()))) as archive:
            return {member.name: archive.extractfile(member).read() for member in archive}, summary

    def answers(self, name, rows, accept="application/json"):
        return self.ask(name, [[float(v) for v in row] for row in rows], accept=accept)


def expect(name, what, condition, detail=""):
    if not condition:
        failures.append(f"{name}: {what} {detail}")
        print(f"DIFFERS {name}: {what} {detail}", flush=True)


def done(name, note=""):
    global models
    models += 1
    print(f"compared {name} {note}", flush=True)


def safetensors(data):
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    body = data[8 + length :]
    kinds = {"F32": "<f4", "I32": "<i4", "I64": "<i8"}
    metadata = header.pop("__metadata__")
    return metadata, {
        name: np.frombuffer(body[slice(*entry["data_offsets"])], kinds[entry["dtype"]]).reshape(entry["shape"]) for name, entry in header.items()
    }


def neighbours(server):
    dice = np.random.default_rng(7)
    for metric, features, k in [("L2", 4, 1), ("L2", 13, 5), ("L2", 50, 10), ("COSINE", 9, 4), ("COSINE", 32, 7), ("INNER_PRODUCT", 9, 4), ("INNER_PRODUCT", 21, 5)]:
        points = dice.normal(size=(900, features)).astype(F32)
        rows = dice.normal(size=(60, features)).astype(F32)
        rows[:10] = points[:10]
        classes = dice.integers(-2, 4, size=900)
        values = dice.normal(size=900).astype(F32)
        measure = {"L2": "euclidean", "COSINE": "cosine", "INNER_PRODUCT": lambda a, b: -np.dot(a, b)}[metric]
        for kind, labels, sk in [("classifier", classes, KNeighborsClassifier), ("regressor", values, KNeighborsRegressor)]:
            name = f"knn-{metric}-{features}-{k}-{kind}"
            server.train(name, "knn", np.column_stack([labels, points]), "--k", str(k), "--metric", metric, "--type", kind)
            model = sk(n_neighbors=k, algorithm="brute", metric=measure).fit(points.astype(np.float64), labels)
            wide = rows.astype(np.float64)
            distances, indices = model.kneighbors(wide)
            answers = server.answers(name, rows, "application/json; verbose=true")["predictions"]
            found = np.array([one["predicted_label"] for one in answers])
            expected = model.predict(wide)
            if kind == "classifier":
                expect(name, "labels", np.array_equal(found, expected))
            else:
                expect(name, "means", np.allclose(found, expected, rtol=1e-6, atol=1e-7))
            expect(name, "distances", np.allclose([one["distances"] for one in answers], distances, rtol=1e-5, atol=1e-5 if metric != "L2" else 1e-6))
            expect(name, "the neighbours' labels", np.array_equal(np.array([one["labels"] for one in answers], F32), labels[indices].astype(F32)))
            plain = server.answers(name, rows)["predictions"]
            expect(name, "only labels when not asked for more", all(list(one) == ["predicted_label"] for one in plain))
            done(name)

    # Ties: whole numbers on a small grid, so that many points are equally far, exactly.
    points = dice.integers(0, 3, size=(400, 3)).astype(F32)
    labels = dice.integers(0, 5, size=400)
    rows = np.array([[a, b, c] for a in range(3) for b in range(3) for c in range(3)], F32)
    server.train("knn-ties", "knn", np.column_stack([labels, points]), "--k", "6")
    far = ((rows[:, None, :] - points[None]) ** 2).sum(axis=2)
    nearest = np.argsort(far, axis=1, kind="stable")[:, :6]
    answers = server.answers("knn-ties", rows, "application/json;verbose=true")["predictions"]
    expect("knn-ties", "lower index first", np.array_equal([one["labels"] for one in answers], labels[nearest]))
    votes = [np.bincount(row, minlength=5).argmax() for row in labels[nearest]]
    expect("knn-ties", "smallest label of equal votes", np.array_equal([one["predicted_label"] for one in answers], votes))
    done("knn-ties")


def linear_arrays(members):
    """Weights and bias out of the artifact, read the way MXNet's format says."""
    with zipfile.ZipFile(io.BytesIO(members["model_algo-1"])) as archive:
        assert archive.testzip() is None and all(one.compress_type == zipfile.ZIP_STORED for one in archive.infolist())
        data = archive.read("mx-mod-0000.params")
        parameters = json.loads(archive.read("additional-params.json"))
    magic, zero, count = struct.unpack_from("<QQQ", data)
    assert (magic, zero, count) == (0x112, 0, 2)
    at, arrays = 24, []
    for _ in range(count):
        mark, storage, dimensions = struct.unpack_from("<IiI", data, at)
        assert (mark, storage, dimensions) == (0xF993FAC9, 0, 2)
        shape = struct.unpack_from("<2q", data, at + 12)
        at += 12 + 16 + 12
        arrays.append(np.frombuffer(data, "<f4", shape[0] * shape[1], at).reshape(shape))
        at += arrays[-1].nbytes
    names = []
    (count,) = struct.unpack_from("<Q", data, at)
    at += 8
    for _ in range(count):
        (length,) = struct.unpack_from("<Q", data, at)
        names.append(data[at + 8 : at + 8 + length].decode())
        at += 8 + length
    assert at == len(data)
    named = dict(zip(names, arrays))
    return named["arg:fc0_weight"], named["arg:fc0_bias"][0], parameters


def raw(rows, weight, bias):
    """x.w + b in f32, column after column."""
    total = np.zeros((len(rows), weight.shape[1]), F32)
    for column in range(rows.shape[1]):
        total = total + rows[:, column : column + 1] * weight[column]
    return total + bias


def standard(values):
    return (values - values.mean(axis=0)) / values.std(axis=0)


def linear(server):
    dice = np.random.default_rng(11)
    scales = np.array([1, 1000, 1e-3, 5, 1, 300], F32)
    rows = (dice.normal(size=(1500, 6)) * scales + np.array([0, 40000, 0, -3, 100, 0])).astype(F32)
    wide = rows.astype(np.float64)
    truth = np.array([2, -0.01, 900, 0, 0.5, 0.001])
    noise = dice.standard_t(3, size=1500)
    labels = (wide @ truth + 7 + noise).astype(F32).astype(np.float64)
    deviations, spread = wide.std(axis=0), labels.std()

    def train(name, target, *arguments):
        members, summary = server.train(name, "linear-learner", np.column_stack([target, rows]), *arguments)
        weight, bias, parameters = linear_arrays(members)
        expect(name, "converged", summary["converged"], f"after {summary['passes']} passes")
        answers = server.answers(name, rows[:200])["predictions"]
        linear = raw(rows[:200], weight, bias)
        scores = np.array([np.atleast_1d(one["score"]) for one in answers], F32)
        if parameters["predictor_type"] == "regressor":
            expect(name, "answers equal x.w + b to the bit", np.array_equal(scores, linear))
        elif parameters["predictor_type"] == "binary_classifier":
            chance = 1 / (1 + np.exp(-linear.astype(np.float64)))
            expect(name, "answers equal the sigmoid of x.w + b", np.allclose(scores, chance, rtol=1e-5, atol=1e-7))
            expect(name, "labels by the threshold", [one["predicted_label"] for one in answers] == [int(s > 0.5) for s in scores[:, 0]])
        else:
            power = np.exp(linear.astype(np.float64) - linear.max(axis=1, keepdims=True))
            expect(name, "answers equal the softmax of x.w + b", np.allclose(scores, power / power.sum(axis=1, keepdims=True), rtol=1e-5, atol=1e-7))
            expect(name, "labels are the largest", [one["predicted_label"] for one in answers] == scores.argmax(axis=1).tolist())
        return weight.astype(np.float64), bias.astype(np.float64), summary

    def near(name, what, found, wanted, share):
        off = np.abs(found - wanted).max() / np.abs(wanted).max()
        expect(name, what, off <= share, f"off by {off:.2e}: {found} for {wanted}")
        return f"{off:.1e}"

    weight, bias, summary = train("ll-squared", labels)
    best = LinearRegression().fit(wide, labels)
    note = near("ll-squared", "coefficients", weight[:, 0] * deviations, best.coef_ * deviations, 1e-4)
    near("ll-squared", "intercept", bias, best.intercept_, 1e-3)
    done("ll-squared", f"coefficients off by {note}, {summary['passes']} passes")

    # Columns that nearly say the same.
    twins = rows.copy()
    twins[:, 5] = twins[:, 0] + F32(1e-3) * twins[:, 3]
    kept, rows[:] = rows.copy(), twins
    weight, bias, summary = train("ll-collinear", labels)
    best = LinearRegression().fit(rows.astype(np.float64), labels)
    near("ll-collinear", "predictions", rows @ weight[:, 0], rows @ best.coef_, 1e-4)
    done("ll-collinear", f"{summary['passes']} passes")
    rows[:] = kept

    for l1, l2 in [(0.1, 0.0), (0.02, 0.05), (0.0, 0.3)]:
        name = f"ll-elastic-{l1}-{l2}"
        weight, _, summary = train(name, labels, "--l1", str(l1), "--l2", str(l2))
        best = ElasticNet(alpha=l1 + l2, l1_ratio=l1 / (l1 + l2), tol=1e-12, max_iter=100_000).fit(standard(wide), standard(labels))
        found = weight[:, 0] * deviations / spread
        note = near(name, "coefficients", found, best.coef_, 1e-3)
        if l1:
            expect(name, "the same weights are 0", np.array_equal(found == 0, best.coef_ == 0), f"{found} {best.coef_}")
        done(name, f"coefficients off by {note}, {summary['passes']} passes")

    for name, arguments, quantile in [("ll-absolute", ["--loss", "absolute"], 0.5), ("ll-quantile-0.9", ["--loss", "quantile", "--quantile", "0.9"], 0.9), ("ll-quantile-0.25", ["--loss", "quantile", "--quantile", "0.25"], 0.25)]:
        weight, bias, summary = train(name, labels, *arguments)
        scaled = standard(wide)
        best = QuantileRegressor(quantile=quantile, alpha=0, solver="highs").fit(scaled, labels)
        note = near(name, "coefficients", weight[:, 0] * deviations, best.coef_, 1e-2)

        def pinball(scores):
            past = labels - scores
            return np.maximum(quantile * past, (quantile - 1) * past).mean()

        mine, least = pinball(wide @ weight[:, 0] + bias[0]), pinball(best.predict(scaled))
        expect(name, "the loss is the least", mine <= least * (1 + 1e-4), f"{mine} {least}")
        done(name, f"coefficients off by {note}, loss {mine / least - 1:+.1e}, {summary['passes']} passes")

    # scikit-learn fits the deviation too; with its own put into ours the minimum is the same.
    best = HuberRegressor(epsilon=1.35, alpha=0, tol=1e-10, max_iter=10_000).fit(standard(wide), labels)
    delta = 1.35 * best.scale_ / spread
    weight, _, summary = train("ll-huber", labels, "--loss", "huber", "--huber-delta", repr(float(delta)))
    note = near("ll-huber", "coefficients", weight[:, 0] * deviations, best.coef_, 1e-3)
    done("ll-huber", f"coefficients off by {note}, {summary['passes']} passes")

    chances = 1 / (1 + np.exp(-(standard(wide) @ np.array([2, -1, 0.5, 0, 1, -0.2]) + 0.4)))
    target = (dice.random(1500) < chances).astype(int)
    for l1, l2 in [(0.0, 0.0), (0.0, 0.01), (0.01, 0.0)]:
        name = f"ll-logistic-{l1}-{l2}"
        weight, bias, summary = train(name, target, "--type", "binary_classifier", "--l1", str(l1), "--l2", str(l2))
        if l1:
            best = LogisticRegression(l1_ratio=1, C=1 / (l1 * 1500), solver="saga", tol=1e-10, max_iter=100_000)
        else:
            best = LogisticRegression(C=1 / (l2 * 1500) if l2 else np.inf, tol=1e-10, max_iter=10_000)
        best.fit(standard(wide), target)
        note = near(name, "coefficients", weight[:, 0] * deviations, best.coef_[0], 1e-3)
        done(name, f"coefficients off by {note}, {summary['passes']} passes")

    scores = standard(wide) @ dice.normal(size=(6, 4)) + dice.gumbel(size=(1500, 4))
    target = scores.argmax(axis=1)
    weight, bias, summary = train("ll-softmax", target, "--type", "multiclass_classifier", "--l2", "0.01")
    best = LogisticRegression(C=1 / (0.01 * 1500), tol=1e-10, max_iter=10_000).fit(standard(wide), target)
    note = near("ll-softmax", "coefficients", weight.T * deviations, best.coef_, 1e-3)
    done("ll-softmax", f"coefficients off by {note}, {summary['passes']} passes")


def forest_score(arrays, row):
    """Guha et al. 2016, as random-cut-forest-by-aws scores by default: written out, no box kept."""
    points, total = arrays["points"], 0.0
    row = row.astype(np.float64)

    def leaves(number):
        if number < 0:
            return [~number]
        return leaves(arrays["left"][number]) + leaves(arrays["right"][number])

    for root in arrays["root"]:
        path, at = [], root
        while at >= 0:
            path.append(at)
            at = arrays["left"][at] if row[arrays["cut_dimension"][at]] <= arrays["cut_value"][at] else arrays["right"][at]
        mass, whole = float(arrays["leaf_mass"][~at]), float(sum(arrays["leaf_mass"][leaf] for leaf in leaves(root)))
        depth = len(path)
        if np.array_equal(points[arrays["leaf_point"][~at]].astype(np.float64), row):
            score = (1 - mass / (2 * whole)) / (depth + np.log2(mass + 1))
        else:
            score = 1 / (depth + 1)
            for height in range(depth - 1, -1, -1):
                below = points[[arrays["leaf_point"][leaf] for leaf in leaves(path[height])]].astype(np.float64)
                low, high = below.min(axis=0), below.max(axis=0)
                stretched = np.maximum(high, row) - np.minimum(low, row)
                chance = (stretched - (high - low)).sum() / stretched.sum()
                if chance <= 0:
                    break
                score = chance / (height + 1) + (1 - chance) * score
        total += score * np.log2(whole + 1)
    return total / len(arrays["root"])


def forests(server):
    sys.setrecursionlimit(100_000)
    dice = np.random.default_rng(13)
    for name, rows, features, trees, samples, doubled in [("rcf-2", 1000, 2, 20, 64, False), ("rcf-7", 400, 7, 15, 128, False), ("rcf-doubles", 300, 3, 12, 256, True), ("rcf-one-row", 1, 3, 5, 256, False)]:
        table = dice.normal(size=(rows, features)).astype(F32)
        if doubled:
            table = np.round(table)
        header = [f"column {at}" for at in range(features)]
        members, _ = server.train(name, "random-cut-forest", table, "--trees", str(trees), "--samples", str(samples), "--seed", "5", header=header)
        metadata, arrays = safetensors(members["model.safetensors"])
        expect(name, "the names", json.loads(metadata["feature_names"]) == header)
        expect(name, "the trees", len(arrays["root"]) == trees and arrays["leaf_mass"].sum() == trees * min(samples, rows))
        asked = np.concatenate([table[:10], dice.normal(size=(15, features)), dice.normal(size=(5, features)) * 20]).astype(F32)
        answer = server.answers(name, asked)
        expect(name, "the answer's words", list(answer) == ["scores"])
        scores = np.array([one["score"] for one in answer["scores"]])
        wanted = np.array([forest_score(arrays, row) for row in asked])
        expect(name, "scores", np.allclose(scores, wanted, rtol=1e-6, atol=0), f"{np.abs(scores / wanted - 1).max()}")
        done(name, f"off by {np.abs(scores / wanted - 1).max():.1e}")

    table = dice.normal(size=(2000, 4)).astype(F32)
    planted = np.array([[9, 0, 0, 0], [0, -9, 3, 0], [6, 6, 6, 6], [0, 0, 0, 12]], F32)
    server.train("rcf-outliers", "random-cut-forest", np.concatenate([table, planted]))
    scores = np.array([one["score"] for one in server.answers("rcf-outliers", np.concatenate([table, planted]))["scores"]])
    expect("rcf-outliers", "planted outliers score highest", scores[-4:].min() > scores[:-4].max(), f"{scores[-4:]} {scores[:-4].max()}")
    done("rcf-outliers", f"outliers {scores[-4:].min():.2f}, others at most {scores[:-4].max():.2f}")


with Trained(ROOKERY) as server:
    neighbours(server)
    linear(server)
    forests(server)
if failures:
    sys.exit(f"{len(failures)} differences")
if models < MODELS_MIN:
    sys.exit(f"FAILED: {models} models were compared; {MODELS_MIN} at least must be")
print(f"fidelity train: {models} models equal")
