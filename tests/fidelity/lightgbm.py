"""LightGBM against a running server: every case is trained anew, uploaded, asked over HTTP and compared with the library.

Usage: lightgbm.py PATH-TO-ROOKERY [SEED]. Runs with whatever lightgbm the environment has. Raw answers (objectives that
change nothing) must be equal to the bit, transformed ones to 1e-9, contributions within 1e-5 of `pred_contrib` where the
library has them. Prints `fidelity lightgbm: N models equal`; ends with 1 on a difference or when too few were compared.
"""
import json
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

# This file is named as the library is, so its folder must not be looked in; the cases are those of the fixtures.
sys.path[0] = str(Path(__file__).resolve().parents[1] / "fixtures")
sys.dont_write_bytecode = True

import lightgbm
import make_lightgbm
import numpy as np

ROOKERY = sys.argv[1]
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else 11
# The least that must be compared with a library of today: models, and how many of them by their contributions.
MODELS_MIN, EXPLAINED_MIN = 50, 40
UNCHANGED = ("regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg", "none")


class Server:
    def __init__(self, folder):
        self.db = str(Path(folder) / "fidelity.db")
        run = lambda *arguments, text="": subprocess.run([ROOKERY, *arguments, "--db", self.db], input=text, capture_output=True, text=True, check=True).stdout
        run("user", "create", "root-admin", "--admin", "--password-stdin", text="correct horse battery")
        self.key = json.loads(run("key", "create", "root-admin", "--api", "--json"))["ApiKey"]
        self.child = subprocess.Popen([ROOKERY, "serve", "--db", self.db, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.url = self.child.stdout.readline().split()[-1]

    def call(self, method, path, body, **headers):
        request = urllib.request.Request(self.url + path, data=body, method=method, headers={"Authorization": f"Bearer {self.key}", **headers})
        try:
            with urllib.request.urlopen(request) as reply:
                return reply.read()
        except urllib.error.HTTPError as error:
            sys.exit(f"FAILED {method} {path}: {error.code} {error.read().decode()}")


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
    body = json.dumps({"instances": [{"features": make_lightgbm.numbers(row)} for row in rows]}).encode()
    headers = {"Content-Type": "application/json", "X-Amzn-SageMaker-Target-Model": name}
    reply = json.loads(server.call("POST", "/endpoints/fidelity/invocations?explain=true", body, **headers))
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
    with tempfile.TemporaryDirectory() as folder:
        server = Server(folder)
        try:
            server.call("POST", "/api/v1/endpoints", json.dumps({"name": "fidelity", "stages": [{"prefix": "fidelity/"}]}).encode())
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
                server.call("PUT", f"/api/v1/models/fidelity/{name}", path.read_bytes())
                body = json.dumps({"instances": [{"features": make_lightgbm.numbers(row)} for row in rows]}).encode()
                headers = {"Content-Type": "application/json", "X-Amzn-SageMaker-Target-Model": name}
                reply = json.loads(server.call("POST", "/endpoints/fidelity/invocations", body, **headers))
                what = differs(name, np.array([one["score"] for one in reply["predictions"]]), expected)
                if what is None:
                    what, has = contributions_differ(server, name, path, rows[:40])
                    explained += has
                print(f"FAILED {name}: {what}" if what else f"ok {name}: {len(rows)} rows", flush=True)
                failed, equal = failed + bool(what), equal + (not what)
        finally:
            server.child.terminate()
            server.child.wait()
    models, with_contributions = (MODELS_MIN, EXPLAINED_MIN) if make_lightgbm.MAJOR >= 4 else (1, 1)
    if failed or equal < models or explained < with_contributions:
        sys.exit(f"FAILED: {failed} models differ, {equal} are equal and {explained} explained; {models} and {with_contributions} at least must be")
    print(f"contributions of {explained} equal")
    print(f"fidelity lightgbm: {equal} models equal")


main()
