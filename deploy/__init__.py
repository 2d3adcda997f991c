"""What runs the system: local parts, images, manifests, dashboards and alert rules."""
