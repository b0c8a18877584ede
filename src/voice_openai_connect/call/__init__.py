"""One phone call as a state machine. Pure: no I/O, no clock, no randomness, no asyncio, no logging."""
