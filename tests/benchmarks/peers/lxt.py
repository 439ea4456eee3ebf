"""The worker of LXT: the league's network of attention, written with its functions."""

import numpy as np
import torch
from lxt.explicit import functional as lf
from lxt.explicit import rules
from torch import nn

from tests.benchmarks.peers.protocol import Job, Work, serve

#: The epsilon of Keras' layer normalisation.
NORM = 1e-3


class Attention(nn.Module):
    """Two blocks of attention and dense layers, from the arrays of a plan's layers."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.of: dict[str, list] = {}
        for row in job.plan["layers"]:
            arrays = [torch.from_numpy(a) for a in job.weights(row["name"])]
            self.of.setdefault(row["kind"], []).append(arrays)
        self.table = self.of["Embedding"][0][0]

    def embedded(self, ids: torch.Tensor) -> torch.Tensor:
        """Token ids (B, T) -> embeddings (B, T, D)."""
        return self.table[ids]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Embeddings -> logits (B, classes)."""
        norms, dense = iter(self.of["LayerNormalization"]), iter(self.of["Dense"])
        x = lf.add2(x, self.of["Positions"][0][0].expand_as(x))
        for block in self.of["MultiHeadAttention"]:
            x = lf.add2(x, attended(norm(x, next(norms)), block))
            y = linear(norm(x, next(norms)), next(dense))
            y = rules.identity(nn.functional.gelu, y)
            x = lf.add2(x, linear(y, next(dense)))
        x = lf.mean(norm(x, next(norms)), 1, False)
        return linear(x, next(dense))


def norm(x: torch.Tensor, weights: list) -> torch.Tensor:
    """A layer normalisation."""
    return lf.layer_norm(x, *weights, NORM)


def linear(x: torch.Tensor, weights: list) -> torch.Tensor:
    """A dense layer of Keras: kernel (in, out), bias."""
    return lf.linear_epsilon(x, weights[0].T.contiguous(), weights[1])


def attended(x: torch.Tensor, weights: list) -> torch.Tensor:
    """Attention of all tokens to all, with kernels (D, heads, size)."""
    d, heads, size = weights[0].shape

    def part(i: int) -> torch.Tensor:
        """(B, heads, T, size)."""
        kernel = weights[i].reshape(d, heads * size)
        y = linear(x, [kernel, weights[i + 1].reshape(-1)])
        return y.unflatten(-1, (heads, size)).transpose(1, 2)

    query, key, value = part(0), part(2), part(4)
    logits = lf.matmul(query, key.transpose(-1, -2))
    shares = lf.softmax(logits, -1, temperature=float(np.sqrt(size)))
    y = lf.matmul(shares, value).transpose(1, 2).flatten(2)
    return linear(y, [weights[6].reshape(heads * size, -1), weights[7]])


def prepare(job: Job) -> Work:
    """Return AttnLRP of the tokens; the relevance of an embedding is added up."""
    net, ids = Attention(job), torch.from_numpy(job.x).long()

    def forward() -> np.ndarray:
        with torch.no_grad():
            return net(net.embedded(ids)).numpy()

    def make():
        def run() -> np.ndarray:
            x = net.embedded(ids).requires_grad_()
            logits = net(x)
            rows = np.arange(len(ids))
            chosen = logits[rows, torch.from_numpy(job.target)]
            (relevance,) = torch.autograd.grad(chosen, x, chosen.detach())
            return relevance.sum(-1, keepdim=True).numpy()

        return run

    return Work(forward, make)


if __name__ == "__main__":
    serve(prepare)
