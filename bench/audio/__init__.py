"""The bench: what a call costs, here and in other bridges, under the same load on the same machine in one run."""
