"""May a stored answer be served for a question in other words? What was found, and what came of it."""

from enum import StrEnum

import msgspec


class Outcome(StrEnum):
    """HIT: serve it. NEAR: as similar as the route asks, but something speaks against it; never served as it is."""

    HIT = "hit"
    NEAR = "near"
    MISS = "miss"


class Kind(StrEnum):
    """What may speak against an answer. The values are a fixed vocabulary: they go into headers and metrics."""

    LENGTH = "length"
    LANGUAGE = "language"
    NUMBERS = "numbers"
    DATES = "dates"
    UNITS = "units"
    NEGATION = "negation"
    OPPOSITES = "opposites"
    NAMES = "names"
    CODE = "code"
    QUOTES = "quotes"
    SYMBOLS = "symbols"
    ORDER = "order"
    ASKED = "asked"
    WORDS = "words"
    ROLES = "roles"
    RELATIONS = "relations"
    QUANTIFIERS = "quantifiers"
    LIMITS = "limits"
    TENSE = "tense"


class Finding(msgspec.Struct, frozen=True):
    """One thing that speaks against. `question` and `stored` are what stands in each text, for people."""

    kind: Kind
    question: str
    stored: str

    def __str__(self) -> str:
        return f"{self.kind} differ: {self.question or 'none'} / {self.stored or 'none'}"


class Decision(msgspec.Struct, frozen=True):
    """What each step found for one candidate. `similarity` and `threshold` are cosines."""

    outcome: Outcome
    similarity: float
    threshold: float
    findings: tuple[Finding, ...] = ()

    def explain(self) -> str:
        """One line of ASCII without any user's text, fit for a header: `semantic 0.962`, `semantic 0.962 numbers`."""
        against = [finding.kind.value for finding in self.findings]
        if not against and self.outcome is Outcome.MISS:
            against = [f"below {self.threshold:.3f}"]
        return " ".join([f"semantic {self.similarity:.3f}", *against])
