"""What the four services share and no business noun names: clock, lifecycle, doors, topics, outbox and inbox, logs, metrics."""
