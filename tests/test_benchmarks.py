"""The benchmark of peers: the driver with made-up peers, the table, the plain networks.

The peers themselves are not installed here; `python -m tests.benchmarks` does that.
"""

import contextlib
import csv
import json
import re
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from click.testing import CliRunner

import tfxai
from tests.benchmarks import __main__ as command
from tests.benchmarks import growth
from tests.benchmarks.peers import (
    cases,
    drive,
    kerasnet,
    networks,
    ours,
    protocol,
    table,
    venvs,
)
from tests.benchmarks.peers.cases import How
from tests.benchmarks.peers.drive import Row, Turn, Worker
from tests.benchmarks.peers.protocol import Job
from tests.benchmarks.peers.resume import Cell, Results
from tfxai.sampling import regression

#: A peer whose network answers `answer`, and whose maps are `times` the input.
FAKE = """
import os, time
import numpy as np
from tests.benchmarks.peers.protocol import Work, serve

def prepare(job):
    print("a library that prints")
    settings = job.options
    def make():
        if job.how == "fails":
            raise ValueError("no such rule\\nand more")
        if job.how == "dies":
            os.kill(os.getpid(), 9)
        if job.how == "sleeps":
            time.sleep(60)
        return lambda: time.sleep(settings.get("sleep", 0)) or settings["times"] * job.x
    def forward():
        time.sleep(settings.get("forward", 0))
        return np.array([[1.0, settings.get("answer", 2.0)]])
    return Work(forward, make, lambda more: (more["times"] - 2) * job.x)

serve(prepare)
"""


@pytest.fixture
def folder(tmp_path):
    """A network as plain data, of no layers."""
    plan = {"layers": [], "target": [0] * 8, "low": [-1], "high": [1]}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    np.save(tmp_path / "x.npy", np.ones((8, 2, 2, 3), np.float32))
    (tmp_path / "fake.py").write_text(FAKE)
    return tmp_path


def opened(folder, peer, how, limit=30.0, note="", **more):
    """A peer's part of a case."""

    def start():
        fake = [sys.executable, str(folder / "fake.py")]
        return Worker(fake, folder / f"{peer}.log", limit)

    row = Row("net", "case", 2, peer, note=note)
    settings = drive.settings(folder, how, 2, folder / f"{peer}.npy")
    return Turn(row, start, settings, **more)


def test_peers_take_turns_and_failures_keep_their_rows(folder):
    hows = {
        "ours": How("map", {"times": 1.0}),
        "near": How("map", {"times": 1.25}),
        "other": How("map", {"times": 1.0, "answer": 2.1}),
        "fails": How("fails"),
        "dies": How("dies"),
    }
    parts = [opened(folder, peer, how) for peer, how in hows.items()]
    parts.append(opened(folder, "sleeps", How("sleeps"), limit=5.0))
    rows = {r.peer: r for r in drive.turns(parts, rounds=3, least=1, budget=60)}
    assert {p: r.reason for p, r in rows.items()} == {
        "ours": "",
        "near": "",
        "other": "its network has other outputs, by 5e-02",
        "fails": "ValueError: no such rule",
        "dies": "killed by signal 9",
        "sleeps": "no response in 5 s",
    }
    assert rows["near"].difference == pytest.approx(0.25)
    assert rows["near"].outputs == 0
    assert rows["ours"].difference is None
    for peer in ("ours", "near"):
        assert len(rows[peer].explain) == len(rows[peer].forward) == 3
        assert 5 < rows[peer].peak < 2000
    assert all(p.worker is None for p in parts)
    shown = table.markdown(list(rows.values()))
    assert "| killed by signal 9 |" in shown and "| 2e-01 |" in shown


def test_a_budget_ends_the_rounds_of_a_peer_but_never_before_the_least(folder):
    messages = []
    slow = How("map", {"times": 1.0, "sleep": 0.2})
    parts = [
        opened(folder, "ours", How("map", {"times": 1.0}), tell=messages.append),
        opened(folder, "slow", slow, tell=messages.append),
        opened(folder, "slower", How("map", {"times": 1.0, "sleep": 0.5})),
    ]
    rows = drive.turns(parts, rounds=9, least=2, budget=0.5)
    assert [len(r.explain) for r in rows] == [9, 3, 2]
    assert messages[:3] == ["ours: network", "slow: network", "ours: outputs"]
    assert messages[-4:] == [
        *("ours: round 8 of 9", "ours: round 9 of 9"),
        *("ours: comparison", "slow: comparison"),
    ]


def test_what_would_take_hours_is_not_begun_and_says_so(folder):
    wanted = How("map", {"times": 1.0, "forward": 0.1})
    parts = [
        opened(folder, "ours", wanted, passes=1000, limit=60.0),
        opened(folder, "peer", wanted, passes=100, limit=60.0),
    ]
    ours, peer = drive.turns(parts, rounds=1, least=1, budget=60)
    assert ours.first is None and ours.explain == []
    said = r"about (\d+) s a call \(1000 forward passes\): above the limit of 60 s"
    assert 100 <= float(re.fullmatch(said, ours.reason)[1]) < 600
    assert peer.reason == "" and len(peer.explain) == 1


def test_maps_are_compared_with_ours_made_alike(folder):
    parts = [
        opened(folder, "ours", How("map", {"times": 5.0})),
        opened(folder, "left", How("map", {"times": -1.5}, like={"times": 1.0})),
        opened(folder, "size", How("map", {"times": -4.0})),
        opened(folder, "sign", How("map", {"times": 4.0}, absolute=True)),
    ]
    parts.append(
        opened(folder, "both", How("map", {"times": 1.0}, {}, {"times": 1.0}, True))
    )
    rows = drive.turns(parts, rounds=1, least=1, budget=60)
    nothing = [opened(folder, p, How("map", {"times": 0.0})) for p in ("ours", "zero")]
    found = drive.turns(nothing, rounds=1, least=1, budget=60)[1]
    assert (found.difference, found.note) == (0.0, "our relevance is 0 everywhere")
    # against 5; like: -1; 5; |5|; |-1|
    wanted = [None, 0.5, 1.8, 0.2, 0.0]
    for row, value in zip(rows, wanted, strict=True):
        assert row.difference == pytest.approx(value), row.peer
    assert [r.note for r in rows] == ["", *["unexplained difference"] * 3, ""]


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_what_was_freed_does_not_count_as_the_networks():
    code = """
from tests.benchmarks.peers.protocol import forget_peak, peak
kept = [bytearray(60_000) for _ in range(4000)]
last = bytearray(60_000)  # on top of the heap, which shrinks from there alone
before = peak()
del kept
forget_peak()
print(before - peak())
"""
    made = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=drive.ROOT
    )
    assert float(made.stdout) > 200, made.stderr  # of 229 MiB


def test_the_weights_that_peers_are_given_are_ours_and_those_of_lime():
    masks = np.array([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 1, 0]])
    wanted = np.exp(-((1 - np.sqrt([1, 0.5, 0.25])) ** 2) / 0.25**2 / 2)
    np.testing.assert_allclose(protocol.proximity(masks), wanted, rtol=1e-12)
    np.testing.assert_allclose(
        protocol.proximity(masks),
        regression.proximity(masks, "cosine", 0.25),
        rtol=1e-6,
    )


def test_the_table_has_medians_of_ratios_round_by_round(tmp_path):
    ours = Row("net", "z+", 1, "ours", 3.0, [1.0, 2.0, 4.0], [0.5, 0.5, 1.0])
    peer = Row("net", "z+", 1, "peer", 9.0, [3.0, 4.0, 8.0], [0.5, 1.0, 1.0])
    peer.held, peer.peak, peer.difference, peer.outputs = 100.0, 350.0, 2e-6, 3e-7
    alone = Row("net", "z+", 8, "peer", reason="needs | Python 2")
    shown = [*table.filled([ours, peer, alone])]
    assert shown[0][4:10] == ["2", "3", "0.50-2.00", "4.00", "", "3"]
    # 3/1, 4/2, 8/4 of ours; 6, 4, 8 of its own forward passes
    assert shown[1][4:] == [
        *("4", "3", "0.75-2.00", "6.00", "2.00", "9", "350", "250", "2e-06", ""),
    ]
    assert shown[2][4:] == [""] * 9 + ["needs / Python 2"]
    once = Row("net", "z+", 1, "peer", explain=[3.0])
    assert table.filled([once])[0][4:7] == ["3", "1", ""]
    table.write_csv([ours, peer, alone], tmp_path / "all.csv")
    rows = list(csv.DictReader((tmp_path / "all.csv").open()))
    assert rows[1]["explain"] == "3 4 8" and rows[1]["outputs"] == "3e-07"
    assert rows[1]["x ours"] == "2.00" and rows[2]["reason"] == "needs | Python 2"


def test_the_summary_has_a_line_for_each_case():
    ours = Row("A", "z+", 1, "ours", explain=[2.0, 4.0], forward=[1.0, 1.0])
    same = Row("A", "z+", 1, "one", explain=[5.0, 10.0], difference=1e-3)
    apart = Row("A", "z+", 1, "two", explain=[1.0, 2.0], difference=0.02)
    none = Row("A", "w", 8, "two", reason="no such rule")
    slope = Row("A", "gradient", 1, "zennit", explain=[2.0])
    other = Row("B", "gradient", 1, "ours", explain=[2.0], forward=[1.0])
    rows = [none, same, ours, other, apart, slope]
    assert table.summary(rows).splitlines() == [
        "| network | batch | case | ours | zennit | two | one |",
        "| --- | --- | --- | --: | --: | --: | --: |",
        "| A | 1 | gradient |  | - |  |  |",
        "| A | 1 | z+ | 3.00 |  | 0.50* | 2.50 |",
        "| A | 8 | w |  |  | - |  |",
        "| B | 1 | gradient | 2.00 |  |  |  |",
    ]


def test_a_file_of_rows_is_read_as_it_was_written(tmp_path):
    rows = [
        Row("net", "z+", 1, "ours", 3.0, [1.0, 0.25], [0.5, 0.5], 100.0, 350.5),
        Row("net", "z+", 8, "peer", difference=0.0, outputs=3e-7, note="a, b\n| c"),
        Row("net", "A", 8, "peer", reason="why", how='a {"b": 1}', versions="p 1"),
    ]
    rows[2].limit = 60.0
    table.write_csv(rows, tmp_path / "all.csv")
    assert table.read_csv(tmp_path / "all.csv") == rows


def test_a_row_answers_the_same_question_only():
    cell = Cell("peer", "lrp {}", "peer 1", 60.0)
    row = Row("net", "z+", 1, "peer", how="lrp {}", versions="peer 1", limit=10.0)
    assert cell.answered(row)
    for field in ("peer", "how", "versions"):
        assert not cell.answered(replace(row, **{field: "another"}))
    assert not cell.answered(replace(row, reason="no response in 10 s"))
    assert cell.answered(replace(row, reason="no response in 60 s", limit=60.0))


class Benched:
    """A bench that counts what it measures, and can be killed."""

    def __init__(self, versions="p 1", fatal=""):
        self.versions, self.fatal, self.measured = versions, fatal, []

    def cells(self, case, peers):
        """Ours, zennit and captum, of those that are wanted."""
        known = [p for p in ("ours", "zennit", "captum") if p == "ours" or p in peers]
        return [Cell(p, case, self.versions, 60.0) for p in known]

    def compared(self, wanted, cells, tell):
        """A row for each cell."""
        if wanted[1] == self.fatal:
            raise KeyboardInterrupt
        tell("a round")
        self.measured.append((wanted[1], *(c.peer for c in cells)))
        made = [Row(*wanted, c.peer, how=c.how, versions=c.versions) for c in cells]
        return [replace(r, explain=[float(len(self.measured))]) for r in made]


def ran(bench, folder, peers, cases="ABC", again=False):
    """The rows of the file after a run: (case, peer, seconds)."""
    files = Results(folder / "all.csv", folder / "all.md")
    wanted = [("net", case, 1) for case in cases]
    with contextlib.suppress(KeyboardInterrupt):
        command.measure(bench, wanted, peers, files, again)
    rows = table.read_csv(folder / "all.csv")
    shown = (folder / "all.md").read_text()
    assert shown == f"{table.summary(rows)}\n\n{table.markdown(rows)}\n"
    return [(r.case, r.peer, *r.explain) for r in rows]


def test_a_run_that_was_killed_goes_on_where_it_was(tmp_path):
    first, second = Benched(fatal="C"), Benched()
    rows = [("A", "ours", 1.0), ("A", "zennit", 1.0)]
    rows += [("B", "ours", 2.0), ("B", "zennit", 2.0)]
    assert ran(first, tmp_path, ("zennit",)) == rows
    rows += [("C", "ours", 1.0), ("C", "zennit", 1.0)]
    assert ran(second, tmp_path, ("zennit",)) == rows
    assert second.measured == [("C", "ours", "zennit")]
    idle = Benched()
    assert ran(idle, tmp_path, ("zennit",), "CBA") == rows and idle.measured == []


def test_a_case_that_lacks_a_peer_is_measured_as_a_whole(tmp_path):
    ran(Benched(), tmp_path, ("zennit",), "AB")
    more = Benched()
    rows = ran(more, tmp_path, ("captum",), "A")
    assert more.measured == [("A", "ours", "zennit", "captum")]
    assert [r[:2] for r in rows] == [
        *(("A", "ours"), ("A", "zennit"), ("A", "captum")),
        *(("B", "ours"), ("B", "zennit")),
    ]


def test_another_version_or_again_measures_anew(tmp_path):
    ran(Benched(), tmp_path, ("zennit",), "AB")
    newer, again = Benched(versions="p 2"), Benched(versions="p 2")
    ran(newer, tmp_path, ("zennit",), "A")
    assert newer.measured == [("A", "ours", "zennit")]
    rows = ran(again, tmp_path, ("zennit",), "BA", again=True)
    assert again.measured == [("B", "ours", "zennit"), ("A", "ours", "zennit")]
    assert [r[2] for r in rows] == [2.0, 2.0, 1.0, 1.0]


def test_versions_are_those_of_a_peers_own_python():
    peer = venvs.Peer("x", packages=("numpy", "no-such-package"))
    assert venvs.versions(sys.executable, peer) == f"numpy {np.__version__}"
    assert f"tfxai {tfxai.__version__}, keras {keras.__version__}" == venvs.versions(
        sys.executable, venvs.Peer("ours", packages=("keras",))
    )


def test_maps_of_one_channel_are_compared_with_sums():
    b = np.arange(12.0).reshape(1, 2, 2, 3)
    assert drive.distance(b.sum(-1, keepdims=True), b) == 0
    assert drive.distance(1.5 * b, b) == pytest.approx(0.5)
    assert drive.distance(b[:, :1], b) is None


def test_a_peer_that_cannot_be_installed_says_why(tmp_path, monkeypatch):
    with pytest.raises(venvs.Unavailable, match=r"needs Python 2\.0, and there is"):
        venvs.environment("old", venvs.Peer("old", (("a",),), ("2.0",)), tmp_path)
    python = tmp_path / "python"  # `-m venv FOLDER` puts a copy of itself there
    python.write_text(
        '#!/bin/sh\nif [ "$2" = venv ]; then mkdir -p "$3/bin"; cp "$0" "$3/bin/python"'
        '; else echo "ERROR: no $5 for you" >&2; echo again >&2; exit 1; fi\n'
    )
    python.chmod(0o755)
    monkeypatch.setattr(venvs, "interpreter", lambda versions: str(python))
    peer = venvs.Peer("lost", (("lost==9",),))
    with pytest.raises(venvs.Unavailable, match=r"^ERROR: no lost==9 for you$"):
        venvs.environment("lost", peer, tmp_path)
    assert not (tmp_path / "venvs/lost/installed.json").exists()


def test_an_environment_is_made_once_for_each_list(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(venvs, "_run", lambda *c: calls.append(c) or made(tmp_path))
    for installs in ((("a",), ("b",)), (("a",), ("b",)), (("c",),)):
        venvs.environment("p", venvs.Peer("p", installs), tmp_path)
    assert [c[-1] for c in calls] == [
        *(str(tmp_path / "venvs/p"), "a", "b", str(tmp_path / "venvs/p"), "c"),
    ]


def made(tmp_path):
    """What `python -m venv` leaves."""
    (tmp_path / "venvs/p").mkdir(parents=True, exist_ok=True)


def test_the_command_writes_the_reasons(folder, monkeypatch):
    place = folder / "networks/VGG16"
    place.mkdir(parents=True)
    for name in ("plan.json", "x.npy"):
        (place / name).write_bytes((folder / name).read_bytes())
    monkeypatch.setattr(venvs, "PEERS", dict.fromkeys(venvs.PEERS, venvs.Peer("x")))
    why = "ERROR: No matching distribution"
    monkeypatch.setattr(command, "tried", lambda peer, folder: ("", "", why))
    arguments = ["--venvs", folder, "--network", "VGG16", "--case", "z+", "--batch", 1]
    arguments += ["--markdown", folder / "all.md", "--peer", "innvestigate"]
    arguments += ["--csv", folder / "all.csv"]
    done = CliRunner().invoke(command.main, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    rows = [s for s in (folder / "all.md").read_text().splitlines() if why in s]
    assert len(rows) == 2 and "| innvestigate |" in rows[1]
    assert len(table.read_csv(folder / "all.csv")) == 2
    found = csv.DictReader((folder / "all.csv").open())
    assert [r["limit"] for r in found] == ["900", "900"]


def test_every_case_names_peers_that_there_are():
    for case, row in cases.CASES.items():
        assert next(iter(row)) == "ours", case
        assert set(row) <= set(venvs.PEERS), case
    assert set(venvs.PEERS) == {p for row in cases.CASES.values() for p in row}
    assert sorted(c for part in cases.PARTS.values() for c in part) == sorted(
        cases.CASES
    )
    assert str(cases.CASES["LEG 1000"]["ours"]) == (
        'leg {"scale": "probability", "n_samples": 1000}'
    )
    apart = cases.CASES["alpha2beta1"]["innvestigate"]
    assert apart.reason("SqueezeNet") == cases.BIAS and apart.reason("VGG16") == ""


def test_slopes_and_the_table_of_growth():
    n = growth.AXES["batch"].points
    made = {"lrp": [(0.5 * v, 100.0 * v**0.5) for v in n]}
    shown = growth.shown("batch", made).splitlines()
    assert shown[2] == "| lrp | s | 0.5 | 1 | 2 | 4 | 8 | 16 | 1.00 |"
    assert shown[3] == "| lrp | + MiB | 100 | 141 | 200 | 283 | 400 | 566 | 0.50 |"
    assert growth.slope((1, 10), [float("nan"), 3.0]) != growth.slope((1, 10), [3, 3])
    assert growth.slope((1, 10, 100), [2.0, float("nan"), 200.0]) == pytest.approx(1.0)


def little():
    """A network with all that a plan can say of fused, shared and joined layers."""
    L = keras.layers
    x = keras.Input((9, 9, 3))
    y = L.ZeroPadding2D(((0, 1), (0, 1)))(x)
    y = L.Conv2D(4, 3, strides=2, use_bias=False)(y)
    y = L.ReLU(6.0)(L.BatchNormalization()(y))
    z = L.Activation("relu")(L.DepthwiseConv2D(3, padding="same")(y))
    z = L.Concatenate()([L.Add()([y, z]), L.Conv2D(2, 1, activation="relu")(y)])
    z = L.Dropout(0.5)(L.MaxPooling2D(2, padding="same")(z))
    z = L.Dense(5, activation="relu")(L.Flatten()(z))
    return keras.Model(x, L.Dense(3, activation="softmax")(z))


def test_a_network_survives_as_plain_data(tmp_path, monkeypatch):
    keras.utils.set_random_seed(0)
    model = little()
    rng = np.random.default_rng(0)
    for w in model.weights:
        w.assign(rng.uniform(0.2, 1.0, w.shape) - (0.6 if "kernel" in w.name else 0.0))
    x = rng.uniform(-1, 1, (8, 9, 9, 3)).astype("float32")
    ends = ([-1.0] * 3, [1.0] * 3)
    monkeypatch.setattr(networks, "chosen", lambda *a: (model, x, *ends))
    networks.write("little", tmp_path, tmp_path)
    job = Job(
        {"network": tmp_path, "how": "gradient", "batch": 8, "maps": tmp_path / "m"}
    )
    logits = kerasnet.forward(kerasnet.network(job), job.x)()
    outputs = model.predict(x, verbose=0)
    np.testing.assert_allclose(keras.ops.softmax(logits), outputs, rtol=2e-4, atol=1e-6)
    assert job.target.tolist() == outputs.argmax(-1).tolist()
    kinds = [r["kind"] for r in job.plan["layers"]]
    assert kinds.count("ReLU") == 4 and "Dropout" not in kinds
    assert np.ptp(logits) > 1e-3
    fused = kerasnet.network(job, fused=True)
    np.testing.assert_allclose(
        kerasnet.forward(fused, job.x)(), logits, rtol=1e-4, atol=1e-5
    )
    kernels = [r["name"] for r in job.plan["layers"] if r["kind"] in kerasnet.KERNELS]
    own = kerasnet.with_relu(job.plan["layers"])
    assert own == set(kernels[1:3])  # the second convolution, the first dense layer
    assert [fused.get_layer(n).activation.__name__ for n in kernels] == [
        *("linear", "relu", "relu", "linear"),
    ]
    assert ours.innvestigate_rules(job) == {kernels[-1]: "w_square"}
