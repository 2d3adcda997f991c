"""What the classifier speaks of: texts, classes, answers. Standard library only."""
