"""Graphs by hand for onnx.py: operators that no converter here writes, or only in passing."""
import numpy as np
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(5)
ROWS = RNG.normal(size=(23, 4)).astype(np.float32)
FLOAT, DOUBLE, LONG, TEXT, BOOL = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.STRING, TensorProto.BOOL


def tensor(name, kind, *shape):
    return helper.make_tensor_value_info(name, kind, ["N", *shape])


def graph(nodes, feeds, outputs, weights=None, opset=20, ml=3, functions=()):
    kinds = {"f": FLOAT, "i": LONG, "O": TEXT, "b": BOOL}
    inputs = [tensor(name, DOUBLE if value.dtype == np.float64 else kinds[value.dtype.kind], *value.shape[1:]) for name, value in feeds.items()]
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()]
    made = helper.make_graph(nodes, "hand", inputs, outputs, weights)
    sets = [helper.make_opsetid(name, version) for name, version in (("", opset), ("ai.onnx.ml", ml), ("com.microsoft", 1), ("own", 1))]
    return helper.make_model(made, opset_imports=sets, ir_version=10, functions=list(functions)).SerializeToString(), feeds


def single(operator, *weights, kind=FLOAT, feeds=None, opset=20, domain="", rank=2, ml=3, **attributes):
    """One operator on all inputs, then constants."""

    def make():
        given = feeds if feeds is not None else {"X": ROWS}
        names = {f"w{at}": value for at, value in enumerate(weights) if value is not None}
        inputs = [*given, *(f"w{at}" if value is not None else "" for at, value in enumerate(weights))]
        node = helper.make_node(operator, inputs, ["Y"], domain=domain, **attributes)
        return graph([node], given, [tensor("Y", kind, *[None] * (rank - 1))], names, opset, ml)

    return make


def branch():
    """Rows come one at a time, so that each takes its own branch."""

    def body(name, *nodes):
        return helper.make_graph(list(nodes), name, [], [helper.make_tensor_value_info("made", FLOAT, [1, None])])

    yes = body("yes", helper.make_node("MatMul", ["X", "W"], ["product"]), helper.make_node("Tanh", ["product"], ["made"]))
    no = body("no", helper.make_node("Neg", ["X"], ["made"]))
    nodes = [
        helper.make_node("ReduceSum", ["X"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["test"]),
        helper.make_node("If", ["test"], ["Y"], then_branch=yes, else_branch=no),
    ]
    feeds = {"X": ROWS[:, :4]}
    model, _ = graph(nodes, feeds, [helper.make_tensor_value_info("Y", FLOAT, [1, 4])], {"W": np.eye(4, dtype=np.float32) * 2, "zero": np.float32(0)})
    import onnx

    # Made for one row: the server runs it row by row, here it is run so.
    proto = onnx.load_from_string(model)
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1

    def answer(given):
        import onnxruntime

        session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        return [("Y", np.concatenate([session.run(None, {"X": row[None]})[0] for row in given["X"]]))]

    return proto.SerializeToString(), feeds, answer


def category_mapper(back):
    words, numbers = ["low", "middle", "hi,gh"], [3, -7, 1 << 40]
    attributes = {"cats_strings": words, "cats_int64s": numbers, "default_string": "none", "default_int64": -5}
    if back:
        feeds = {"X": RNG.choice([*numbers, 0], (20, 2)).astype(np.int64)}
        return single("CategoryMapper", kind=TEXT, feeds=feeds, domain="ai.onnx.ml", **attributes)
    feeds = {"X": RNG.choice([*words, "other", ""], (20, 2)).astype(object)}
    return single("CategoryMapper", kind=LONG, feeds=feeds, domain="ai.onnx.ml", **attributes)


def feature_vectorizer():
    feeds = {"a": ROWS[:, :1], "b": ROWS[:, 1:], "c": ROWS[:, :2] * 3}
    node = helper.make_node("FeatureVectorizer", list(feeds), ["Y"], domain="ai.onnx.ml", inputdimensions=[1, 3, 2])
    return graph([node], feeds, [tensor("Y", FLOAT, 6)])


def member(kind, missing=0):
    """Trees whose nodes ask whether a value is one of a set."""

    def make():
        number = np.float64 if kind == DOUBLE else np.float32
        gap = np.nan
        sets = np.array([1, 2, 3, 7, gap, -1, 0, gap, 5.5, gap], dtype=number)
        splits = np.array([0, 0.5, 0, 0, 2], dtype=number)
        modes = np.array([6, 0, 6, 6, 4], dtype=np.uint8)
        node = helper.make_node(
            "TreeEnsemble", ["X"], ["Y"], domain="ai.onnx.ml", n_targets=2, aggregate_function=1, post_transform=0, tree_roots=[0, 3],
            nodes_splits=numpy_helper.from_array(splits), nodes_modes=numpy_helper.from_array(modes), nodes_featureids=[0, 1, 2, 1, 0],
            nodes_truenodeids=[1, 0, 2, 4, 5], nodes_trueleafs=[0, 1, 1, 0, 1], nodes_falsenodeids=[2, 1, 3, 4, 6], nodes_falseleafs=[0, 1, 1, 1, 1],
            nodes_missing_value_tracks_true=[missing] * 5, membership_values=numpy_helper.from_array(sets), leaf_targetids=[0, 1, 0, 1, 0, 1, 1],
            leaf_weights=numpy_helper.from_array(np.array([1, 2, 4, 8, 16, 32, 64], dtype=number)),
        )
        rows = np.stack(np.meshgrid([0, 1, 2, 3, 4, 7, -0.0], [-1, 0, 0.5, 5.5, 6], [-1, 0, 1, 5.5]), -1).reshape(-1, 3).astype(number)
        if missing:
            rows[::7, 0] = np.nan
        return graph([node], {"X": rows}, [tensor("Y", kind, 2)], opset=21, ml=5)

    return make


def meeting(ml):
    """A node below two others, as the older and the newest operator have it; onnxruntime runs only chains of equalities so."""

    def answer(given):
        shared = lambda x: 1.0 if x[3] <= 0 else 2.0  # noqa: E731
        one = lambda x: (shared(x) if x[1] <= np.float32(-0.2) else 2.0) if x[0] <= np.float32(0.1) else shared(x) if x[2] <= np.float32(0.3) else 4.0  # noqa: E731
        return [("Y", np.array([[one(x)] for x in given["X"]]))]

    def make():
        older = helper.make_node(
            "TreeEnsembleRegressor", ["X"], ["Y"], domain="ai.onnx.ml", n_targets=1, nodes_treeids=[0] * 7, nodes_nodeids=list(range(7)), nodes_featureids=[0, 1, 2, 3, 0, 0, 0],
            nodes_modes=["BRANCH_LEQ"] * 4 + ["LEAF"] * 3, nodes_values=[0.1, -0.2, 0.3, 0.0, 0.0, 0.0, 0.0], nodes_truenodeids=[1, 3, 3, 4, 0, 0, 0],
            nodes_falsenodeids=[2, 5, 6, 5, 0, 0, 0], target_treeids=[0] * 3, target_nodeids=[4, 5, 6], target_ids=[0] * 3, target_weights=[1.0, 2.0, 4.0],
        )
        newest = helper.make_node(
            "TreeEnsemble", ["X"], ["Y"], domain="ai.onnx.ml", n_targets=1, tree_roots=[0], nodes_featureids=[0, 1, 2, 3],
            nodes_splits=numpy_helper.from_array(np.array([0.1, -0.2, 0.3, 0.0], dtype=np.float32)), nodes_modes=numpy_helper.from_array(np.zeros(4, dtype=np.uint8)),
            nodes_truenodeids=[1, 3, 3, 0], nodes_trueleafs=[0, 0, 0, 1], nodes_falsenodeids=[2, 1, 2, 1], nodes_falseleafs=[0, 1, 1, 1],
            leaf_targetids=[0] * 3, leaf_weights=numpy_helper.from_array(np.array([1, 2, 4], dtype=np.float32)),
        )
        node = older if ml == 3 else newest
        return *graph([node], {"X": ROWS}, [tensor("Y", FLOAT, 1)], opset=21, ml=ml), answer

    return make


def function():
    """Functions that call each other, with attributes handed on or left out and values handed through."""
    inner = helper.make_function(
        "own", "scaled", ["x", "w"], ["y", "same"],
        [helper.make_node("Mul", ["x", "w"], ["t"]), leaky("t", "y"), helper.make_node("Identity", ["t"], ["same"])],
        [helper.make_opsetid("", 18)], attributes=["slope"],
    )
    outer = helper.make_function(
        "own", "twice", ["x"], ["z", "y"],
        [
            helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(np.array([2, -1, 0.5, 3], dtype=np.float32))),
            helper.make_node("scaled", ["x", "w"], ["t", "u"], domain="own", slope=0.2),
            helper.make_node("scaled", ["t", "w"], ["s", ""], domain="own"),
            helper.make_node("Identity", ["x"], ["z"]),
            helper.make_node("Constant", [], ["axes"], value_ints=[1]),
            helper.make_node("ReduceMax", ["u", "axes"], ["m"]),
            helper.make_node("Add", ["s", "m"], ["y"]),
        ],
        [helper.make_opsetid("", 19), helper.make_opsetid("own", 1)],
    )
    nodes = [
        helper.make_node("twice", ["X"], ["a", "b"], domain="own", name="first"),
        helper.make_node("twice", ["b"], ["", "t"], domain="own", name="second"),
        helper.make_node("Add", ["a", "t"], ["Y"]),
    ]
    return graph(nodes, {"X": ROWS}, [tensor("Y", FLOAT, 4)], functions=[inner, outer])


def leaky(x, y):
    node = helper.make_node("LeakyRelu", [x], [y])
    reference = node.attribute.add()
    reference.name, reference.ref_attr_name, reference.type = "alpha", "slope", 1
    return node


def unique(values, **attributes):
    """Values of one row of many, told again by place, so that rows stay rows."""

    def make():
        nodes = [
            helper.make_node("Unique", ["X"], ["y", "first", "inverse", "counts"], **attributes),
            helper.make_node("Gather", ["counts", "inverse"], ["often"]),
            helper.make_node("Gather", ["first", "inverse"], ["place"]),
            helper.make_node("Gather", ["y", "inverse"], ["same"], axis=attributes.get("axis", 0)),
            *(helper.make_node("Reshape", [name, shape], [name + "_rows"]) for name, shape in (("often", "rows"), ("place", "rows"), ("same", "whole"), ("inverse", "rows"))),
        ]
        flat = "axis" not in attributes
        kind = {"f": FLOAT, "i": LONG, "O": TEXT}[values.dtype.kind]
        width = 1 if not flat else values.shape[1]
        outputs = [tensor("often_rows", LONG, None), tensor("place_rows", LONG, None), tensor("same_rows", kind, None), tensor("inverse_rows", LONG, None)]
        weights = {"rows": np.array([-1, width]), "whole": np.array([-1, values.shape[1]])}
        return graph(nodes, {"X": values}, outputs, weights)

    return make


def einsum(equation, *shapes, first=None, rank=2, dtype=np.float32):
    feeds = {"X": RNG.normal(size=first or (12, 4)).astype(dtype)}
    weights = [RNG.normal(size=shape).astype(dtype) for shape in shapes]
    kind = DOUBLE if dtype == np.float64 else FLOAT
    return single("Einsum", *weights, feeds=feeds, equation=equation, rank=rank, kind=kind)


def solved(transposed=0):
    def make():
        a = RNG.normal(size=(5, 5)) + 3 * np.eye(5)
        feeds = {"X": RNG.normal(size=(9, 5))}
        nodes = [
            helper.make_node("Transpose", ["X"], ["t"]),
            helper.make_node("Solve", ["A", "t"], ["s"], domain="com.microsoft", transposed=transposed),
            helper.make_node("Transpose", ["s"], ["Y"]),
        ]
        model, _ = graph(nodes, feeds, [tensor("Y", DOUBLE, 5)], {"A": a})
        return model, feeds, lambda given: [("Y", np.linalg.solve(a.T if transposed else a, given["X"].T).T)]

    return make


def nothing():
    """Sizes of what is left out of a row where nothing is: the ends of each type."""
    nodes = [
        helper.make_node("Compress", ["X", "none"], ["some"], axis=1),
        helper.make_node("Cast", ["some"], ["small"], to=TensorProto.INT32),
        helper.make_node("ReduceMax", ["small", "axes"], ["most"], keepdims=0),
        helper.make_node("ReduceMin", ["small", "axes"], ["least"], keepdims=0),
    ]
    outputs = [tensor("most", TensorProto.INT32), tensor("least", TensorProto.INT32)]
    return graph(nodes, {"X": ROWS}, outputs, {"none": np.zeros(4, dtype=bool), "axes": np.array([1])})


def picture(*shape):
    return {"X": RNG.normal(size=(7, *shape)).astype(np.float32)}


def classifier(operator, post, labels=(0, 1), ml=3, **attributes):
    """A label and its scores."""
    node = helper.make_node(
        operator, ["X"], ["L", "Y"], domain="ai.onnx.ml", post_transform=post,
        **{"classlabels_ints" if operator != "TreeEnsembleClassifier" else "classlabels_int64s": list(labels)}, **attributes,
    )
    return lambda: graph([node], {"X": ROWS}, [tensor("L", LONG), tensor("Y", FLOAT, None)], ml=ml)


def stumps(kind, ids, weights):
    """Two trees of two leaves, each of as many numbers as a quarter of `ids`."""
    each = len(ids) // 4
    return {
        "nodes_treeids": [0, 0, 0, 1, 1, 1], "nodes_nodeids": [0, 1, 2, 0, 1, 2], "nodes_featureids": [0, 0, 0, 1, 0, 0],
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"] * 2, "nodes_values": [0.1, 0.0, 0.0, -0.2, 0.0, 0.0],
        "nodes_truenodeids": [1, 0, 0, 1, 0, 0], "nodes_falsenodeids": [2, 0, 0, 2, 0, 0], "nodes_missing_value_tracks_true": [0] * 6,
        f"{kind}_treeids": [0] * 2 * each + [1] * 2 * each, f"{kind}_nodeids": ([1] * each + [2] * each) * 2, f"{kind}_ids": ids, f"{kind}_weights": weights,
    }


def lone_scores():
    """Two classes that share one score: what becomes of it, and of base values of a class that no leaf names."""
    positive, mixed = [0.3, 0.2, 0.5, 0.1], [0.3, -0.2, 0.5, 0.1]
    for post in ("NONE", "LOGISTIC", "SOFTMAX"):
        yield f"linear-{post.lower()}", classifier("LinearClassifier", post, coefficients=[0.3, -0.2, 0.5, 1], intercepts=[0.5])
        for name, weights in (("positive", positive), ("mixed", mixed)):
            for bases in ([], [0.3], [0.2, 0.4]):
                for output in (0, 1):
                    base = {"base_values": bases} if bases else {}
                    case = classifier("TreeEnsembleClassifier", post, **stumps("class", [output] * 4, weights), **base)
                    yield f"tree-{post.lower()}-{name}-{output}-{len(bases)}", case


def regressors():
    """Leaves of several numbers for one output, and outputs that some rows' leaves do not name."""
    several = [0.1, -0.9, 0.4, 0.6, -0.7, 0.3, 0.2, 0.8]
    for how in ("SUM", "AVERAGE", "MIN", "MAX"):
        made = lambda **attributes: single("TreeEnsembleRegressor", domain="ai.onnx.ml", aggregate_function=how, **attributes)  # noqa: B023, E731
        yield f"one-{how.lower()}", made(n_targets=1, base_values=[0.4], **stumps("target", [0] * 8, several))
        yield f"two-{how.lower()}", made(n_targets=2, base_values=[0.4, 0.1], **stumps("target", [1] * 8, several))
        yield f"either-{how.lower()}", made(n_targets=2, base_values=[0.4, 0.1], **stumps("target", [0, 1, 0, 1], several[:4]))


def recurrent(operator, gates, ways=1, peepholes=False, **attributes):
    """All states of a recurrent layer over seven steps of three columns."""

    def make():
        def weight(*shape):
            return (RNG.normal(size=shape) / np.sqrt(shape[-1])).astype(np.float32)

        names = {"w": weight(ways, gates * 5, 3), "r": weight(ways, gates * 5, 5), "b": weight(ways, gates * 10)}
        more = ["", "", "", "p"] if peepholes else []
        weights = {**names, "p": weight(ways, 15)} if peepholes else names
        nodes = [
            helper.make_node("Transpose", ["X"], ["x"], perm=[1, 0, 2]),
            helper.make_node(operator, ["x", *names, *more], ["y"], hidden_size=5, direction="bidirectional" if ways == 2 else "forward", **attributes),
            helper.make_node("Transpose", ["y"], ["Y"], perm=[2, 0, 1, 3]),
        ]
        return graph(nodes, picture(7, 3), [tensor("Y", FLOAT, None, None, None)], weights)

    return make


def stacks():
    """Products of matrices of each row, whose numbers lie one row's behind the other's."""

    def product(*before, inputs=("A", "B"), weights=None, **feeds):
        feeds = {name: RNG.normal(size=(7, *shape)).astype(np.float32) for name, shape in feeds.items()}
        nodes = [*before, helper.make_node("MatMul", inputs, ["Y"])]
        return lambda: graph(nodes, feeds, [tensor("Y", FLOAT, None, None)], weights)

    for k in (3, 5, 6, 7):
        shares = helper.make_node("Softmax", ["A"], ["shares"])
        yield f"row-{k}", product(A=(1, k), B=(k, 2))
        yield f"shares-{k}", product(shares, inputs=("shares", "B"), A=(1, k), B=(k, 4))
    turned = helper.make_node("Transpose", ["A"], ["turned"], perm=[0, 2, 1])
    yield "turned", product(turned, inputs=("A", "turned"), A=(3, 5))
    yield "constant", product(inputs=("w", "A"), weights={"w": RNG.normal(size=(2, 3)).astype(np.float32)}, A=(3, 5))


def edges():
    """Numbers that no whole number is near, as whole numbers."""
    numbers = np.array([np.nan, 1e20, -1e20, 3e9, -3e9, 2147483648, 300, -1, -129, 70000, 40000, 2.9, -2.9, 255.9, 1e10])
    for word, dtype in (("float", np.float32), ("double", np.float64)):
        for to in ("INT64", "INT32", "INT16", "INT8", "UINT16", "UINT8"):
            kind = getattr(TensorProto, to)
            yield f"cast-{word}-{to.lower()}", single("Cast", kind=kind, feeds={"X": numbers[:, None].astype(dtype)}, to=kind)
        codes = {"X": np.array([[0], [np.nan], [1.5], [-0.5], [1e20], [7]], dtype=dtype)}
        categories = {"cats_int64s": [0, 1, 7], "zeros": 1}
        yield f"one-hot-{word}", single("OneHotEncoder", feeds=codes, domain="ai.onnx.ml", rank=3, **categories)
    whole = {"X": np.array([[2], [3], [0], [-3]], dtype=np.int64)}
    for at, exponent in enumerate((-1.0, 40.5, np.nan, 70.0)):
        yield f"power-{at}", single("Pow", np.array([exponent], dtype=np.float32), kind=LONG, feeds=whole)
    for at, pads in enumerate(([0, -2, 0, 3], [0, 3, 0, -2], [0, 7, 0, -1], [0, -3, 0, 8], [0, -1, 0, -1])):
        yield f"pad-wrap-{at}", single("Pad", np.array(pads), mode="wrap")
    yield "pad-wrap-picture", single("Pad", np.array([0, -1, 2, 0, 3, -1]), feeds=picture(4, 3), rank=3, mode="wrap")


def rows_first():
    """Space to depth by the specification's own sentence: onnxruntime has no such mode yet."""
    model, feeds = single("SpaceToDepth", feeds=picture(3, 4, 6), rank=4, opset=28, blocksize=2, mode="CRD")()

    def answer(given):
        x = given["X"]
        n, c, h, w = x.shape
        six = x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 3, 5, 2, 4)
        return [("Y", six.reshape(n, c * 4, h // 2, w // 2))]

    return model, feeds, answer


def not_served():
    """What onnxruntime runs and we refuse by name; the README lists it in the same words."""
    four = picture(2, 4, 4)
    sixth = {"X": RNG.integers(0, 200, (9, 4)).astype(np.int64)}
    ones = np.ones(4, dtype=np.float32)

    def chain(*nodes, kind=FLOAT, weights=None, feeds=None, rank=2):
        return lambda: graph(list(nodes), feeds or {"X": ROWS}, [tensor("Y", kind, *[None] * (rank - 1))], weights, opset=23)

    def cast(x, y, to):
        return helper.make_node("Cast", [x], [y], to=to)

    yield "attention", chain(helper.make_node("Attention", ["X", "X", "X"], ["Y"], q_num_heads=2, kv_num_heads=2), feeds=picture(3, 4), rank=3)
    yield "bitwise", chain(helper.make_node("BitwiseAnd", ["X", "six"], ["Y"]), kind=LONG, weights={"six": np.array(6)}, feeds=sixth)
    yield "transposed-convolution", single("ConvTranspose", RNG.normal(size=(2, 3, 2, 2)).astype(np.float32), feeds=four, rank=4)
    yield "resize", single("Resize", None, np.array([1, 1, 2, 2], dtype=np.float32), feeds=four, rank=4)
    yield "half", chain(cast("X", "x", TensorProto.FLOAT16), cast("x", "Y", FLOAT))
    yield "brain", chain(cast("X", "x", TensorProto.BFLOAT16), cast("x", "Y", FLOAT))
    yield "unsigned-long", chain(cast("X", "x", TensorProto.UINT64), cast("x", "Y", LONG), kind=LONG, feeds=sixth)
    scale = {"scale": np.float32(0.05), "zero": np.uint8(128)}
    quantised = [helper.make_node("QuantizeLinear", ["X", *scale], ["x"]), helper.make_node("DequantizeLinear", ["x", *scale], ["Y"])]
    yield "quantised", chain(*quantised, weights=scale)
    yield "quantised-on-the-way", chain(
        helper.make_node("DynamicQuantizeLinear", ["X"], ["x", "s", "z"]), helper.make_node("DequantizeLinear", ["x", "s", "z"], ["Y"]),
    )
    yield "fused-product", single("FusedMatMul", np.eye(4, dtype=np.float32), domain="com.microsoft", alpha=0.5)
    yield "skip-normalization", chain(
        helper.make_node("SkipLayerNormalization", ["X", "X", "ones"], ["Y"], domain="com.microsoft"), weights={"ones": ones}, feeds=picture(3, 4), rank=3,
    )
    yield "peepholes", recurrent("LSTM", 4, peepholes=True)
    yield "affine", recurrent("RNN", 1, activations=["Affine"], activation_alpha=[0.5], activation_beta=[0.1])


def cases():
    for name, make in not_served():
        yield f"refused-{name}", make
    for name, make in lone_scores():
        yield f"hand-{name}", make
    for name, make in stacks():
        yield f"hand-stack-{name}", make
    for name, make in edges():
        yield f"hand-{name}", make
    yield "hand-space-to-depth-columns", rows_first
    for name, make in regressors():
        yield f"hand-tree-{name}", make
    gaps = {"X": np.array([[0.0], [1], [np.nan], [2.5], [-0.0], [9]], dtype=np.float32)}
    for version in (2, 4):
        encoder = {"keys_floats": [0.0, 2.5, float("nan")], "values_strings": ["nought", "two and a half", "none"]}
        yield f"hand-nan-key-{version}", single("LabelEncoder", kind=TEXT, feeds=gaps, domain="ai.onnx.ml", ml=version, **encoder)
    nothing_over = np.zeros(0, dtype=np.int64)
    for kind in ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSumExp", "SumSquare"):
        yield f"hand-reduce-none-{kind.lower()}", single(f"Reduce{kind}", nothing_over, noop_with_empty_axes=1)
    yield "hand-reduce-none-logsum", single("ReduceLogSum", nothing_over, feeds={"X": np.abs(ROWS)}, noop_with_empty_axes=1)
    wide = {"X": np.vstack([np.round(ROWS), ROWS])}
    yield "hand-hardmax", single("Hardmax", feeds=wide)
    yield "hand-hardmax-axis", single("Hardmax", feeds=picture(4, 3), rank=3, axis=1)
    yield "hand-hardmax-joined", single("Hardmax", feeds=picture(4, 3), rank=3, opset=11)
    yield "hand-shrink", single("Shrink", lambd=0.3, bias=0.1)
    yield "hand-shrink-hard", single("Shrink")
    yield "hand-asinh", single("Asinh", feeds={"X": ROWS * 100})
    yield "hand-acosh", single("Acosh", feeds={"X": np.abs(ROWS) + 1})
    yield "hand-atanh", single("Atanh", feeds={"X": np.tanh(ROWS)})
    yield "hand-sinh", single("Sinh")
    yield "hand-cosh", single("Cosh")
    factors = [RNG.normal(size=6).astype(np.float32) for _ in range(2)]
    yield "hand-group-normalization", single("GroupNormalization", *factors, feeds=picture(6, 4, 3), rank=4, opset=21, num_groups=2)
    yield "hand-recurrent-relu", recurrent("RNN", 1, activations=["Relu"])
    yield "hand-recurrent-both", recurrent("RNN", 1, ways=2, activations=["Relu", "Sigmoid"], clip=0.5)
    yield "hand-lstm-functions", recurrent("LSTM", 4, activations=["Sigmoid", "Relu", "Tanh"])
    yield "hand-lstm-clip", recurrent("LSTM", 4, ways=2, clip=0.3)
    yield "hand-gru-functions", recurrent("GRU", 3, ways=2, activations=["Sigmoid", "Relu", "Sigmoid", "Tanh"])
    yield "hand-gru-clip", recurrent("GRU", 3, clip=0.3, linear_before_reset=1)
    yield "hand-if", branch
    yield "hand-category-mapper", category_mapper(False)
    yield "hand-category-mapper-back", category_mapper(True)
    yield "hand-feature-vectorizer", feature_vectorizer
    yield "hand-tree-member", member(FLOAT)
    yield "hand-tree-member-double", member(DOUBLE)
    yield "hand-tree-member-missing", member(FLOAT, missing=1)
    yield "hand-tree-meeting", meeting(3)
    yield "hand-tree-meeting-newest", meeting(5)
    yield "hand-function", function
    words = RNG.choice(["a", "b", "", "é"], (20, 2)).astype(object)
    numbers = RNG.integers(0, 5, (20, 2)).astype(np.int64)
    yield "hand-unique", unique(numbers)
    yield "hand-unique-as-they-come", unique(numbers, sorted=0)
    yield "hand-unique-words", unique(words)
    yield "hand-unique-rows", unique(numbers.astype(np.float32), axis=0)
    yield "hand-unique-rows-as-they-come", unique(numbers, axis=0, sorted=0)
    yield "hand-einsum-product", einsum("ij,jk->ik", (4, 3))
    yield "hand-einsum-double", einsum("ij,jk->ik", (4, 3), dtype=np.float64)
    yield "hand-einsum-implicit", einsum("ij,kj", (3, 4))
    yield "hand-einsum-three", einsum("ni,ij,jk->nk", (4, 5), (5, 2))
    yield "hand-einsum-diagonal", einsum("nii->ni", first=(6, 4, 4))
    yield "hand-einsum-sum", einsum("nij->n", first=(6, 4, 3), rank=1)
    yield "hand-einsum-heads", einsum("nqhd,khd->nhqk", (5, 2, 3), first=(6, 4, 2, 3), rank=4)
    yield "hand-einsum-dots", einsum("...ij,jk->...ik", (4, 3), first=(6, 2, 5, 4), rank=4)
    yield "hand-einsum-outer", einsum("ni,j->nij", (3,), rank=3)
    yield "hand-solve", solved()
    yield "hand-solve-transposed", solved(1)
    matrix = picture(5, 5)
    yield "hand-triangle-upper", single("Trilu", feeds=matrix, rank=3)
    yield "hand-triangle-lower", single("Trilu", np.array(-1, dtype=np.int64), feeds=matrix, rank=3, upper=0)
    yield "hand-eye", single("EyeLike", k=1, dtype=DOUBLE, kind=DOUBLE)
    yield "hand-space-to-depth", single("SpaceToDepth", feeds=picture(3, 4, 6), rank=4, blocksize=2)
    yield "hand-depth-to-space", single("DepthToSpace", feeds=picture(8, 3, 2), rank=4, blocksize=2)
    yield "hand-depth-to-space-columns", single("DepthToSpace", feeds=picture(8, 3, 2), rank=4, blocksize=2, mode="CRD")
    yield "hand-largest-of-nothing", nothing
    text = {"X": np.array(["a", "bc", "", "é d"] * 4, dtype=object).reshape(-1, 1)}
    yield "hand-concat-texts", single("StringConcat", np.array(["-", "=x"], dtype=object), kind=TEXT, feeds=text)
    yield "hand-murmur", single("MurmurHash3", kind=TensorProto.INT32, feeds=text, domain="com.microsoft", positive=0, seed=7)
    channels = picture(6, 5, 4)
    yield "hand-lp-normalization", single("LpNormalization", feeds=channels, rank=4, axis=1)
    yield "hand-lp-normalization-1", single("LpNormalization", feeds={"X": np.vstack([ROWS, np.zeros((1, 4), np.float32)])}, p=1)
    yield "hand-lrn", single("LRN", feeds=channels, rank=4, size=5, alpha=0.3, beta=0.6, bias=1.5)
    yield "hand-mean-variance", single("MeanVarianceNormalization", feeds=channels, rank=4, axes=[2, 3])
    yield "hand-lp-pool", single("LpPool", feeds=channels, rank=4, kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1])
    yield "hand-lp-pool-3", single("LpPool", feeds=channels, rank=4, kernel_shape=[2, 2], p=3)
    yield "hand-global-lp-pool", single("GlobalLpPool", feeds=channels, rank=4, p=3)
