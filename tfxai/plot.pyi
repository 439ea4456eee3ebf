from tfxai.viz.plot import *  # noqa: F403
