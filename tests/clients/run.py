"""Real clients against the real binary: xgboost trains and is the reference, boto3 calls, the demo is run.

Usage: run.py PATH-TO-ROOKERY. Prints one line a check and ends with `clients: N passed`; the first failure ends it.
"""
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import boto3
import numpy as np
import xgboost
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

ROOKERY = sys.argv[1]
passed = 0


def check(name, condition, detail=""):
    global passed
    if not condition:
        sys.exit(f"FAILED {name} {detail}")
    passed += 1
    print(f"ok {name}", flush=True)


class Server:
    def __init__(self, folder):
        self.db = str(Path(folder) / "clients.db")
        self.run("user", "create", "root-admin", "--admin", "--password-stdin", "--db", self.db, text="correct horse battery")
        self.admin = json.loads(self.run("key", "create", "root-admin", "--api", "--json", "--db", self.db))["ApiKey"]
        self.child = subprocess.Popen([ROOKERY, "serve", "--db", self.db, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.url = self.child.stdout.readline().split()[-1]

    def run(self, *arguments, text="", ok=True):
        env = {"PATH": "/usr/bin:/bin", "ROOKERY_URL": getattr(self, "url", ""), "ROOKERY_TOKEN": getattr(self, "admin", "")}
        done = subprocess.run([ROOKERY, *arguments], input=text, capture_output=True, text=True, env=env)
        if ok and done.returncode != 0:
            sys.exit(f"FAILED rookery {arguments}: {done.stderr}")
        return done.stdout if ok else done


def boto(server, credential):
    """An unmodified boto3 client with only the endpoint changed; the credential goes in as a bearer header."""
    client = boto3.client("sagemaker-runtime", region_name="us-east-1", endpoint_url=server.url, config=Config(signature_version=UNSIGNED, retries={"max_attempts": 1}))
    client.meta.events.register("before-send.sagemaker-runtime", lambda request, **_: request.headers.__setitem__("Authorization", f"Bearer {credential}"))
    return client


def train(seed, **params):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(1000, 12)).astype(np.float32)
    rows[rng.random(rows.shape) < 0.05] = np.nan
    filled = np.nan_to_num(rows)
    labels = filled[:, 0] * 2 + np.sin(filled[:, 1] * 3) + rng.normal(size=1000) * 0.1
    if params.get("objective", "").startswith("binary"):
        labels = (labels > 0).astype(np.float32)
    if params.get("objective", "").startswith("multi"):
        labels = np.digitize(labels, [-1, 1])
    booster = xgboost.train({"max_depth": 6, "nthread": 2, **params}, xgboost.DMatrix(rows, labels), 60)
    return booster, rows


def csv(rows):
    return "\n".join(",".join("" if np.isnan(v) else repr(float(v)) for v in row) for row in rows).encode()


def bits(values):
    return np.asarray(values, dtype=np.float32).view(np.uint32)


with tempfile.TemporaryDirectory() as folder:
    server = Server(folder)
    try:
        client = boto(server, server.admin)
        server.run("endpoint", "create", "trained", "--prefix", "trained/")
        for seed, params in enumerate(
            [
                {"objective": "reg:squarederror"},
                {"objective": "reg:squarederror", "booster": "dart", "rate_drop": 0.2},
                {"objective": "reg:squarederror", "booster": "gblinear"},
                {"objective": "binary:logistic"},
                {"objective": "multi:softprob", "num_class": 3},
            ]
        ):
            booster, rows = train(seed, **params)
            expected = booster.predict(xgboost.DMatrix(rows))
            for form in ("json", "ubj"):
                path = str(Path(folder) / f"model.{form}")
                booster.save_model(path)
                name = f"{params['objective'].replace(':', '-')}-{params.get('booster', 'gbtree')}.{form}"
                server.run("model", "put", f"trained/{name}", path)
                reply = client.invoke_endpoint(EndpointName="trained", TargetModel=name, ContentType="text/csv", Body=csv(rows))
                scores = [one["score"] for one in json.loads(reply["Body"].read())["predictions"]]
                if params["objective"].startswith("reg:"):
                    check(f"{name}: 1,000 answers equal xgboost {xgboost.__version__} to the bit", np.array_equal(bits(scores), bits(expected)))
                else:
                    close = np.allclose(np.asarray(scores, dtype=np.float32), expected, rtol=1e-6, atol=0)
                    check(f"{name}: 1,000 answers equal xgboost {xgboost.__version__} within 1e-6", close)
                check(f"{name}: the variant is told", reply["InvokedProductionVariant"] == "AllTraffic")

        server.run("user", "create", "ana", "--no-password", "--db", server.db)
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sagemaker:InvokeEndpoint", "Resource": "*", "Condition": {"StringLike": {"sagemaker:TargetModel": "reg-*"}}}]}
        (Path(folder) / "policy.json").write_text(json.dumps(policy))
        server.run("policy", "put", "own", str(Path(folder) / "policy.json"), "--user", "ana", "--db", server.db)
        key = json.loads(server.run("key", "create", "ana", "--api", "--json", "--db", server.db))["ApiKey"]
        ana = boto(server, key)
        row = csv(rows[:1])
        for _ in range(30):  # the running server notices another process's write within a second
            try:
                ana.invoke_endpoint(EndpointName="trained", TargetModel="reg-squarederror-gbtree.json", ContentType="text/csv", Body=row)
                break
            except ClientError:
                time.sleep(0.1)
        for name, arguments, code, status in [
            ("a model that is not theirs", {"TargetModel": "binary-logistic-gbtree.json"}, "AccessDeniedException", 403),
            ("a model that is not there", {"TargetModel": "reg-nothing.json"}, "ValidationError", 400),
            ("a row of the wrong width", {"TargetModel": "reg-squarederror-gbtree.json", "Body": b"1,2"}, "ValidationError", 400),
            ("a type that cannot be read", {"TargetModel": "reg-squarederror-gbtree.json", "ContentType": "image/png"}, "ValidationError", 415),
        ]:
            try:
                ana.invoke_endpoint(**{"EndpointName": "trained", "ContentType": "text/csv", "Body": row, **arguments})
                sys.exit(f"FAILED {name} was answered")
            except ClientError as error:
                found = (error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"])
                check(f"boto3 is told of {name}", found == (code, status), str(error))

        demo = subprocess.run([ROOKERY, "demo", "--once"], capture_output=True, text=True, timeout=60)
        check("the demo walks and ends", demo.returncode == 0, demo.stderr)
        check("the demo prints three curl lines", demo.stdout.count("  curl -s ") == 3, demo.stdout)
        check("the demo is denied another city", "denied: 403" in demo.stdout, demo.stdout)
    finally:
        server.child.terminate()
        server.child.wait()
print(f"clients: {passed} passed")
