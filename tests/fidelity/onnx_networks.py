"""Small neural graphs made by hand, as exporters write them."""
import numpy as np
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(7)


def weight(*shape):
    return (RNG.normal(size=shape) / np.sqrt(max(shape[-1], 1))).astype(np.float32)


class Net:
    """Collects nodes and weights; the last node's output is the graph's."""

    def __init__(self, *shape, kind=TensorProto.FLOAT, opset=17):
        self.inputs = [helper.make_tensor_value_info("X", kind, ["N", *shape])]
        self.nodes, self.weights, self.opset, self.count = [], [], opset, 0

    def constant(self, value):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def op(self, kind, *inputs, outputs=1, **attributes):
        inputs = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        names = [f"v{self.count}_{i}" for i in range(outputs)]
        self.count += 1
        self.nodes.append(helper.make_node(kind, inputs, names, name=f"n{self.count}", **attributes))
        return names[0] if outputs == 1 else names

    def finish(self, output, kind=TensorProto.FLOAT, rank=2):
        info = helper.make_tensor_value_info(output, kind, ["N"] + [None] * (rank - 1))
        graph = helper.make_graph(self.nodes, "net", self.inputs, [info], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=9).SerializeToString()


def rows(*shape):
    return {"X": RNG.normal(size=(17, *shape)).astype(np.float32)}


def mlp():
    net = Net(128)
    x = net.op("Relu", net.op("Gemm", "X", weight(256, 128), weight(256), transB=1))
    x = net.op("Softmax", net.op("Gemm", x, weight(256, 10), weight(10)), axis=-1)
    return net.finish(x), rows(128)


def residual():
    net = Net(32)
    x = "X"
    for _ in range(3):
        y = net.op("LayerNormalization", x, 1 + weight(32), weight(32), axis=-1, epsilon=1e-5)
        y = net.op("Add", net.op("MatMul", y, weight(32, 64)), weight(64))
        half = net.op("Mul", y, np.float32(0.5))
        erf = net.op("Erf", net.op("Div", y, np.float32(np.sqrt(2))))
        y = net.op("Mul", half, net.op("Add", erf, np.float32(1)))
        x = net.op("Add", x, net.op("MatMul", y, weight(64, 32)))
    return net.finish(net.op("Tanh", x)), rows(32)


def cnn():
    net = Net(3, 16, 16)
    x = net.op("Conv", "X", weight(8, 3, 3, 3), weight(8), pads=[1, 1, 1, 1], kernel_shape=[3, 3])
    x = net.op("BatchNormalization", x, 1 + weight(8), weight(8), weight(8), np.abs(weight(8)) + 0.5)
    x = net.op("MaxPool", net.op("Relu", x), kernel_shape=[2, 2], strides=[2, 2])
    x = net.op("Conv", x, weight(16, 4, 3, 3), weight(16), group=2, strides=[2, 2], auto_pad="SAME_UPPER")
    x = net.op("LeakyRelu", x, alpha=0.1)
    x = net.op("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1], count_include_pad=1)
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    return net.finish(net.op("Softmax", net.op("Gemm", x, weight(5, 16), weight(5), transB=1))), rows(3, 16, 16)


def cnn_1d():
    net = Net(4, 30)
    x = net.op("Conv", "X", weight(8, 4, 5), weight(8), dilations=[2], pads=[4, 4], kernel_shape=[5])
    x = net.op("Elu", x)
    x = net.op("AveragePool", x, kernel_shape=[3], strides=[3], ceil_mode=1)
    x = net.op("GlobalMaxPool", net.op("Conv", x, weight(8, 1, 3), group=8))
    return net.finish(net.op("Flatten", x)), rows(4, 30)


def lstm():
    net = Net(12, 6)
    x = net.op("Transpose", "X", perm=[1, 0, 2])
    _, h, _ = net.op("LSTM", x, weight(2, 4 * 10, 6), weight(2, 4 * 10, 10), weight(2, 8 * 10), outputs=3, hidden_size=10, direction="bidirectional")
    h = net.op("Reshape", net.op("Transpose", h, perm=[1, 0, 2]), np.array([0, -1]))
    return net.finish(net.op("Sigmoid", net.op("Gemm", h, weight(20, 3), weight(3)))), rows(12, 6)


def gru():
    net = Net(9, 5)
    x = net.op("Transpose", "X", perm=[1, 0, 2])
    y, _ = net.op("GRU", x, weight(1, 3 * 8, 5), weight(1, 3 * 8, 8), weight(1, 6 * 8), outputs=2, hidden_size=8, linear_before_reset=1)
    y = net.op("Transpose", net.op("Squeeze", y, np.array([1])), perm=[1, 0, 2])
    return net.finish(net.op("ReduceMean", y, axes=[1], keepdims=0)), rows(9, 5)


def rnn():
    net = Net(9, 5)
    x = net.op("Transpose", "X", perm=[1, 0, 2])
    _, h = net.op("RNN", x, weight(1, 8, 5), weight(1, 8, 8), outputs=2, hidden_size=8, direction="reverse")
    return net.finish(net.op("Squeeze", h, np.array([0]))), rows(9, 5)


def heads(net, x, length, width, count):
    """Attention as it is written out by exporters."""
    split = np.array([0, length, count, width // count])
    query, key, value = (net.op("Reshape", net.op("Add", net.op("MatMul", x, weight(width, width)), weight(width)), split) for _ in range(3))
    query, value = (net.op("Transpose", part, perm=[0, 2, 1, 3]) for part in (query, value))
    key = net.op("Transpose", key, perm=[0, 2, 3, 1])
    share = net.op("Softmax", net.op("Div", net.op("MatMul", query, key), np.float32(np.sqrt(width // count))), axis=-1)
    mixed = net.op("Transpose", net.op("MatMul", share, value), perm=[0, 2, 1, 3])
    mixed = net.op("Reshape", mixed, np.array([0, length, width]))
    return net.op("LayerNormalization", net.op("Add", x, net.op("MatMul", mixed, weight(width, width))), 1 + weight(width), weight(width))


def attention():
    net = Net(10, 16)
    x = heads(net, "X", 10, 16, 4)
    x = net.op("ReduceMean", x, axes=[1], keepdims=0)
    return net.finish(net.op("Gemm", x, weight(16, 4), weight(4))), rows(10, 16)


def embedding():
    net = Net(7, kind=TensorProto.INT64)
    x = net.op("Gather", weight(50, 12), "X")
    x = net.op("Add", x, weight(1, 7, 12))
    x = heads(net, x, 7, 12, 3)
    x = net.op("ReduceMax", x, axes=[1], keepdims=0)
    return net.finish(net.op("LogSoftmax", net.op("Gemm", x, weight(12, 4), weight(4)))), {"X": RNG.integers(0, 50, (17, 7))}


def cut():
    """A grab of operators that move values."""
    net = Net(6, 8)
    left, right = net.op("Split", "X", outputs=2, axis=2)
    x = net.op("Concat", net.op("Clip", left, np.float32(-1), np.float32(1)), net.op("Pad", right, np.array([0, 1, 0, 0, 1, 0])), axis=1)
    x = net.op("Slice", x, np.array([-1, 0]), np.array([-100, 4]), np.array([1, 2]), np.array([-2, 2]))
    x = net.op("Where", net.op("Greater", x, np.float32(0)), x, net.op("Mul", x, np.float32(0.1)))
    value, place = net.op("TopK", net.op("Flatten", x), np.array([4]), outputs=2)
    x = net.op("Concat", value, net.op("Cast", place, to=TensorProto.FLOAT), axis=1)
    return net.finish(x), rows(6, 8)


def single():
    """Made for one row: rows are worked on one by one."""
    net = Net(5)
    net.inputs = [helper.make_tensor_value_info("X", TensorProto.FLOAT, [1, 5])]
    x = net.op("Reshape", net.op("Gemm", "X", weight(5, 6), weight(6)), np.array([1, 6]))
    return net.finish(x), rows(5)


def cases():
    for make in (mlp, residual, cnn, cnn_1d, lstm, gru, rnn, attention, embedding, cut):
        yield f"network-{make.__name__.replace('_', '-')}", make
