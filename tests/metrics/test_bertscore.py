from __future__ import annotations

import pytest
import torch

from pixward.errors import PixwardError
from pixward.metrics.bertscore import BertScore

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, word_tokenizer):
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=11, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    path = tmp_path_factory.mktemp("bert")
    transformers.BertModel(config).save_pretrained(path)
    word_tokenizer("a red star on grass blue sky").save_pretrained(path)
    return path


CANDIDATES = ["a red star", "blue", "grass on star a star"]
REFERENCES = ["a red star on grass", "a blue sky", "star"]


def words_alone(folder, text, layer):
    """Directions of one text by itself, begin and end among them."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    said = transformers.AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.no_grad():
        out = model(input_ids=said["input_ids"], attention_mask=said["attention_mask"], output_hidden_states=True)
    rows = out.hidden_states[layer][0]
    return rows / rows.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_scores_equal_a_loop_over_words(folder, layer):
    scores = BertScore.load(folder, layer)(CANDIDATES, REFERENCES)
    for i, (candidate, reference) in enumerate(zip(CANDIDATES, REFERENCES, strict=True)):
        here, there = words_alone(folder, candidate, layer), words_alone(folder, reference, layer)
        precision = [max(float(a @ b) for b in there) for a in here[1:-1]]
        recall = [max(float(a @ b) for a in here) for b in there[1:-1]]
        p, r = sum(precision) / len(precision), sum(recall) / len(recall)
        assert float(scores.precision[i]) == pytest.approx(p, abs=1e-5)
        assert float(scores.recall[i]) == pytest.approx(r, abs=1e-5)
        assert float(scores.f1[i]) == pytest.approx(2 * p * r / (p + r), abs=1e-5)


def test_the_same_text_scores_one_and_swapped_texts_swap_the_scores(folder):
    score = BertScore.load(folder)
    same = score(REFERENCES, REFERENCES)
    torch.testing.assert_close(torch.stack([same.precision, same.recall, same.f1]), torch.ones(3, 3))
    one, other = score(CANDIDATES, REFERENCES), score(REFERENCES, CANDIDATES)
    torch.testing.assert_close(one.precision, other.recall)
    torch.testing.assert_close(one.f1, other.f1)


def test_texts_without_words_score_nothing(folder):
    scores = BertScore.load(folder)(["", "a", "a"], ["a", " ", "a"])
    assert scores.recall.tolist()[:2] == scores.precision.tolist()[:2] == scores.f1.tolist()[:2] == [0, 0]
    assert float(scores.f1[2]) == pytest.approx(1)
    assert BertScore.load(folder)([], []).recall.shape == (0,)


def test_faults_are_named(folder, tmp_path):
    with pytest.raises(ValueError, match="layers 0 to 2, not 3"):
        BertScore.load(folder, 3)
    with pytest.raises(ValueError, match="1 candidates need as many references, got 2"):
        BertScore.load(folder)(["a"], ["a", "b"])
    with pytest.raises(PixwardError, match=f"cannot load a language model from {tmp_path}"):
        BertScore.load(tmp_path)
