"""Lints: what to mend in a corpus, or to know, before a probe is fitted on it."""

from __future__ import annotations

from emo_harness.probe.corpus import Corpus
from emo_harness.probe.corpus.findings import Finding, in_order
from emo_harness.probe.corpus.template_lints import template_findings
from emo_harness.probe.corpus.token_lints import CountTokens, token_findings
from emo_harness.probe.corpus.word_lints import word_findings


def lint(corpus: Corpus, count_tokens: CountTokens | None = None) -> list[Finding]:
    """All findings, errors first.

    Args:
        count_tokens: a tokenizer's count, for the lints that need one.

    Slots are no matter here: a template without exactly one is refused when it is read.
    """
    findings = [*word_findings(corpus.lists), *template_findings(corpus.templates)]
    if count_tokens is not None:
        findings += token_findings(corpus, count_tokens)
    return in_order(findings)
