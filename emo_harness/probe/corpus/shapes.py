"""Shapes: what is left of a template when names, nouns, activities and other content are masked.

Templates of one shape say the same thing in the same way about somebody else, so a test on unseen
templates is honest only where their shape is unseen as well. The rule: lower-case; a pronoun of
the third person becomes P; function words, verbs of feeling and becoming, punctuation and the slot
stay; every other word becomes "_"; a run of "_", with the determiners and possessives before it, is
one "_". "The new recipe leaves Jack feeling {} and eager to" is `_ leaves _ feeling {} and _ to`.
"""

from __future__ import annotations

import re

SLOT = "{}"
_WORDS = re.compile(r"\{\}|[\w'-]+|[^\w\s]")
_THIRD_PERSON = "he she they him her them his hers their theirs himself herself themselves"
_PRONOUNS = dict.fromkeys(_THIRD_PERSON.split(), "P") | {"he's": "P's", "she's": "P's"}
_DETERMINERS = frozenset(("a", "an", "the", "this", "that", "these", "those", "its", "P"))
_KEPT_WORDS = """
a an the this that these those its my your our i me you we us it it's there there's
who whom whose which what
am is are was were be been being do does did has have had having
can could will would shall should may might must
isn't aren't wasn't weren't don't doesn't didn't can't couldn't won't wouldn't shouldn't
hasn't haven't hadn't mustn't cannot not never no nor neither nobody nothing none without
and or but so because unless although though while when whenever if then therefore thus hence
once until since before after as than where
in on at of to by for from with into onto over under about during despite through between among
against within around upon off out up down away back like
very so too quite rather really truly deeply extremely incredibly even all at still just again
also ever
feel feels felt feeling make makes made making become becomes became becoming leave leaves left
leaving seem seems seemed look looks looked looking grow grows grew get gets got getting
sound sounds sounded stay stays stayed remain remains remained keep keeps kept turn turns turned
"""
_KEPT = frozenset(_KEPT_WORDS.split())


def shape_of(template: str) -> str:
    """The shape of a template with one slot."""
    shape: list[str] = []
    for word in _WORDS.findall(template.replace("’", "'")):
        masked = _masked(word.lower())
        if masked == "_":
            while shape and (shape[-1] == "_" or shape[-1] in _DETERMINERS):
                shape.pop()
        shape.append(masked)
    return " ".join(shape)


def _masked(word: str) -> str:
    if word == SLOT or not (word[0].isalnum() or word[0] == "_"):
        return word
    return _PRONOUNS.get(word, word if word in _KEPT else "_")
