"""Recognises which of the catalogue's classes a request belongs to."""
