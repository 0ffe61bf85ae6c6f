"""Graphs of calls, made by `.bind()`: run as ordinary calls, or compiled to channels in shared memory."""

from __future__ import annotations

from shoal.dag.compiled import CompiledDAG, CompiledDAGFuture, CompiledDAGRef, build_compiled_dag
from shoal.dag.context import DAGContext
from shoal.dag.failures import (
    CapacityExceeded,
    ChannelClosed,
    ChannelError,
    ChannelTimeout,
    GraphError,
    ValueTooLarge,
)
from shoal.dag.inputs import InputAttributeNode, InputNode
from shoal.dag.node import DAGInputData, DAGNode
from shoal.dag.nodes import (
    BIND_INDEX_KEY,
    COLLECTIVE_OPERATION_KEY,
    DAGNODE_TYPE_KEY,
    IS_CLASS_METHOD_OUTPUT_KEY,
    PARENT_CLASS_NODE_KEY,
    PREV_CLASS_METHOD_CALL_KEY,
    ClassMethodNode,
    ClassNode,
    FunctionNode,
    MultiOutputNode,
)
from shoal.dag.tensors import TorchTensorType
from shoal.dag.visualize import plot

__all__ = [
    "BIND_INDEX_KEY",
    "COLLECTIVE_OPERATION_KEY",
    "DAGNODE_TYPE_KEY",
    "IS_CLASS_METHOD_OUTPUT_KEY",
    "PARENT_CLASS_NODE_KEY",
    "PREV_CLASS_METHOD_CALL_KEY",
    "CapacityExceeded",
    "ChannelClosed",
    "ChannelError",
    "ChannelTimeout",
    "ClassMethodNode",
    "ClassNode",
    "CompiledDAG",
    "CompiledDAGFuture",
    "CompiledDAGRef",
    "DAGContext",
    "DAGInputData",
    "DAGNode",
    "FunctionNode",
    "GraphError",
    "InputAttributeNode",
    "InputNode",
    "MultiOutputNode",
    "TorchTensorType",
    "ValueTooLarge",
    "build_compiled_dag",
    "plot",
]
