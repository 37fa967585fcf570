"""A convolutional TensorFlow model as ONNX: the operations that MobileNet has.

The exporters on the package index do not support the pinned protobuf and numpy; a
frozen graph of ten kinds of operations needs none.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
from onnx import helper, numpy_helper
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

_BOUNDS = {"Maximum": 0, "Minimum": 1}  # The place of the constant among Clip's.
_SAME_NAME = {
    "AddV2": "Add",
    "Minimum": "Min",
    "Maximum": "Max",
    "Mul": "Mul",
    "Sub": "Sub",
    "Identity": "Identity",
}


def export(directory: Path, path: Path) -> None:
    """Write the signature `serving_default` of a SavedModel as an ONNX file.

    Raises:
        ValueError: it has another kind of operation.
    """
    loaded = tf.saved_model.load(str(directory))
    frozen = convert_variables_to_constants_v2(loaded.signatures["serving_default"])
    graph = frozen.graph.as_graph_def()
    constants = {
        node.name: tf.make_ndarray(node.attr["value"].tensor)
        for node in graph.node
        if node.op == "Const"
    }
    nodes, used = [], dict[str, np.ndarray]()
    for node in graph.node:
        if node.op in ("Const", "Placeholder", "NoOp"):
            continue
        inputs = [name.removesuffix(":0") for name in node.input if name[0] != "^"]
        if all(name in constants for name in inputs):
            constants[node.name] = _constant(node, [constants[name] for name in inputs])
            continue
        nodes += _convert(node, inputs, constants)
        used |= {name: constants[name] for name in inputs if name in constants}
    (image,) = (node.name for node in graph.node if node.op == "Placeholder")
    (output,) = (tensor.name.removesuffix(":0") for tensor in frozen.outputs)
    made = helper.make_model(
        helper.make_graph(
            nodes,
            "exported",
            [helper.make_tensor_value_info(image, 1, ["n", 224, 224, 3])],
            [helper.make_tensor_value_info(output, 1, ["n", "d"])],
            [numpy_helper.from_array(array, name) for name, array in used.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
    )
    made.ir_version = 9
    onnx.save(made, path)


def _constant(node: Any, values: list[np.ndarray]) -> np.ndarray:
    """Compute what depends on constants alone."""
    if node.op == "Identity":
        return values[0]
    if node.op == "Transpose":
        return values[0].transpose(values[1])
    raise ValueError(f"{node.op} of constants is not converted")


def _convert(node: Any, inputs: list[str], constants: dict[str, np.ndarray]) -> list:
    if node.op in _BOUNDS and constants.get(inputs[1], np.empty(2)).size == 1:
        # As exporters have it, and ONNX Runtime fuses it with a convolution.
        bounds = ["", ""]
        bounds[_BOUNDS[node.op]] = inputs[1]
        constants[inputs[1]] = constants[inputs[1]].reshape(())
        return [helper.make_node("Clip", [inputs[0], *bounds], [node.name])]
    if node.op in _SAME_NAME:
        return [helper.make_node(_SAME_NAME[node.op], inputs, [node.name])]
    if node.op == "Transpose":
        order = constants[inputs[1]].tolist()
        return [helper.make_node("Transpose", inputs[:1], [node.name], perm=order)]
    if node.op == "Reshape":
        shape = constants[inputs[1]].astype(np.int64)
        constants[inputs[1]] = np.where(np.arange(len(shape)) == 0, -1, shape)
        return [helper.make_node("Reshape", inputs, [node.name])]
    if node.op not in _WINDOWS:
        raise ValueError(f"{node.op} is not converted")
    return _WINDOWS[node.op](node, inputs, constants)


def _nchw(
    node: Any, source: str, kind: str, extra: list[str], **attributes: Any
) -> list:
    """Wrap an operation of ONNX, channels first, into transpositions."""
    before, after = f"{node.name}/nchw", f"{node.name}/made"
    return [
        helper.make_node("Transpose", [source], [before], perm=[0, 3, 1, 2]),
        helper.make_node(kind, [before, *extra], [after], **attributes),
        helper.make_node("Transpose", [after], [node.name], perm=[0, 2, 3, 1]),
    ]


def _window(node: Any) -> dict[str, Any]:
    padding = node.attr["padding"].s.decode()
    pads = {"SAME": "SAME_UPPER", "VALID": "VALID"}[padding]
    return {"auto_pad": pads, "strides": list(node.attr["strides"].list.i)[1:3]}


def _convolution(node: Any, inputs: list[str], constants: dict) -> list:
    kernel = constants[inputs[1]]  # [h, w, in, out], or [h, w, channels, 1]
    name = f"{node.name}/kernel"
    groups = 1
    if node.op == "DepthwiseConv2dNative":
        groups = kernel.shape[2]
        kernel = kernel.transpose(2, 3, 0, 1)
    else:
        kernel = kernel.transpose(3, 2, 0, 1)
    tensor = numpy_helper.from_array(np.ascontiguousarray(kernel))
    constant = helper.make_node("Constant", [], [name], value=tensor)
    return [
        constant,
        *_nchw(node, inputs[0], "Conv", [name], group=groups, **_window(node)),
    ]


def _average(node: Any, inputs: list[str], constants: dict) -> list:
    size = list(node.attr["ksize"].list.i)[1:3]
    return _nchw(node, inputs[0], "AveragePool", [], kernel_shape=size, **_window(node))


_WINDOWS: dict[str, Callable[[Any, list[str], dict], list]] = {
    "Conv2D": _convolution,
    "DepthwiseConv2dNative": _convolution,
    "AvgPool": _average,
}
