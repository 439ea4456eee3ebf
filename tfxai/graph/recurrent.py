"""How layers that loop are opened: step by step, or all steps at once."""

from typing import Any

import keras

from tfxai.graph.kinds import L, opening, unsupported

ops = keras.ops


@opening(L.RNN, L.SimpleRNN, L.LSTM, L.GRU, L.ConvLSTM1D, L.ConvLSTM2D, L.ConvLSTM3D)
def _recurrent(layer, sequences, initial_state=None, mask=None, training=False):
    """One call of the cell for every step of the sequence (B, steps, ...)."""
    length = sequences.shape[1]
    if length is None or layer.stateful:
        why = "of unknown length" if length is None else "with a state kept for later"
        raise unsupported(layer, layer.name, f"for a sequence {why}")
    cell = layer.cell
    states = list(initial_state) if initial_state is not None else _start(layer)
    y: Any = None
    made = []
    for t in range(length)[:: -1 if layer.go_backwards else 1]:
        new, moved = cell.call(sequences[:, t], states)
        moved = keras.tree.flatten(moved)
        if mask is not None:
            here = ops.reshape(mask[:, t], (-1, *[1] * (len(new.shape) - 1)))
            new = ops.where(here, new, 0.0 if y is None else y)
            pairs = zip(moved, keras.tree.flatten(states), strict=True)
            moved = [ops.where(here, a, b) for a, b in pairs]
            zeros = layer.return_sequences and layer.zero_output_for_mask
        y, states = new, keras.tree.pack_sequence_as(states, moved)
        made.append(ops.where(here, y, 0.0) if mask is not None and zeros else y)
    output = ops.stack(made, 1) if layer.return_sequences else y
    return (output, *keras.tree.flatten(states)) if layer.return_state else output


def _start(layer: Any) -> list:
    state = layer.get_initial_state(batch_size=1)
    return state if isinstance(state, list) else [state]


@opening(L.Bidirectional)
def _both_ways(layer, sequences, initial_state=None, mask=None, training=False):
    half = len(initial_state) // 2 if initial_state is not None else 0
    given = (initial_state[:half], initial_state[half:]) if half else (None, None)
    pairs = zip((layer.forward_layer, layer.backward_layer), given, strict=True)
    ways = [f(sequences, initial_state=s, mask=mask) for f, s in pairs]
    states: tuple = ()
    if layer.return_state:
        states = tuple(s for w in ways for s in w[1:])
        ways = [w[0] for w in ways]
    there, back = ways
    if layer.return_sequences:
        back = ops.flip(back, 1)
    merged = {
        "concat": lambda: (ops.concatenate([there, back], -1),),
        "sum": lambda: (there + back,),
        "ave": lambda: ((there + back) / 2,),
        "mul": lambda: (there * back,),
        None: lambda: (there, back),
    }[layer.merge_mode]()
    outputs = (*merged, *states)
    return outputs if len(outputs) > 1 else outputs[0]


@opening(L.TimeDistributed)
def _each_step(layer, inputs, training=False, mask=None):
    """The layer on all steps as one batch."""
    length = inputs.shape[1]
    if length is None:
        raise unsupported(layer, layer.name, "for a sequence of unknown length")
    made = layer.layer(ops.reshape(inputs, (-1, *inputs.shape[2:])))
    return ops.reshape(made, (-1, length, *made.shape[1:]))
