"""Whole calls in an abstract world, one a seed: every promise holds in each. A red seed is a call to look at."""

from voice_openai_connect.simulator.simulation import DEAD_AIR_MS, simulate

SEEDS = range(120)


def test_every_call_keeps_its_promises() -> None:
    outcomes = [simulate(seed, told=False) for seed in SEEDS]

    broken = [
        f"python -m voice_openai_connect.simulator.simulation --seed {o.seed}: {o.broken}" for o in outcomes if o.broken
    ]
    assert broken == []
    assert max(o.longest_dead_air_ms for o in outcomes) <= DEAD_AIR_MS
    assert {o.how for o in outcomes} == {"dial", "goodbye", "promise", "caller_left"}
