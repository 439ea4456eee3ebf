"""A benchmark with known truth: every method, one command, tables.

    python -m tests.benchmarks.league [--seeds 5] [TASK ...]
    python -m tests.benchmarks.league --smoke      # minutes: four tasks, a network each

Data are generated so that it is known which elements carry the class: images
(`images.py`), tables (`columns.py`), series (`series.py`) and tokens (`tokens.py`).
Small networks (`networks.py`) learn them; those with an accuracy below .85 take no
part. Every method explains the true class of new samples that the network classifies
right (`measure.py`), with its defaults, and some with other options (`entries.py`).
`scores.py` compares |relevance| with the truth, `intervals.py` has the bootstrap over
networks and samples, `agreement.py` finds which metrics order the methods as the truth
does, `planted.py` has networks whose contributions are known in closed form.

Weights and maps are kept in `build/league`, and a run goes on where it stopped. A
method is measured again after a change of its defaults, on which the name of its file
depends; after another change of its code, delete its files. `--tables` writes the
tables of what is there: `docs/tables/league_*.md`.
"""
