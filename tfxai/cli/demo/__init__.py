"""Scenes whose right explanation is known, and a network that reads them."""

from tfxai.cli.demo.network import accuracy, network
from tfxai.cli.demo.scenes import Scenes, inside, scenes

__all__ = ["Scenes", "accuracy", "inside", "network", "scenes"]
