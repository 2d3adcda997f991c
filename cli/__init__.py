"""The `paidan` command."""
