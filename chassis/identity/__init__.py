"""Who callers are: bearer tokens, stored hashed, in a schema of their own that services may only read."""
