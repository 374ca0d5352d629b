"""Fixtures that every test file may use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# A busy machine is no failure, so nothing has a deadline; CI draws the same examples every time.
settings.register_profile("pixward", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("pixward")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The optional data folder, ``../shared/data`` beside the checkout or ``$PIXWARD_SHARED``; skips if absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("PIXWARD_SHARED") or default)
    if not folder.is_dir():
        pytest.skip(f"needs the shared data folder: {folder} is missing, set PIXWARD_SHARED to its place")
    return folder


@pytest.fixture(scope="session")
def word_tokenizer() -> Callable[..., Any]:
    """``make(words, edges=True, extra=())``: a tokeniser of ``transformers`` that knows these words and nothing else.

    0 is padding, 1 an unknown word, 2 and 3 begin and end, which texts get if ``edges``; then ``extra``, then words.
    """
    transformers, tokenizers = pytest.importorskip("transformers"), pytest.importorskip("tokenizers")

    def make(words: str, edges: bool = True, extra: tuple[str, ...] = ()) -> Any:
        names = ["<pad>", "<unk>", "<s>", "</s>", *extra, *words.split()]
        made = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: i for i, word in enumerate(names)}, "<unk>"))
        made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
        if edges:
            ends = [("<s>", 2), ("</s>", 3)]
            made.post_processor = tokenizers.processors.TemplateProcessing("<s> $A </s>", special_tokens=ends)
        return transformers.PreTrainedTokenizerFast(
            tokenizer_object=made,
            pad_token="<pad>",
            unk_token="<unk>",
            bos_token="<s>",
            eos_token="</s>",
            cls_token="<s>",
            sep_token="</s>",
            additional_special_tokens=list(extra),
        )

    return make
