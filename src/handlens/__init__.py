"""Handlens: transfer learning for pictures of materials and parts."""

__version__ = "0.1.0"
