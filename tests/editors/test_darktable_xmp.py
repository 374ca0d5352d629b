"""darktable's sidecars as text: ours read back, darktable's own, and what is none."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixward.editors.darktable_xmp import Step, read_xmp, write_xmp
from pixward.errors import PixwardError

STEPS = [Step("exposure", 6, "00ff"), Step("sigmoid", 1, "gz02eJxjYGAAAAADAAE=", False), Step("bilat", 3, "0102")]

# As darktable 4.2 writes it: each change a new entry, an instance of its own, and the history stepped back to 4.
OWN = """<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:darktable="http://darktable.sf.net/"
    xmp:Rating="1" darktable:xmp_version="5" darktable:history_end="4" darktable:iop_order_version="3">
   <darktable:masks_history><rdf:Seq><rdf:li darktable:mask_num="0"/></rdf:Seq></darktable:masks_history>
   <darktable:history>
    <rdf:Seq>
     <rdf:li darktable:num="0" darktable:operation="exposure" darktable:enabled="1" darktable:modversion="6"
       darktable:params="aa" darktable:multi_name="" darktable:multi_priority="0" darktable:blendop_version="11"/>
     <rdf:li darktable:num="1" darktable:operation="sharpen" darktable:enabled="0" darktable:modversion="1"
       darktable:params="bb" darktable:multi_name="" darktable:multi_priority="0"/>
     <rdf:li darktable:num="2" darktable:operation="exposure" darktable:enabled="1" darktable:modversion="6"
       darktable:params="cc" darktable:multi_name="1" darktable:multi_priority="1"/>
     <rdf:li darktable:num="3" darktable:operation="exposure" darktable:enabled="1" darktable:modversion="6"
       darktable:params="dd" darktable:multi_name="" darktable:multi_priority="0"/>
     <rdf:li darktable:num="4" darktable:operation="sharpen" darktable:enabled="1" darktable:modversion="1"
       darktable:params="ee" darktable:multi_name="" darktable:multi_priority="0"/>
    </rdf:Seq>
   </darktable:history>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""


@pytest.mark.parametrize(("raw", "order"), [(True, "2"), (False, "3")])
def test_round_trip(raw, order):
    text = write_xmp(STEPS, raw=raw)
    assert read_xmp(text) == STEPS
    about = next(ElementTree.fromstring(text.encode()).iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"))
    assert about.get("{http://darktable.sf.net/}iop_order_version") == order
    assert about.get("{http://darktable.sf.net/}history_end") == "3"
    assert read_xmp(write_xmp([], raw=raw)) == []


def test_names_are_escaped():
    odd = [Step('a"<&>', 1, "00")]
    assert read_xmp(write_xmp(odd, raw=False)) == odd


def test_darktables_own():
    first, second, third = read_xmp(OWN)
    assert first == Step("exposure", 6, "dd")  # changed at 3
    assert second == Step("sharpen", 1, "bb", False)  # its entry 4 was taken back
    assert third == Step("exposure", 6, "cc")  # another instance


def test_without_an_end_all_entries_count():
    steps = read_xmp(OWN.replace('darktable:history_end="4"', ""))
    assert Step("sharpen", 1, "ee") in steps


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no XML"),
        ("[Exposure]\nCompensation=1\n", "no XML"),
        (OWN[:700], "no XML"),
        ("\udcff", "no XML"),
        ("<a/>", "no history"),
        (OWN.replace("darktable.sf.net", "example.org"), "no history"),
        (OWN.replace('darktable:operation="exposure"', ""), "lacks 'operation'"),
        (OWN.replace('darktable:params="aa"', ""), "lacks 'params'"),
        (OWN.replace('modversion="6"', 'modversion="six"'), "six"),
        (OWN.replace('history_end="4"', 'history_end="end"'), "end"),
    ],
)
def test_not_a_sidecar(text, says):
    with pytest.raises(PixwardError, match=says) as caught:
        read_xmp(text)
    assert "\n" not in str(caught.value)


@given(st.text())
def test_garbage_is_one_clear_error(text):
    with pytest.raises(PixwardError):
        read_xmp(text)
