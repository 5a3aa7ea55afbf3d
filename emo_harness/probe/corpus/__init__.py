"""The corpus of probes: adjectives in sentence templates, their lints, and human norms."""

from emo_harness.probe.corpus.corpus import Corpus, load_corpus

__all__ = ["Corpus", "load_corpus"]
