"""The other side: one class for each outside service. Each keeps its own timeouts and raises its own errors."""
