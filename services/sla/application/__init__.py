"""Use cases of the SLA service, one a file."""
