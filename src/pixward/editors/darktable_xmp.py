"""darktable's sidecars: an XMP file whose history lists modules with their packed parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from pixward.errors import PixwardError

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_DARKTABLE = "{http://darktable.sf.net/}"
RAW_ORDER, PICTURE_ORDER = 2, 3
"""``iop_order_version``: the order in which modules run. With a raw file's order on a JPEG, exposure acts on encoded
values. Both came with darktable 3.0 and newer ones take them."""


@dataclass(frozen=True)
class Step:
    """One entry of a history: module, version of its parameters, the packed parameters, and whether it is on."""

    module: str
    version: int
    params: str
    enabled: bool = True


def write_xmp(steps: Sequence[Step], *, raw: bool) -> str:
    """The text of a sidecar.

    The history must not be empty for a raw file: darktable takes that as "never opened" and applies its presets.
    """
    entries = "\n".join(
        f'     <rdf:li darktable:num="{place}" darktable:operation={quoteattr(step.module)} '
        f'darktable:enabled="{int(step.enabled)}" darktable:modversion="{step.version}" '
        f'darktable:params="{step.params}" darktable:multi_name="" darktable:multi_priority="0"/>'
        for place, step in enumerate(steps)
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:darktable="http://darktable.sf.net/"
   darktable:xmp_version="5" darktable:raw_params="0" darktable:auto_presets_applied="1"
   darktable:history_end="{len(steps)}" darktable:iop_order_version="{RAW_ORDER if raw else PICTURE_ORDER}">
   <darktable:history>
    <rdf:Seq>
{entries}
    </rdf:Seq>
   </darktable:history>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""


def read_xmp(text: str) -> list[Step]:
    """The steps of a sidecar that count: for each module the last one below the history's end.

    Raises:
        PixwardError: no sidecar of darktable's.
    """
    try:
        root = ElementTree.fromstring(text.encode())
    except (ElementTree.ParseError, UnicodeError, ValueError) as error:
        raise PixwardError(f"not a sidecar of darktable's: it is no XML ({error})") from error
    about = root.find(f".//{_RDF}Description")
    history = root.find(f".//{_DARKTABLE}history")
    if about is None or history is None:
        raise PixwardError("not a sidecar of darktable's: it holds no history")
    try:
        end = int(about.get(f"{_DARKTABLE}history_end", "1000000"))
        found: dict[tuple[str, str], Step] = {}
        for place, entry in enumerate(history.iter(f"{_RDF}li")):
            values = {name.removeprefix(_DARKTABLE): value for name, value in entry.attrib.items()}
            if int(values.get("num", place)) < end:
                found[values["operation"], values.get("multi_priority", "0")] = _step(values)
    except (KeyError, ValueError) as error:
        raise PixwardError(f"not a sidecar of darktable's: a step of its history lacks {error}") from error
    return list(found.values())


def _step(values: Mapping[str, str]) -> Step:
    return Step(values["operation"], int(values["modversion"]), values["params"], values.get("enabled", "1") == "1")
