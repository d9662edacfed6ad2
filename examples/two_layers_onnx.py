#!/usr/bin/env python3
"""Writes two_layers.onnx, the net that onnx_net.c reads: relu(x A + a) B + b with fixed weights (Debian's python3-onnx)."""
import os

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save

rng = np.random.default_rng(1)
shapes = {"hidden.weight": (4, 3), "hidden.bias": (4,), "logits.weight": (2, 4), "logits.bias": (2,)}
weights = [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), name) for name, s in shapes.items()]
nodes = [helper.make_node("Gemm", ["x", "hidden.weight", "hidden.bias"], ["h"], transB=1),
         helper.make_node("Relu", ["h"], ["r"]),
         helper.make_node("Gemm", ["r", "logits.weight", "logits.bias"], ["z"], transB=1)]
graph = helper.make_graph(nodes, "two layers", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
                          [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 2])], weights)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
checker.check_model(model)
save(model, os.path.join(os.path.dirname(os.path.abspath(__file__)), "two_layers.onnx"))
