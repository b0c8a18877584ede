"""Faults by chance, from a seed: each kind strikes its share of the occasions, and is counted."""

import random
from collections import Counter
from typing import Literal

Kind = Literal[
    "model_refuses",
    "model_drops",
    "model_closes",
    "model_fails",
    "model_stalls",
    "socket_reset",
    "crm_500",
    "dynamo_throttled",
]


class Trouble:
    """`strikes` is asked at every occasion. `injected` is what happened."""

    def __init__(self, share: float = 0.0, seed: int = 1) -> None:
        self.share = share
        self.injected: Counter[Kind] = Counter()
        self._random = random.Random(seed)

    def strikes(self, *kinds: Kind) -> Kind | None:
        """One of the kinds, or None most of the time."""
        if self._random.random() >= self.share:
            return None
        kind = self._random.choice(kinds)
        self.injected[kind] += 1
        return kind
