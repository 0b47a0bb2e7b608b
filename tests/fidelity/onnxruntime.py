"""Graphs that Rookery hands over to onnxruntime against onnxruntime: served by a real server with the library of the wheel.

Usage: onnxruntime.py PATH-TO-ROOKERY [NAME-PART]. Needs tests/requirements.txt and a Rookery built with
`--features onnxruntime`. Prints a line for each model that differs and ends with `fidelity onnxruntime: N models equal`;
the exit code is 1 when one differed.

It is the same library on both sides, so numbers must be equal to 1e-6 relative: what is tried is everything around it.
"""
import sys

# This file is called like the package it needs: its folder must not come first.
sys.path = [entry for entry in sys.path[1:] if entry]

import json
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

sys.path.append(str(Path(__file__).parent))
from onnx_networks import Net, rows, weight  # noqa: E402
from served import Served  # noqa: E402

ROOKERY = sys.argv[1]
ONLY = sys.argv[2] if len(sys.argv) > 2 else ""
LIBRARY = next(path for path in sorted(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so*")))
RNG = np.random.default_rng(11)
MS = "com.microsoft"
FLOAT, INT64, TEXT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING, TensorProto.BOOL


def model(net, outputs, inputs=None, functions=()):
    """The nodes of a net as a file with other inputs and several outputs."""
    infos = [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in outputs]
    inputs = net.inputs if inputs is None else [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs]
    graph = helper.make_graph(net.nodes, "net", inputs, infos, net.weights)
    sets = [helper.make_opsetid(domain, version) for domain, version in (("", net.opset), (MS, 1), ("ai.onnx.ml", 3), ("own", 1))]
    return helper.make_model(graph, opset_imports=sets, ir_version=9, functions=functions).SerializeToString()


def plain(net, output, rank=2):
    return model(net, [(output, FLOAT, ["N"] + [None] * (rank - 1))])


def gelu(net, x, width):
    """By an operator that Rookery does not have."""
    return net.op("BiasGelu", x, weight(width), domain=MS)


def bias_gelu():
    net = Net(32)
    x = gelu(net, net.op("MatMul", "X", weight(32, 64)), 64)
    return plain(net, net.op("MatMul", x, weight(64, 3))), rows(32)


def four_bits():
    net = Net(32)
    packed, scales = RNG.integers(0, 256, (8, 1, 16), dtype=np.uint8), np.abs(weight(8)) + np.float32(0.1)
    x = net.op("MatMulNBits", "X", packed, scales, domain=MS, K=32, N=8, bits=4, block_size=32)
    return plain(net, x), rows(32)


def grid_sample():
    net = Net(2, 6, 6)
    grid = net.op("Tile", RNG.uniform(-1, 1, (1, 4, 4, 2)).astype(np.float32), net.op("Concat", net.op("Slice", net.op("Shape", "X"), np.array([0]), np.array([1])), np.array([1, 1, 1]), axis=0))
    return plain(net, net.op("GridSample", "X", grid, mode="bilinear", padding_mode="border"), 4), rows(2, 6, 6)


def column_to_image():
    net = Net(8, 9, opset=18)
    return plain(net, net.op("Col2Im", "X", np.array([4, 4]), np.array([2, 2])), 4), rows(8, 9)


def half():
    net = Net(16)
    x = net.op("MatMul", net.op("Cast", "X", to=TensorProto.FLOAT16), weight(16, 4).astype(np.float16))
    return plain(net, net.op("Cast", x, to=FLOAT)), rows(16)


# Not sorted, as maps by label are.
LABELS = ["middle", "high", "low"]


def words(zipmap):
    """Text and whole numbers in, text labels out, scores as they are or by label."""
    net = Net(1)
    city = net.op("OneHotEncoder", "city", domain="ai.onnx.ml", cats_strings=["Rome", "Oslo", "Zürich"], zeros=1)
    city = net.op("Reshape", city, np.array([-1, 3]))
    age = net.op("Cast", "age", to=FLOAT)
    x = gelu(net, net.op("Concat", city, age, axis=1), 5)
    label, scores = net.op(
        "LinearClassifier", x, outputs=2, domain="ai.onnx.ml", coefficients=weight(3, 5).ravel().tolist(), intercepts=[0.1, 0.2, 0.3],
        classlabels_strings=LABELS, post_transform="SOFTMAX")
    if zipmap:
        scores = net.op("ZipMap", scores, domain="ai.onnx.ml", classlabels_strings=LABELS)
    file = model(net, [(label, TEXT, ["N"]), (scores, FLOAT, ["N", 3])], [("city", TEXT, ["N", 1]), ("age", INT64, ["N", 2])])
    if zipmap:
        import onnx

        file = onnx.load_from_string(file)
        kind = helper.make_sequence_type_proto(helper.make_map_type_proto(TEXT, helper.make_tensor_type_proto(FLOAT, [])))
        file.graph.output[1].CopyFrom(helper.make_value_info(scores, kind))
        file = file.SerializeToString()
    cities = np.array([["Rome"], ["Oslo"], ["Zürich"], [""], ["nowhere"]] * 3, dtype=object)
    return file, {"city": cities, "age": RNG.integers(-3, 90, (15, 2))}


def several():
    """A label, scores, and outputs of other types beside them."""
    net = Net(6)
    x = gelu(net, net.op("MatMul", "X", weight(6, 4)), 4)
    label = net.op("ArgMax", x, axis=1, keepdims=0)
    above = net.op("Greater", x, np.float32(0.1))
    small = net.op("Cast", net.op("Mul", x, np.float32(50)), to=TensorProto.UINT8)
    wide = net.op("Cast", x, to=TensorProto.DOUBLE)
    outputs = [(label, INT64, ["N"]), (x, FLOAT, ["N", 4]), (above, BOOL, ["N", 4]), (small, TensorProto.UINT8, ["N", 4]), (wide, TensorProto.DOUBLE, ["N", 4])]
    return model(net, outputs), rows(6)


def function():
    """A function of the file's own, called twice."""
    body = [helper.make_node("BiasGelu", ["x", "b"], ["m"], domain=MS), helper.make_node("Add", ["m", "x"], ["y"])]
    own = helper.make_function("own", "Step", ["x", "b"], ["y"], body, [helper.make_opsetid("", 17), helper.make_opsetid(MS, 1)])
    net = Net(5)
    return model(net, [(net.op("Step", net.op("Step", "X", weight(5), domain="own"), weight(5), domain="own"), FLOAT, ["N", 5])], functions=[own]), rows(5)


def one_row():
    """Made for one row: rows are worked on one by one."""
    net = Net(5)
    x = net.op("Reshape", gelu(net, net.op("MatMul", "X", weight(5, 6)), 6), np.array([1, 6]))
    return model(net, [(x, FLOAT, [1, 6])], [("X", FLOAT, [1, 5])]), rows(5)


def doubles():
    """Two inputs, one of doubles and one of truths."""
    net = Net(1)
    x = net.op("Where", "on", net.op("Cast", "d", to=FLOAT), np.float32(-1))
    return model(net, [(gelu(net, x, 3), FLOAT, ["N", 3])], [("d", TensorProto.DOUBLE, ["N", 3]), ("on", BOOL, ["N", 1])]), {
        "d": RNG.normal(size=(9, 3)),
        "on": RNG.integers(0, 2, (9, 1)).astype(bool),
    }


CASES = {
    "bias-gelu": bias_gelu,
    "four-bits": four_bits,
    "grid-sample": grid_sample,
    "column-to-image": column_to_image,
    "half": half,
    "words": lambda: words(False),
    "words-zipmap": lambda: words(True),
    "several": several,
    "function": function,
    "one-row": one_row,
    "doubles": doubles,
}


def cell(value):
    value = value.item() if hasattr(value, "item") else value
    return '"' + value + '"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else repr(value)


def bodies(feeds):
    """The rows as CSV and as JSON: inputs one after the other, each flattened in row-major order."""
    blocks = [np.asarray(value).reshape(len(value), -1) for value in feeds.values()]
    lists = [[value for block in blocks for value in block[row]] for row in range(len(blocks[0]))]
    yield "\n".join(",".join(map(cell, row)) for row in lists).encode(), "text/csv"
    yield json.dumps({"instances": [[v.item() if hasattr(v, "item") else v for v in row] for row in lists]}).encode(), "application/json"


def expected(session, feeds, fixed):
    """What onnxruntime answers, as lists of rows by output."""
    count = len(next(iter(feeds.values())))
    runs = [{name: value[row : row + 1] for name, value in feeds.items()} for row in range(count)] if fixed else [feeds]
    results = [[np.array([[row[label] for label in LABELS] for row in one]) if isinstance(one, list) else one for one in session.run(None, run)] for run in runs]
    together = [np.concatenate([result[at] for result in results]) for at in range(len(results[0]))]
    return {output.name: one.reshape(count, -1) for output, one in zip(session.get_outputs(), together)}


def differs(predictions, wanted):
    label = next((name for name, one in wanted.items() if one.dtype.kind in "iuOU" and one.shape[1] == 1), None)
    score = next(name for name, one in wanted.items() if one.dtype.kind == "f")
    for name, one in wanted.items():
        key = "predicted_label" if name == label else "score" if name == score else name
        found = np.array([np.ravel(row[key]) for row in predictions])
        if found.shape != one.shape:
            return f"{key} of shape {found.shape} for {one.shape}"
        equal = np.allclose(found, one, rtol=1e-6, atol=1e-7) if one.dtype.kind == "f" else (found == one).all()
        if not equal:
            return f"{key}: {found[0][:6]} for {one[0][:6]}"
    return None


equal = failed = 0
with tempfile.TemporaryDirectory() as folder, Served(ROOKERY, "--onnxruntime", str(LIBRARY)) as server:
    for name, make in CASES.items():
        if ONLY not in name:
            continue
        problem = None
        try:
            file, feeds = make()
            session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
            path = Path(folder) / f"{name}.onnx"
            path.write_bytes(file)
            server.put(name, path)
            shown = json.loads(server.run("model", "show", f"fidelity/{name}"))
            if shown["format"] != "onnxruntime":
                problem = f"it is run by {shown['format']}; take a graph that Rookery does not run"
            for few in (False, True):
                part = {key: value[:1] for key, value in feeds.items()} if few else feeds
                wanted = expected(session, part, name == "one-row")
                for body, kind in bodies(part):
                    problem = problem or differs(server.ask(name, body, kind)["predictions"], wanted)
        except Exception as error:  # noqa: BLE001
            problem = str(error)
        if problem:
            failed += 1
            print(f"DIFFERS {name}: {problem}", flush=True)
        else:
            equal += 1
print(f"fidelity onnxruntime: {equal} models equal")
sys.exit(1 if failed else 0)
