"""Pictures of graphs: as text, and for Graphviz."""

from __future__ import annotations

import os
import shutil
import subprocess
import webbrowser

from shoal.dag.inputs import InputAttributeNode
from shoal.dag.node import DAGNode
from shoal.errors import ConfigError

_DRAW_SECONDS = 60


def as_text(root: DAGNode) -> str:
    """Return a line for each node, in the order in which they run, with the numbers of those it needs."""
    order = root.all_nodes()
    numbers = {node: number for number, node in enumerate(order)}
    lines = []
    for node, number in numbers.items():
        needs = ", ".join(str(numbers[other]) for other in node.upstream_nodes)
        hint = f"  tensors: {node.type_hint.transport}" if node.type_hint is not None else ""
        lines.append(f"{number}: {node.step_label}" + (f" <- {needs}" if needs else "") + hint)
    return "\n".join(lines)


def as_dot(root: DAGNode, channel_details: bool = False) -> str:
    """Return the graph in Graphviz's language."""
    order = root.all_nodes()
    numbers = {node: number for number, node in enumerate(order)}
    lines = ["digraph compiled {", "  rankdir=LR;"]
    for node, number in numbers.items():
        shape = "box" if node.upstream_nodes else "ellipse"
        lines.append(f'  n{number} [shape={shape}, label="{_escaped(node.step_label)}"];')
    for node, number in numbers.items():
        for other in node.upstream_nodes:
            label = f' [label="{_carrier(other, node)}"]' if channel_details else ""
            lines.append(f"  n{numbers[other]} -> n{number}{label};")
    return "\n".join([*lines, "}", ""])


def _carrier(source: DAGNode, reader: DAGNode) -> str:
    if isinstance(reader, InputAttributeNode):
        return "part"
    if getattr(source, "actor", None) is not None and getattr(reader, "actor", None) == source.actor:  # type: ignore[attr-defined]
        return "same actor"
    return "channel" if source.type_hint is None else f"channel, tensors: {source.type_hint.transport}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def render(source: str, filename: str, kind: str, view: bool) -> str:
    """Write the picture to `filename.kind` and return that path. Raises ConfigError if Graphviz is not installed."""
    path = f"{filename}.{kind}"
    if kind == "dot":
        with open(path, "w", encoding="utf-8") as file:
            file.write(source)
    else:
        program = shutil.which("dot")
        if program is None:
            raise ConfigError(
                f"a picture in {kind!r} needs Graphviz's program dot, which is not installed; the formats 'ascii' "
                "and 'dot' need nothing"
            )
        try:
            subprocess.run(
                [program, f"-T{kind}", "-o", path],
                input=source.encode(),
                check=True,
                capture_output=True,
                timeout=_DRAW_SECONDS,
            )
        except subprocess.CalledProcessError as error:
            raise ConfigError(
                f"dot draws no {kind!r}: {error.stderr.decode(errors='replace').strip()}"
            ) from None
    if view:
        webbrowser.open(f"file://{os.path.abspath(path)}")
    return path


def plot(dag: DAGNode, to_file: str | None = None) -> str:
    """Draw a graph that is not compiled into a file whose ending says the format; without one return it as text.

    Raises ConfigError if the format needs Graphviz and it is not installed.
    """
    if to_file is None:
        return as_text(dag)
    name, _, kind = to_file.rpartition(".")
    return render(as_dot(dag), name or to_file, kind if name else "png", False)
