"""Doors and stores."""
