"""Fidelity: models of the running environment's XGBoost, through a running server, against XGBoost's own answers.

Usage: xgboost.py PATH-TO-ROOKERY. Trains models over every objective, booster and shape, saves each as JSON, UBJSON and
pickle, uploads them, sends rows as JSON and compares: objectives that answer margins to the bit, others to a millionth.
Contributions are compared with `pred_contribs` where the library has them. Ends with `fidelity xgboost: N models equal`;
the first difference ends it with its name, as do fewer models than there must be.
"""
import pickle
import sys
import tempfile
import warnings
from pathlib import Path

# This file has the name of the package it asks for.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import numpy as np
import xgboost

sys.path.append(str(Path(__file__).parent))
from served import Served  # noqa: E402

warnings.filterwarnings("ignore")
xgboost.set_config(verbosity=0)
ROOKERY = sys.argv[1]
VERSION = tuple(int(part) for part in xgboost.__version__.split(".")[:2])
COLUMNS = 7
# The least that must be compared with a library of today: models, and how many of them by their contributions.
MODELS_MIN, EXPLAINED_MIN = 60, 40
# What is compared to the bit: answers that no exp or log has touched.
EXACT = ("reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "reg:squaredlogerror", "reg:quantileerror", "rank:", "binary:logitraw", "binary:hinge", "multi:softmax")


def ask(server, model, rows, explain=False):
    value = lambda value: value if isinstance(value, str) else None if value is None or np.isnan(value) else float(value)
    instances = [{"features": [value(one) for one in row]} for row in rows]
    return [one["contributions" if explain else "score"] for one in server.ask(model, instances, explain=explain)["predictions"]]


def data(seed, rows=240, missing=0.08):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, COLUMNS)).astype(np.float32)
    values[:, 2] = rng.integers(0, 9, rows)
    values[:, 3] *= 1e4
    filled = values.copy()
    signal = np.sin(filled[:, 0] * 2) + 0.6 * np.tanh(filled[:, 1]) + 0.15 * filled[:, 2] + rng.normal(size=rows) * 0.2
    values[rng.random(values.shape) < missing] = np.nan
    return values, signal


def labels(objective, signal, rng):
    if objective.startswith("binary:") or objective == "reg:logistic":
        return (signal > np.median(signal)).astype(float)
    if objective.startswith("multi:"):
        return np.searchsorted(np.quantile(signal, [0.3, 0.7]), signal).astype(float)
    if objective in ("count:poisson", "reg:tweedie"):
        return np.floor(np.exp(signal - signal.min()) % 7)
    if objective in ("reg:gamma", "survival:aft", "reg:squaredlogerror"):
        return np.exp(signal / 2)
    if objective == "survival:cox":
        return np.exp(signal / 2) * np.where(rng.random(len(signal)) < 0.2, -1, 1)
    if objective.startswith("rank:"):
        return np.clip(np.round(signal), 0, 3)
    return signal


def train(objective, seed=1, rounds=12, stop=False, categorical=False, targets=1, **params):
    rng = np.random.default_rng(seed)
    rows, signal = data(seed)
    kinds = None
    if categorical:
        kinds = ["q"] * COLUMNS
        for column, count in ((2, 9), (5, 50)):
            rows[:, column] = rng.integers(0, count, len(rows))
            rows[rng.random(len(rows)) < 0.05, column] = np.nan
            signal = signal + rng.normal(size=count)[np.nan_to_num(rows[:, column]).astype(int)]
            kinds[column] = "c"
    if params.get("booster") == "gblinear":
        rows[:, 3] /= 1e4
    wanted = labels(objective, signal, rng)
    if targets > 1:
        wanted = np.stack([wanted * (target + 1) if objective.startswith("reg:s") else (wanted + target) % 2 for target in range(targets)], axis=1)
    matrix = xgboost.DMatrix(rows, feature_types=kinds, enable_categorical=categorical)
    if objective == "survival:aft":
        matrix.set_float_info("label_lower_bound", wanted)
        matrix.set_float_info("label_upper_bound", wanted * 1.5)
    else:
        matrix.set_label(wanted)
    if objective.startswith("rank:"):
        matrix.set_group([40] * 6)
    settings = {"objective": objective, "max_depth": 4, "nthread": 1, "seed": seed, **params}
    if objective.startswith("multi:"):
        settings["num_class"] = 3
    if settings.get("booster") == "gblinear":
        settings.pop("max_depth")
    more = {"evals": [(matrix, "train")], "early_stopping_rounds": 2, "verbose_eval": False} if stop else {}
    if stop:
        hold, held = data(seed + 100)
        watched = xgboost.DMatrix(hold, labels(objective, held, rng))
        more["evals"] = [(watched, "hold")]
    return xgboost.train(settings, matrix, rounds, **more), rows, kinds


def cases():
    objectives = """reg:squarederror reg:squaredlogerror reg:logistic reg:pseudohubererror reg:absoluteerror reg:gamma reg:tweedie count:poisson
        binary:logistic binary:logitraw binary:hinge multi:softprob multi:softmax rank:pairwise rank:ndcg survival:cox survival:aft""".split()
    for objective in objectives:
        yield objective, {}
        yield objective, {"booster": "dart", "rate_drop": 0.4, "seed": 2}
    for objective in ("reg:squarederror", "reg:logistic", "reg:gamma", "reg:tweedie", "count:poisson", "binary:logistic", "binary:logitraw", "multi:softprob", "multi:softmax"):
        yield objective, {"booster": "gblinear", "updater": "coord_descent"}
    for score in (0.01, 0.3, 0.97):
        yield "binary:logistic", {"base_score": score}
    for score in (-3.5, 0.0, 1e4):
        yield "reg:squarederror", {"base_score": score}
    yield "count:poisson", {"base_score": 2.5}
    yield "multi:softprob", {"base_score": 0.2}
    yield "reg:squarederror", {"booster": "gblinear", "updater": "coord_descent", "base_score": 1.25}
    for objective in ("reg:squarederror", "binary:logistic", "multi:softprob"):
        yield objective, {"stop": True, "rounds": 60, "eta": 0.9}
        yield objective, {"num_parallel_tree": 3, "subsample": 0.7, "rounds": 4}
        yield objective, {"stop": True, "rounds": 40, "eta": 0.9, "num_parallel_tree": 2, "subsample": 0.7}
        for max_cat_to_onehot in (1, 20):
            yield objective, {"categorical": True, "tree_method": "hist", "max_cat_to_onehot": max_cat_to_onehot}
        yield objective, {"tree_method": "exact", "max_depth": 9, "rounds": 3}
        yield objective, {"tree_method": "approx", "grow_policy": "depthwise"}
        yield objective, {"grow_policy": "lossguide", "max_leaves": 20, "tree_method": "hist"}
        yield objective, {"gamma": 2.0, "max_depth": 6, "tree_method": "exact"}
        yield objective, {"min_child_weight": 1e9}
    yield "reg:squarederror", {"targets": 3, "tree_method": "hist"}
    if VERSION >= (2, 0):
        yield "binary:logistic", {"targets": 3, "tree_method": "hist"}
        yield "reg:quantileerror", {"quantile_alpha": [0.1, 0.5, 0.9], "tree_method": "hist"}
        yield "reg:squarederror", {"targets": 3, "tree_method": "hist", "multi_strategy": "multi_output_tree"}
        yield "binary:logistic", {"targets": 2, "tree_method": "hist", "multi_strategy": "multi_output_tree"}


def frames():
    """Models of data frames with categories as text, and the frames: what xgboost answers them is asked for by text."""
    import pandas as pd

    # Before 3.4 the library itself mixes up the texts behind one that is not ASCII.
    words = ["Köln" if VERSION >= (3, 4) else "Koln", "New York, NY", "a", "", " b", "1", "NA", "\"q\""] + [f"w{at}" for at in range(40)]
    for seed, (objective, settings) in enumerate([
        ("reg:squarederror", {"max_cat_to_onehot": 1}),
        ("reg:squarederror", {"max_cat_to_onehot": 60}),
        ("binary:logistic", {"booster": "dart", "rate_drop": 0.4}),
        ("multi:softprob", {"num_class": 3}),
    ]):
        rng = np.random.default_rng(seed + 50)
        signal, columns = rng.normal(size=400) * 0.2, {}
        for name, kinds in (("city", words), ("size", ["S", "M", "L"])):
            codes = rng.integers(-1, len(kinds), 400)
            columns[name] = pd.Categorical.from_codes(codes, categories=rng.permutation(kinds))
            signal = signal + np.append(rng.normal(size=len(kinds)), 0.0)[codes]
        columns["number"] = np.where(rng.random(400) < 0.1, np.nan, rng.normal(size=400)).astype(np.float32)
        frame = pd.DataFrame(columns)[["city", "number", "size"]]
        wanted = labels(objective, signal + np.nan_to_num(columns["number"]), rng)
        matrix = xgboost.DMatrix(frame, wanted, enable_categorical=True)
        booster = xgboost.train({"objective": objective, "tree_method": "hist", "max_depth": 5, "nthread": 1, "seed": seed, **settings}, matrix, 12)
        # Another frame of the same texts has other codes, which the library puts right.
        for column in ("city", "size"):
            frame[column] = frame[column].cat.set_categories(rng.permutation(frame[column].cat.categories))
        rows = [[None if pd.isna(value) else value for value in row] for row in frame.itertuples(index=False)]
        yield objective, booster, rows, np.asarray(booster.predict(xgboost.DMatrix(frame, enable_categorical=True)), np.float32)


def by_text(server, folder):
    """Compares answers for texts with the library's for the frame they stand in."""
    compared = 0
    for number, (objective, booster, rows, expected) in enumerate(frames()):
        for form, path in forms(booster, folder):
            name = f"frame-{number}.{form}"
            server.put(name, path)
            found = np.asarray(ask(server, name, rows), np.float32).reshape(expected.shape)
            exact = objective.startswith(EXACT)
            if not (np.array_equal(found.view(np.uint32), expected.view(np.uint32)) if exact else np.allclose(found, expected, rtol=1e-6, atol=0)):
                at = np.argmax(np.abs(found - expected))
                sys.exit(f"FAILED {name} {objective} by text: {found.flat[at]!r} for {expected.flat[at]!r}")
            compared += 1
    return compared


def forms(booster, folder):
    for form in ("json", "ubj"):
        path = Path(folder) / f"model.{form}"
        booster.save_model(path)
        yield form, path
    path = Path(folder) / "xgboost-model"
    path.write_bytes(pickle.dumps(booster, 4))
    yield "pickle", path


def contributions(booster, rows, kinds, end):
    """The library's own, or why it has none."""
    matrix = xgboost.DMatrix(rows, feature_types=kinds, enable_categorical=bool(kinds))
    try:
        return booster.predict(matrix, pred_contribs=True, iteration_range=(0, end)), None
    except xgboost.core.XGBoostError as error:
        return None, str(error).strip().splitlines()[0].rsplit("] ", 1)[-1]


def main():
    equal, compared, explained, without = 0, 0, 0, {}
    with tempfile.TemporaryDirectory() as folder, Served(ROOKERY) as server:
        for number, (objective, settings) in enumerate(cases()):
            booster, rows, kinds = train(objective, **settings)
            end = booster.best_iteration + 1 if settings.get("stop") else 0
            if settings.get("booster") != "gblinear" and booster.num_boosted_rounds() == 0:
                sys.exit(f"FAILED {number}-{objective} {settings}: no tree was grown, so nothing is compared")
            if settings.get("booster") == "gblinear":
                expected = booster.predict(xgboost.DMatrix(rows))
            elif settings.get("booster") == "dart":
                # Its inplace_predict adds up in another order than its predict, so the last bits differ.
                expected = booster.predict(xgboost.DMatrix(rows), iteration_range=(0, end))
            elif kinds:
                expected = booster.predict(xgboost.DMatrix(rows, feature_types=kinds, enable_categorical=True), iteration_range=(0, end))
            else:
                expected = booster.inplace_predict(rows, iteration_range=(0, end), validate_features=False)
            expected = np.asarray(expected, np.float32)
            for form, path in forms(booster, folder):
                name = f"{number}-{objective.replace(':', '-')}.{form}"
                server.put(name, path)
                found = np.asarray(ask(server, name, rows), np.float32).reshape(expected.shape)
                exact = objective.startswith(EXACT)
                same = np.array_equal(found.view(np.uint32), expected.view(np.uint32)) if exact else np.allclose(found, expected, rtol=1e-6, atol=0)
                if not same:
                    at = np.argmax(np.abs(found - expected))
                    sys.exit(f"FAILED {name} {settings}: {found.flat[at]!r} for {expected.flat[at]!r}")
                compared += 1
            equal += 1
            name = f"{number}-{objective.replace(':', '-')}.json"
            shares, why = contributions(booster, rows[:40], kinds, end)
            if shares is None:
                # Of vector leaves the library has none.
                if settings.get("multi_strategy") != "multi_output_tree":
                    sys.exit(f"FAILED {name} {settings}: xgboost has no contributions: {why}")
                without.setdefault(why, []).append(name)
                continue
            found = np.asarray(ask(server, name, rows[:40], explain=True), np.float64).reshape(shares.shape)
            if not np.allclose(found, shares, rtol=1e-5, atol=1e-5):
                at = np.argmax(np.abs(found - shares))
                sys.exit(f"FAILED contributions of {name} {settings}: {found.flat[at]!r} for {shares.flat[at]!r}")
            explained += 1
        framed = by_text(server, folder) if VERSION >= (3, 1) else 0
    for why, names in without.items():
        print(f"without contributions in xgboost {xgboost.__version__} ({why}): {', '.join(names)}")
    if VERSION >= (2, 0) and (equal < MODELS_MIN or explained < EXPLAINED_MIN):
        sys.exit(f"FAILED: {equal} models were compared and {explained} explained; {MODELS_MIN} and {EXPLAINED_MIN} at least must be")
    if VERSION >= (3, 1):
        print(f"{framed} models of data frames answer texts as xgboost answers the frames")
    print(f"{compared} forms of them as JSON, UBJSON and pickle; contributions of {explained} equal")
    print(f"fidelity xgboost: {equal} models equal")


main()
