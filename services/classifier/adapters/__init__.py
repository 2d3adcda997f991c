"""The classifier's doors, and the tools that its use cases work with."""
