"""emo-harness: does an emotional stimulus change what a language model can do?"""

__version__ = "0.1.0"
