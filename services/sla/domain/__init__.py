"""Workdays, clocks and deadlines; the standard library only."""
