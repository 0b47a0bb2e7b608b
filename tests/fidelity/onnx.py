"""ONNX models against onnxruntime: pipelines and small networks are built here, served by a real server and compared.

Usage: onnx.py PATH-TO-ROOKERY [NAME-PART]. Needs tests/requirements.txt. Prints a line for each model that differs and
ends with `fidelity onnx: N models equal`; the exit code is 1 when one differed, could not be built for another reason
than the one written below, or when fewer were compared than there must be.

Labels must be equal and numbers within 1e-5 relative. Two weaker measures are told by name, never silently: numbers near
zero may be 1e-6 apart, and those of some sums 1e-5 of their column's largest. There terms a hundred times the sum cancel,
and onnxruntime itself is 5e-5 to 7e-2 relative away from the sum worked out in double precision.

A row alone must be answered to the bit as among the others, but by graphs that look from row to row.
"""
import sys

# This file is called like the package it needs: its folder must not come first.
sys.path = [entry for entry in sys.path[1:] if entry]

import json
import locale
import os
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnxruntime

warnings.filterwarnings("ignore")
# Text is brought to one case by the tables of a locale that small systems lack; those of C.UTF-8 are the same.
try:
    locale.setlocale(locale.LC_CTYPE, "en_US.UTF-8")
except locale.Error:
    LOCALES = tempfile.TemporaryDirectory()
    os.symlink("/usr/lib/locale/C.utf8", os.path.join(LOCALES.name, "en_US.UTF-8"))
    os.environ["LOCPATH"] = LOCALES.name
sys.path.append(str(Path(__file__).parent))
import onnx_models  # noqa: E402
import onnx_networks  # noqa: E402
from served import Served  # noqa: E402

ROOKERY = sys.argv[1]
ONLY = sys.argv[2] if len(sys.argv) > 2 else ""
RELATIVE, ABSOLUTE = 1e-5, 1e-6
CANCELLING = {"svr", "svr-poly", "one-class-svm", "one-class-svm-linear"}
# Graphs that look from row to row: what is there once, and texts that are filled up to the one of most words.
ROW_TO_ROW = ("hand-unique", "tokens-")
# What is not compared, each with a part of the reason that is given and of what the README says of it. Converted, but
# refused at upload:
ROWS_FIRST = "its first dimension must be the rows"
RECURRENT = "recurrent layers with peepholes or with functions other than `Sigmoid`, `Tanh` and `Relu`"
NOT_SERVED = {
    "radius-neighbors": ("index -1 is negative", "`RadiusNeighborsClassifier`, whose graph picks a row that is not there"),
    "one-vs-one-words": ("output `label` is declared as string, and the graph makes int64", "`OneVsOneClassifier` of labels that are text, whose graph answers places"),
    "bagging-svc": (ROWS_FIRST, "`BaggingClassifier` of `SVC`, whose graph answers a row with several labels"),
    "forest-of-two-targets": (ROWS_FIRST, "forests that tell classes of several targets, whose probabilities lie target by target"),
    "refused-attention": ("`Attention`: it is not served", "`Attention`"),
    "refused-bitwise": ("`BitwiseAnd`: it is not served", "`BitwiseAnd`"),
    "refused-transposed-convolution": ("`ConvTranspose`: it is not served", "3-D convolutions, transposed ones"),
    "refused-resize": ("`Resize`: it is not served", "`Resize`"),
    "refused-half": ("asks for float16", "`float16` and `bfloat16`, also by `Cast`"),
    "refused-brain": ("asks for bfloat16", "`float16` and `bfloat16`, also by `Cast`"),
    "refused-unsigned-long": ("asks for uint64", "`uint32` and `uint64`"),
    "refused-quantised": ("`QuantizeLinear`: it is not served", "quantised graphs (`QuantizeLinear`, `DynamicQuantizeLinear`)"),
    "refused-quantised-on-the-way": ("`DynamicQuantizeLinear`: it is not served", "quantised graphs (`QuantizeLinear`, `DynamicQuantizeLinear`)"),
    "refused-fused-product": ("`FusedMatMul`: it is not served", "`FusedMatMul` and `SkipLayerNormalization` of `com.microsoft`"),
    "refused-skip-normalization": ("`SkipLayerNormalization`: it is not served", "`FusedMatMul` and `SkipLayerNormalization` of `com.microsoft`"),
    "refused-peepholes": ("peepholes are not served", RECURRENT),
    "refused-affine": ("asks for `Affine`", RECURRENT),
}
# Refused by the converter:
NOT_BUILT = {"hist-gradient-boosting": ("Unable to create node 'TreeEnsembleClassifier'", "`HistGradientBoosting`, which skl2onnx 1.20 cannot convert")}
README = " ".join((Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8").split())
# The least that must be compared.
ESTIMATORS_MIN, NETWORKS_MIN = 300, 10
weaker = {"near zero": set(), "of the column's largest": set()}
current = ""


def columns(feeds):
    """Each input as a list of columns, rows flattened in row-major order."""
    return [np.asarray(value).reshape(len(value), -1) for value in feeds.values()]


def cell(value, quoted):
    if isinstance(value, str):
        # As Python's csv writes it, or all of it in quotes.
        bare = not quoted and value and not set(value) & set(',"\r\n')
        return value if bare else '"' + value.replace('"', '""') + '"'
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (float, np.floating)) and np.isnan(value):
        return ""
    return repr(value.item() if hasattr(value, "item") else value)


def plain(value):
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and np.isnan(value) else value


def as_csv(feeds, quoted=True):
    blocks = columns(feeds)
    return "\n".join(",".join(cell(v, quoted) for block in blocks for v in block[row]) for row in range(len(blocks[0]))).encode()


def texts(feeds):
    return any(block.dtype.kind in "OU" for block in columns(feeds))


def known(list, name, reason):
    """Whether `name` is in the list for this reason, and the README says so."""
    part, told = list.get(name, (None, ""))
    return part is not None and part in reason and told in README


def as_json(feeds):
    blocks = columns(feeds)
    return json.dumps({"instances": [[plain(v) for block in blocks for v in block[row]] for row in range(len(blocks[0]))]}).encode()


def expected(session, feeds):
    """What onnxruntime answers: labels, scores and the other outputs, sorted as the server sorts them."""
    results = session.run(None, feeds)
    rows = len(next(iter(feeds.values())))
    found = []
    for output, result in zip(session.get_outputs(), results):
        if isinstance(result, list) and result and isinstance(result[0], dict):
            result = np.array([list(row.values()) for row in result])
        elif isinstance(result, list):
            result = np.concatenate(result, axis=1)
        result = np.asarray(result)
        # What is the same for all rows is no answer to one, and left out.
        if result.ndim and len(result) == rows:
            found.append((output.name, result))
    return sorted_out(found, rows)


def sorted_out(found, rows):
    label = next((i for i, (_, v) in enumerate(found) if v.dtype.kind in "iOUb" and v.size == rows), None)
    score = next((i for i, (_, v) in enumerate(found) if v.dtype.kind == "f"), None)
    if score is None:
        label, score = None, 0
    extras = {name: value for i, (name, value) in enumerate(found) if i not in (label, score)}
    return (None if label is None else found[label][1].reshape(rows)), found[score][1].reshape(rows, -1), extras


def same(found, wanted):
    wanted = np.asarray(wanted)
    if wanted.dtype.kind in "OU":
        return [str(v) for v in np.ravel(found)] == [str(v) for v in wanted.ravel()]
    wanted = wanted.astype(np.float64)
    found = np.asarray(found, dtype=np.float64).reshape(wanted.shape)
    if np.allclose(found, wanted, rtol=RELATIVE, atol=0):
        return True
    if np.allclose(found, wanted, rtol=RELATIVE, atol=ABSOLUTE):
        weaker["near zero"].add(current)
        return True
    if current in CANCELLING and np.allclose(found, wanted, rtol=0, atol=RELATIVE * np.abs(wanted).max()):
        weaker["of the column's largest"].add(current)
        return True
    return False


def differs(predictions, labels, scores, extras):
    found = np.array([np.ravel(one["score"]) for one in predictions])
    if found.shape != scores.shape:
        return f"scores of shape {found.shape} for {scores.shape}"
    if labels is not None:
        mine = [one["predicted_label"] for one in predictions]
        if [str(v) for v in mine] != [str(int(v) if labels.dtype.kind == "b" else v) for v in labels]:
            row = next(i for i in range(len(mine)) if str(mine[i]) != str(labels[i]))
            return f"label {mine[row]!r} for {labels[row]!r} in row {row}, scores {found[row]} for {scores[row]}"
    if not same(found, scores):
        row = next(i for i in range(len(found)) if not same(found[i], scores[i]))
        return f"row {row}: {found[row][:6]} for {scores[row][:6]}"
    for name, wanted in extras.items():
        if not same([one[name] for one in predictions], wanted):
            return f"output {name}: {predictions[0][name]} for {wanted[0]}"
    return None


equal, failed, refused = {"estimators": 0, "networks": 0}, 0, []
networks = {name for name, _ in onnx_networks.cases()}
with tempfile.TemporaryDirectory() as folder, Served(ROOKERY) as server:
    for name, make in onnx_models.cases():
        if ONLY not in name:
            continue
        current = name
        try:
            model, feeds, *library = make()
        except Exception as error:  # noqa: BLE001 - a converter's fault, named at the end
            refused.append(f"{name}: {type(error).__name__}: {str(error)[:120]!r}")
            if not known(NOT_BUILT, name, str(error)):
                failed += 1
                print(f"NOT BUILT {name}: {error}", flush=True)
            continue
        if name in NOT_BUILT:
            failed += 1
            print(f"BUILT {name}: take it out of NOT_BUILT and the README", flush=True)
        try:
            path = Path(folder) / f"{name}.onnx"
            path.write_bytes(model)
            if name in NOT_SERVED:
                try:
                    server.put(name, path)
                    raise ValueError("is served now; take it out of NOT_SERVED and the README")
                except RuntimeError as error:
                    if not known(NOT_SERVED, name, str(error)):
                        raise
                    print(f"not served {name}: {error}", flush=True)
                continue
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4
            # Where onnxruntime lacks an operator, what the library itself answers is wanted.
            answer = (lambda feeds: sorted_out(library[0](feeds), len(next(iter(feeds.values()))))) if library else None
            try:
                session = None if answer else onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
                answer = answer or (lambda feeds, session=session: expected(session, feeds))
                wanted = answer(feeds)
            except Exception as error:  # noqa: BLE001
                refused.append(f"{name}: onnxruntime: {str(error)[:160]!r}")
                failed += 1
                print(f"NOT RUN {name}: onnxruntime: {error}", flush=True)
                continue
            server.put(name, path)
            few = {key: value[:1] for key, value in feeds.items()} if name not in CANCELLING else feeds
            problem = differs(server.ask(name, as_csv(feeds), "text/csv")["predictions"], *wanted)
            if texts(feeds):
                problem = problem or differs(server.ask(name, as_csv(feeds, quoted=False), "text/csv")["predictions"], *wanted)
            problem = problem or differs(server.ask(name, as_json(feeds))["predictions"], *wanted)
            problem = problem or differs(server.ask(name, as_json(few))["predictions"], *answer(few))
            alone = {key: value[:1] for key, value in feeds.items()}
            if not problem and not name.startswith(ROW_TO_ROW) and server.ask(name, as_json(alone))["predictions"] != server.ask(name, as_json(feeds))["predictions"][:1]:
                problem = "a row alone is answered otherwise than among others"
        except Exception as error:  # noqa: BLE001
            problem = str(error)
        if problem:
            failed += 1
            print(f"DIFFERS {name}: {problem}", flush=True)
        else:
            equal["networks" if name in networks else "estimators"] += 1
for line in refused:
    print(f"not built or run {line}")
if not ONLY and (equal["estimators"] < ESTIMATORS_MIN or equal["networks"] < NETWORKS_MIN):
    failed += 1
    print(f"TOO FEW: {equal['estimators']} estimators and {equal['networks']} networks; {ESTIMATORS_MIN} and {NETWORKS_MIN} at least must be compared")
for measure, names in weaker.items():
    if names:
        print(f"{len(names)} equal only by the weaker measure {measure}: {', '.join(sorted(names))}")
print(f"fidelity onnx: {sum(equal.values())} models equal")
sys.exit(1 if failed else 0)
