"""What the classifier refuses."""

from __future__ import annotations


class ClassifierError(Exception):
    """Base of the classifier's refusals; nothing was changed."""


class InvalidFieldError(ClassifierError):
    """A field of a command is missing or out of range.

    Attributes:
        field: Path of the field, e.g. `texts[3]`.
        description: What is wrong and what is allowed.
    """

    def __init__(self, field: str, description: str) -> None:
        super().__init__(f"{field}: {description}")
        self.field = field
        self.description = description


class NoModelError(ClassifierError):
    """No model is loaded yet."""


class ModelDamagedError(ClassifierError):
    """A model folder is not what its card says: it must not be served.

    Attributes:
        path: The folder.
        problem: What is wrong.
    """

    text_is_public = True

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem
