"""Scenes with a known explanation, and a network that classifies them."""

from tfxai.cli.demo.network import accuracy, network
from tfxai.cli.demo.scenes import Scenes, inside, scenes

__all__ = ["Scenes", "accuracy", "inside", "network", "scenes"]
