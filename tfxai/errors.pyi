from tfxai.base.errors import *  # noqa: F403
