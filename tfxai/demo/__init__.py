"""Scenes whose right explanation is known, and a network that reads them."""

from tfxai.demo.network import accuracy, network
from tfxai.demo.scenes import Scenes, inside, scenes

__all__ = ["Scenes", "accuracy", "inside", "network", "scenes"]
