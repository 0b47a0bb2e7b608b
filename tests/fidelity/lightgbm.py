"""LightGBM against a running server: every case is trained anew, uploaded, asked over HTTP and compared with the library.

Usage: lightgbm.py PATH-TO-ROOKERY [SEED]. Runs with whatever lightgbm the environment has. Raw answers (objectives that
change nothing) must be equal to the bit, transformed ones to 1e-9, contributions within 1e-5 of `pred_contrib` where the
library has them. Prints `fidelity lightgbm: N models equal`; ends with 1 on a difference or when too few were compared.
"""
import sys
import tempfile
from pathlib import Path

# This file is named as the library is, so its folder must not be looked in; the cases are those of the fixtures.
sys.path[0] = str(Path(__file__).resolve().parents[1] / "fixtures")
sys.dont_write_bytecode = True

import lightgbm
import make_lightgbm
import numpy as np

sys.path.append(str(Path(__file__).parent))
from served import Served  # noqa: E402

ROOKERY = sys.argv[1]
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else 11
# The least that must be compared with a library of today: models, and how many of them by their contributions.
MODELS_MIN, EXPLAINED_MIN = 50, 40
UNCHANGED = ("regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg", "none")


def differs(name, scores, expected):
    """What is different, or nothing."""
    if scores.shape != expected.shape:
        return f"{scores.shape} answers for {expected.shape}"
    objective = make_lightgbm.CASES[name][0]
    exact = objective["objective"] in UNCHANGED and not objective.get("reg_sqrt")
    off = scores != expected if exact else np.abs(scores - expected) > 1e-9 * np.abs(expected)
    if off.any():
        at = tuple(np.argwhere(off)[0])
        return f"{off.sum()} of {off.size} answers differ, such as {scores[at]!r} for {expected[at]!r}"
    return None


def contributions_differ(server, name, path, rows):
    """What is different between our contributions and the library's; nothing, and whether it has any."""
    try:
        shares = np.asarray(lightgbm.Booster(model_file=str(path)).predict(rows, pred_contrib=True))
    except lightgbm.basic.LightGBMError as error:
        print(f"without contributions in lightgbm {lightgbm.__version__} ({error}): {name}")
        return None, False
    reply = server.ask(name, [{"features": make_lightgbm.numbers(row)} for row in rows], explain=True)
    found = np.array([np.ravel(one["contributions"]) for one in reply["predictions"]])
    if found.shape != shares.shape:
        return f"{found.shape} contributions for {shares.shape}", True
    off = np.abs(found - shares) > 1e-5 * np.maximum(np.abs(shares), 1)
    if off.any():
        at = tuple(np.argwhere(off)[0])
        return f"{off.sum()} of {off.size} contributions differ, such as {found[at]!r} for {shares[at]!r}", True
    return None, True


def main():
    equal = failed = explained = 0
    with tempfile.TemporaryDirectory() as folder, Served(ROOKERY) as server:
        for name, (parameters, _, _, _) in make_lightgbm.CASES.items():
            if make_lightgbm.MAJOR < 4 and (name not in make_lightgbm.OLDER or (parameters.get("linear_tree") and make_lightgbm.MAJOR < 3)):
                continue
            booster, values, keep = make_lightgbm.train(name, seed=SEED, scale=5)
            path = Path(folder) / "model.txt"
            booster.save_model(str(path), num_iteration=keep)
            text = path.read_text(encoding="utf-8")
            rows = make_lightgbm.questions(text, values, SEED, count=200)
            expected = np.asarray(lightgbm.Booster(model_file=str(path)).predict(rows))
            finite = np.isfinite(expected).reshape(len(rows), -1).all(axis=1)
            rows, expected = rows[finite], expected[finite]
            server.put(name, path)
            reply = server.ask(name, [{"features": make_lightgbm.numbers(row)} for row in rows])
            what = differs(name, np.array([one["score"] for one in reply["predictions"]]), expected)
            if what is None:
                what, has = contributions_differ(server, name, path, rows[:40])
                explained += has
            print(f"FAILED {name}: {what}" if what else f"ok {name}: {len(rows)} rows", flush=True)
            failed, equal = failed + bool(what), equal + (not what)
    models, with_contributions = (MODELS_MIN, EXPLAINED_MIN) if make_lightgbm.MAJOR >= 4 else (1, 1)
    if failed or equal < models or explained < with_contributions:
        sys.exit(f"FAILED: {failed} models differ, {equal} are equal and {explained} explained; {models} and {with_contributions} at least must be")
    print(f"contributions of {explained} equal")
    print(f"fidelity lightgbm: {equal} models equal")


main()
