"""The dispatcher: chooses the unit that leads, pushes the ticket to it, and keeps the one-minute promise."""
