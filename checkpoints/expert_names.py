"""How the two experts of Wan 2.2 A14B are told apart: by names, for their tensors are the same."""

import re

HIGH, LOW = "high", "low"

# LightX2V's folder layout
SUBFOLDERS = {HIGH: "high_noise_model", LOW: "low_noise_model"}

# a word of its own in a file's name: wan2.2_i2v_A14b_high_noise_int8, Wan2_2-T2V-A14B_HIGH_fp8, HighNoise
WORD = re.compile(r"(?<![a-z])(?:high|low)(?=noise|[^a-z]|$)", re.IGNORECASE)

# names that can mean nothing else
WITH_NOISE = re.compile(r"(?<![a-z])(?:high|low)[ _-]?noise", re.IGNORECASE)


def expert_of(path: str) -> str | None:
    """HIGH or LOW if the last part of a path that names one names just one, else None."""
    for part in reversed(path.replace("\\", "/").split("/")):
        found = {word.lower() for word in WORD.findall(part)}
        if found:
            return found.pop() if len(found) == 1 else None
    return None


def counterpart(path: str) -> str | None:
    """The path with the other expert's name in the place of this one's, in the same case; None if it names none."""
    expert = expert_of(path)
    if expert is None:
        return None
    other = {HIGH: LOW, LOW: HIGH}[expert]

    def swapped(match: re.Match) -> str:
        word = match[0]
        return other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other

    return WORD.sub(swapped, path)
