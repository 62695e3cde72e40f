"""How the letters of a text may have been written, and how a word that was read in one way reads in another."""

ENCODINGS = {
    "utf-8": "utf-8-sig",
    "cp1252": "cp1252",
    "latin-1": "latin-1",
    "cp850": "cp850",
    "mac-roman": "mac-roman",
    "utf-16": "utf-16",
}
"""What a person may say of the letters of a file, and the codec that reads them so."""


def as_read_in(word: str, codec: str, told: str) -> str | None:
    """How a word that was read by one codec reads in another encoding; None where its bytes are no letters there."""
    try:
        return word.encode(_without_mark(codec)).decode(_without_mark(told))
    except UnicodeError:
        return None


def _without_mark(codec: str) -> str:
    """The codec of a word from the middle of a file."""
    return "utf-16-le" if codec == "utf-16" else codec.removesuffix("-sig")
