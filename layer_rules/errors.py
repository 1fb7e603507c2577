"""What is wrong with a choice of layers or formats."""


class RuleError(ValueError):
    """The message is for a person: the line or layer, the cause and the remedy."""
