from tfxai.core.target_functions import *  # noqa: F403
