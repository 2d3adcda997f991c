"""Counts the time that a ticket may take, and says when it comes near and when it is over."""
