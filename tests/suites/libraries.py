"""The learning libraries, imported quietly, for a process from which others are forked."""

from baselines.quiet import silence_gym

silence_gym()

import d3rlpy  # noqa: E402, F401
import stable_baselines3  # noqa: E402, F401
