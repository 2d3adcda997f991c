"""Use cases of the classifier, one a file."""
