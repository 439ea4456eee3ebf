"""The worker of tfxai."""

import keras
import numpy as np

import tfxai
from tests.benchmarks.peers.kerasnet import KERNELS, forward, network, with_relu
from tests.benchmarks.peers.protocol import Job, Work, serve


def prepare(job: Job) -> Work:
    """Return the work of the analyzer `job.how`, or of an entry of `OTHERS`."""
    grow(job)
    model = network(job)
    options = dict(job.options)
    if "low" in options:
        options |= {"low": job.low, "high": job.high}
    explained = model
    if "probability" in (options.get("scale"), options.get("output")):
        explained = keras.Model(model.input, keras.ops.softmax(model.output))
    if options.get("segmenter") == "given":
        options["segmenter"] = job.segments

    def make(**more):
        if job.how in OTHERS:
            return OTHERS[job.how](explained, job, **options)
        analyzer = tfxai.create_analyzer(job.how, explained, **{**options, **more})
        return lambda: np.asarray(analyzer.analyze(job.x, job.target))

    def like(more: dict) -> np.ndarray:
        if more.get("rules") == "innvestigate":
            more = {**more, "rules": innvestigate_rules(job)}
        return make(**more)()

    return Work(forward(model, job.x), make, like)


def innvestigate_rules(job: Job) -> dict[str, str]:
    """Return the rules of iNNvestigate's deep Taylor that differ from ours."""
    kinds = {r["kind"] for r in job.plan["layers"]}
    own = with_relu(job.plan["layers"])
    kernels = [r["name"] for r in job.plan["layers"] if r["kind"] in KERNELS]
    rules = {
        n: "w_square" for n in kernels[1:] if n not in own
    }  # the first has its box
    if "GlobalAveragePooling2D" in kinds:
        rules["average"] = "gradient"
    return rules


def grow(job: Job) -> None:
    """Apply the changes of `growth`: the image side, the number of targets."""
    if "side" in job.settings:
        side = job.settings["side"]
        numbers = np.arange(side) % job.x.shape[1]  # repeats the image
        job.x = np.ascontiguousarray(job.x[:, numbers][:, :, numbers])
        job.plan["shape"] = [side, side, job.x.shape[-1]]
    if "targets" in job.settings:
        job.target = np.tile(np.arange(job.settings["targets"]), (len(job.x), 1))


def deletion(model, job: Job, **options):
    """Return the mean area under the deletion curves of random heatmaps."""
    from tfxai.metrics.registry import compute

    wrapped = tfxai.wrap(model)
    score = wrapped.scores(job.x, job.target)
    known = tfxai.Explanation(job.noise[..., None], job.target, score, "noise", job.x)
    return lambda: np.mean(
        compute("deletion", wrapped, known, **options), keepdims=True
    )


def leg_tv_solve(model, job: Job):
    """LEG-TV's program alone, of the maps that the peer solves for."""
    from tests.benchmarks.leg_tv import LAMBDA
    from tests.benchmarks.peers.leg import SIDE, SOLVER, field
    from tfxai.sampling.leg.grid import Grid
    from tfxai.sampling.leg.total_variation import least_variation

    grid = Grid((SIDE, SIDE))

    def run() -> np.ndarray:
        fields = field(len(job.x))
        maps = [least_variation(v, grid, LAMBDA, SOLVER).relevance for v in fields]
        return np.stack(maps)[..., None]

    return run


#: What is no analyzer.
OTHERS = {"deletion": deletion, "leg_tv_solve": leg_tv_solve}


if __name__ == "__main__":
    serve(prepare)
