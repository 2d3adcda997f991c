"""What a dispatch is and how a unit is chosen. Standard library only."""
