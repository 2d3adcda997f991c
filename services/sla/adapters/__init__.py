"""What connects the SLA service to the world."""
