"""The operations of a SavedModel, checked before TensorFlow loads it.

A graph can read and write files, open connections and call Python. Loading already runs
initialisers, so that the file `saved_model.pb` is read without TensorFlow's loader.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from tfxai.base.errors import ModelError

#: Operations on files, the network and Python, by full name.
FORBIDDEN = re.compile(
    "|".join(
        [
            r"\w*PyFunc\w*",
            r"ReadFile|WriteFile|\w*MatchingFiles(Dataset)?|RecordInput",
            r"\w*Reader(V\d)?|Reader\w+|FileSystemSetConfiguration",
            r"(Experimental)?(TFRecord|TextLine|FixedLengthRecord|CSV|LMDB|Sql|Cache|Load"
            r"|Save|DataService|Snapshot|SnapshotChunk|ListSnapshotChunks)Dataset(V\d)?",
            r"\w*DatasetToTFRecord|DistributedSave|RegisterDataset(V\d)?",
            r"Save(Slices|V2)?|Restore(Slice|V2)?|MergeV2Checkpoints",
            r"LoadAndRemapMatrix|GenerateVocabRemapping|FixedUnigramCandidateSampler",
            r"InitializeTableFromTextFile(V2)?",
            r"Debug(Identity|NanCount|NumericSummary)\w*|(Experimental)?Stats\w*Summary\w*",
            r"CreateSummary\w*|Write\w*Summary|SummaryWriter|\w+SummaryWriter",
            r"_?(Host)?(Send|Recv)|Collective\w+|Nccl\w+|\w*Rpc\w*",
        ]
    )
)
#: Operations with which every SavedModel saves and restores its variables.
SAVER = {"SaveV2", "RestoreV2", "MergeV2Checkpoints"}
#: Where tf.print may write; other streams are files.
STREAMS = {b"", b"stderr", b"stdout", b"log(info)", b"log(warning)", b"log(error)"}


def check(folder: Path) -> None:
    """Raise ModelError if loading or calling a SavedModel could run such operations.

    Args:
        folder: The folder of the SavedModel.

    Raises:
        ModelError: The graph has operations on files, the network or Python; or it
            cannot be read.
    """
    found: set[str] = set()
    for graph in _read(folder).meta_graphs:
        found |= set(_forbidden(graph))
        names = [PurePosixPath(a.filename) for a in graph.asset_file_def]
        found |= {f"asset {n}" for n in names if n.is_absolute() or ".." in n.parts}
    if found:
        raise ModelError(
            f"The SavedModel {str(folder)!r} has operations on files, the network or "
            f"Python: {', '.join(sorted(found))}.",
            "a graph without them, or one from a source that you trust",
            "--unsafe (in Python: from tfxai.io import networks, and then "
            "networks.load(path, safe_mode=False))",
        )


def _read(folder: Path) -> Any:
    """Return the protocol buffer that TensorFlow would load."""
    from google.protobuf import text_format
    from tensorflow.core.protobuf import saved_model_pb2

    binary, text = folder / "saved_model.pb", folder / "saved_model.pbtxt"
    try:
        if binary.is_file():
            return saved_model_pb2.SavedModel.FromString(binary.read_bytes())
        content = text.read_text(encoding="utf-8")
        return text_format.Parse(content, saved_model_pb2.SavedModel())
    except Exception as error:  # protobuf documents no exception type
        raise ModelError(
            f"The folder {str(folder)!r} contains no SavedModel: {error}",
            "a folder that model.export wrote, with saved_model.pb",
            'model.export("folder")',
        ) from error


def _forbidden(graph: Any) -> Iterator[str]:
    """Yield the forbidden operations of a graph.

    Those of `SAVER` are allowed where only the saver of the graph runs them.
    """
    functions = {f.signature.name: f.node_def for f in graph.graph_def.library.function}
    main, private = _saver_parts(graph, functions)
    for name, nodes in functions.items():
        allowed = SAVER if name in private else set()
        yield from (n for n in _operations(nodes) if n not in allowed)
    for node in graph.graph_def.node:
        allowed = SAVER if node.name in main else set()
        yield from (n for n in _operations([node]) if n not in allowed)


def _operations(nodes: Iterable[Any]) -> Iterator[str]:
    """Yield the names of the forbidden operations among some nodes."""
    for node in nodes:
        if FORBIDDEN.fullmatch(node.op):
            yield node.op
        if node.op == "PrintV2" and node.attr["output_stream"].s not in STREAMS:
            yield f"PrintV2 to {node.attr['output_stream'].s.decode(errors='replace')}"


def _saver_parts(graph: Any, functions: Any) -> tuple[set[str], set[str]]:
    """Return the nodes and the functions that only the saver of a graph runs."""
    nodes = {n.name: n for n in graph.graph_def.node}
    saver = graph.saver_def
    ends = {saver.save_tensor_name, saver.restore_op_name}
    starts = {
        tensor.name
        for signature in graph.signature_def.values()
        for tensor in (*signature.outputs.values(), *signature.inputs.values())
    }
    for collection in graph.collection_def.values():  # initialisers among them
        starts.update(collection.node_list.value)
    run = _ancestors(nodes, starts)
    main = {n for n in nodes if n not in run}
    calls = Counter(
        called
        for body in (*functions.values(), [nodes[n] for n in nodes if n in run])
        for node in body
        for called in _called(node, functions)
    )
    calls.update(graph.object_graph_def.concrete_functions.keys())
    for gradient in graph.graph_def.library.gradient:
        calls.update((gradient.function_name, gradient.gradient_func))
    ours = {_node(n) for n in ends if n}
    private = {
        called
        for name in ours & main
        if name in nodes
        for called in _called(nodes[name], functions)
    }
    return main, {name for name in private if not calls[name]}


def _ancestors(nodes: dict[str, Any], tensors: Iterable[str]) -> set[str]:
    """Return the names of the nodes that some tensors depend on."""
    found, left = set(), [_node(t) for t in tensors]
    while left:
        name = left.pop()
        if name in nodes and name not in found:
            found.add(name)
            left += [_node(i) for i in nodes[name].input]
    return found


def _node(tensor: str) -> str:
    """Return the name of the node of a tensor or of a control input."""
    return tensor.lstrip("^").partition(":")[0]


def _called(node: Any, functions: Any) -> Iterator[str]:
    """Yield the names of the functions that a node calls or names."""
    if node.op in functions:
        yield node.op
    for value in node.attr.values():
        texts = [value.func.name, *(f.name for f in value.list.func)]
        texts += [s.decode(errors="replace") for s in (value.s, *value.list.s)]
        yield from (t for t in texts if t in functions)
