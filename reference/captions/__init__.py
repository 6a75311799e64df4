"""The sentences that MMDA gives the text tower for each class: three sets of them, and the reader of other ones.

A set is a folder beside this file: `extended`, `templates` and `single`, each with `spoof.txt` and `real.txt`.
"""

from pathlib import Path

from data_manifests.errors import BadInput, bytes_of, line_of

CLASSES = ("spoof", "real")  # MMDA's class order: 0, 1
CAPTION_SETS = ("extended", "templates", "single")


def load_captions(source: str | Path) -> list[list[str]]:
    """The captions of each class, [spoof, real].

    `source` is one of the sets kept here (`extended`, `templates`, `single`) or a folder with `spoof.txt` and
    `real.txt`: UTF-8, one caption a line; a byte-order mark, CRLF line ends and empty lines at the end are
    accepted, spaces around a caption dropped.

    Raises `BadInput` with file and line: no such set or folder, a file missing or not UTF-8, no caption in it, an
    empty line between captions, control characters, a caption that stands there twice (upper and lower case alike:
    CLIP's tokenizer sees no difference).
    """
    folder = Path(__file__).parent / source if source in CAPTION_SETS else Path(source)
    if not folder.is_dir():
        raise BadInput(
            f"--captions {source}: neither a set ({', '.join(CAPTION_SETS)}) nor a folder; "
            "name one that holds spoof.txt and real.txt"
        )
    places: dict[str, str] = {}
    return [_captions(folder / f"{name}.txt", places) for name in CLASSES]


def _captions(file: Path, places: dict[str, str]) -> list[str]:
    """The lines of one class; `places` maps each caption read so far, in lower case, to where it stands."""
    content = bytes_of(file, "write the captions there, one a line")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise BadInput(f"{file}, line {line_of(e)}: not UTF-8; save the file with that encoding") from e
    lines = [line.strip() for line in text.replace("\r\n", "\n").rstrip().split("\n")]
    if lines == [""]:
        raise BadInput(f"{file}: holds no caption; write at least one")
    for number, line in enumerate(lines, 1):
        place = f"{file}, line {number}"
        if not line:
            raise BadInput(f"{place}: is empty; delete it or write the caption that is missing")
        if not line.isprintable():
            raise BadInput(f"{place}: has characters that cannot be printed; save the file as plain UTF-8 text")
        key = " ".join(line.lower().split())
        if key in places:
            raise BadInput(f"{place}: {line!r} is there already ({places[key]}); keep one of them")
        places[key] = place
    return lines
