"""Times that are not exact, as text."""

UNITS = ((3600, "hour"), (60, "minute"), (1, "second"))


def about(seconds: float) -> str:
    """As "about 20 seconds", "about 5 minutes": whole numbers, from one and a half of a unit on in that unit."""
    size, name = next((unit for unit in UNITS if seconds >= 1.5 * unit[0]), UNITS[-1])
    count = max(round(seconds / size), 1)
    return f"about {count} {name}{'s' * (count > 1)}"
