"""Business rules that several services share. Imports the standard library only, so that every domain may import it (ADR 25)."""
