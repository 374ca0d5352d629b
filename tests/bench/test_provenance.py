from __future__ import annotations

from pathlib import Path

from pixward.bench.provenance import code_digest


def test_digest_follows_meaning_not_words(tmp_path: Path) -> None:
    code = tmp_path / "search.py"
    code.write_text('"""Doc."""\n\ndef f(x):\n    """One."""\n    return x + 1\n')
    first = code_digest(tmp_path)
    code.write_text('"""Other."""\ndef f(x):  # why\n    return (x + 1)\n')
    assert code_digest(tmp_path) == first
    code.write_text("def f(x):\n    return x + 2\n")
    assert code_digest(tmp_path) != first


def test_digest_follows_weights_and_leaves_out_the_page(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "policy.safetensors").write_bytes(b"one")
    first = code_digest(tmp_path)
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "page.py").write_text("x = 1\n")
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "td3.py").write_text("x = 1\n")
    assert code_digest(tmp_path) == first
    (tmp_path / "weights" / "policy.safetensors").write_bytes(b"two")
    assert code_digest(tmp_path) != first
