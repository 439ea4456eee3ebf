from tfxai.cli.demo import *  # noqa: F403
