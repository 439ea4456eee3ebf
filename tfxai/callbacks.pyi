from tfxai.training.callback import *  # noqa: F403
