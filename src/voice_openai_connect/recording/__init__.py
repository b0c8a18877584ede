"""A call as a file (JSONL of events and commands, nothing private in it), and its replay."""
