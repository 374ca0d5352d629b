from __future__ import annotations

import math

import pytest
import torch

from pixward.data.worlds import WorldSettings, shapes_world
from pixward.errors import PixwardError
from pixward.metrics.bertscore import BertScore, TextScores
from pixward.rewards.alignment import CaptionAlignment, Captioner, ClassAlignment, small_classifier

GROUPS = (("star", "ring"), ("red", "green", "blue"))
IMAGES = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def fixed(rows):
    return lambda images: torch.tensor(rows)


def test_log_probabilities_of_what_the_prompt_names_by_hand():
    # Odds 3 : 1 for the star; 1 : 2 : 5 for red, green and blue.
    row = [math.log(3), 0.0, 0.0, math.log(2), math.log(5)]
    reward = ClassAlignment(fixed([row] * 3), GROUPS)
    scores = reward(IMAGES, ["a red star", "a blue ring on sand", "some star"])
    expected = [math.log(3 / 4) + math.log(1 / 8), math.log(1 / 4) + math.log(5 / 8), math.log(3 / 4)]
    assert scores.tolist() == pytest.approx(expected, abs=1e-6)
    # The likeliest is a blue star.
    assert reward.accuracy(IMAGES, ["a blue star", "a blue ring", "star"]).tolist() == [1, 0, 1]


def test_the_gradient_of_alignment_reaches_the_pictures():
    torch.manual_seed(0)
    leaf = IMAGES.clone().requires_grad_(True)
    ClassAlignment(small_classifier(5, 8), GROUPS)(leaf, ["red star"] * 3).sum().backward()
    assert leaf.grad is not None and bool((leaf.grad.flatten(1).norm(dim=1) > 0).all())


def test_unknown_prompts_and_other_logits_are_named():
    with pytest.raises(PixwardError, match="the prompt 'a cat' names nothing that is known, such as star, ring, red"):
        ClassAlignment(fixed([[0.0] * 5] * 3), GROUPS)(IMAGES, ["a star", "a cat", "a dog"])
    with pytest.raises(PixwardError, match=r"must give \(3, 5\) logits for its phrases, got \(3, 4\)"):
        ClassAlignment(fixed([[0.0] * 4] * 3), GROUPS)(IMAGES, ["star"] * 3)
    with pytest.raises(PixwardError, match="3 pictures, 2 prompts"):
        ClassAlignment(fixed([[0.0] * 5] * 2), GROUPS)(IMAGES, ["star"] * 2)
    with pytest.raises(ValueError, match="groups of phrases, none of them empty"):
        ClassAlignment(fixed([[0.0]]), (("star",), ()))


def test_a_small_classifier_learns_what_prompts_say():
    """The stand-in works: on pictures that it has not seen, alignment tells the true prompt from another."""
    torch.manual_seed(0)
    settings = WorldSettings(size=16, grounds=())
    world = shapes_world(settings, subjects=("circle", "ring", "square", "cross", "heart"), split="all")
    classifier = small_classifier(sum(map(len, world.groups)), 16)
    reward = ClassAlignment(classifier, world.groups)
    optimiser = torch.optim.AdamW(classifier.parameters(), 3e-3)
    for step in range(60):
        images, prompts = world.batch(range(step * 32, step * 32 + 32))
        optimiser.zero_grad()
        (-reward(images, prompts).mean()).backward()
        optimiser.step()
    images, prompts = world.batch(range(10_000, 10_200))
    with torch.no_grad():
        others = prompts[1:] + prompts[:1]
        better = reward(images, prompts) > reward(images, others)
        differ = torch.tensor([a != b for a, b in zip(prompts, others, strict=True)])
        assert float(better[differ].float().mean()) > 0.9
        assert float(reward.accuracy(images, prompts).mean()) > 0.3  # chance is 1 / 35


def test_a_caption_is_held_against_the_prompt():
    asked = []

    def score(candidates, references):
        asked.append((list(candidates), list(references)))
        return TextScores(torch.zeros(3), torch.tensor([0.1, 0.2, 0.3]), torch.ones(3))

    reward = CaptionAlignment(lambda images: [f"{float(image.mean()):.2f}" for image in images], score)
    scores = reward(IMAGES, ["a cat", "a {brace}", "an ant"])
    assert scores.tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert asked == [
        (
            [f"{float(image.mean()):.2f}" for image in IMAGES],
            ["The image contains a cat", "The image contains a {brace}", "The image contains an ant"],
        )
    ]
    with pytest.raises(PixwardError, match="3 pictures with 3 prompts got 1 captions"):
        CaptionAlignment(lambda images: ["one"], score)(IMAGES, ["a", "b", "c"])


WORDS = "a red star on grass blue what USER ASSISTANT"
TEMPLATE = (
    "{% for m in messages %}USER {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image> {% else %}{{ c['text'] }} {% endif %}{% endfor %}{% endfor %}ASSISTANT"
)


@pytest.fixture(scope="module")
def llava(tmp_path_factory, word_tokenizer):
    """A tiny LLaVA on disk with its processor: the kind of model that DDPO asked."""
    transformers = pytest.importorskip("transformers")
    module = pytest.importorskip("transformers.models.clip.image_processing_pil_clip")
    torch.manual_seed(0)
    tokenizer = word_tokenizer(WORDS, edges=False, extra=("<image>",))
    small = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    model = transformers.LlavaForConditionalGeneration(
        transformers.LlavaConfig(
            vision_config=transformers.CLIPVisionConfig(
                **small, num_hidden_layers=2, image_size=16, patch_size=8, projection_dim=8
            ),
            text_config=transformers.LlamaConfig(
                **small,
                vocab_size=len(tokenizer),
                num_hidden_layers=1,
                num_key_value_heads=2,
                pad_token_id=0,
                bos_token_id=2,
                eos_token_id=3,
            ),
            image_token_index=4,
            vision_feature_layer=-1,
        )
    )
    processor = transformers.LlavaProcessor(
        module.CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        chat_template=TEMPLATE,
        image_token="<image>",
        num_additional_image_tokens=1,
    )
    path = tmp_path_factory.mktemp("llava")
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path


def test_captions_of_a_real_model_are_its_likeliest_words(llava, word_tokenizer):
    transformers = pytest.importorskip("transformers")
    captioner = Captioner.load(llava, "what a")
    captioner.tokens = 4
    captions = captioner(IMAGES)
    assert len(captions) == 3 and captions == captioner(IMAGES)
    assert captioner(IMAGES[1:2]) == captions[1:2]
    # By hand: the same prompt, one likeliest word after the other.
    model = transformers.LlavaForConditionalGeneration.from_pretrained(llava).eval()
    tokenizer = word_tokenizer(WORDS, edges=False, extra=("<image>",))
    said = tokenizer("USER " + "<image> " * 4 + "what a ASSISTANT", return_tensors="pt")["input_ids"]
    image = (IMAGES[:1] * 255).round().to(torch.uint8)
    pixels = captioner.processor.image_processor(images=[image[0].permute(1, 2, 0).numpy()], return_tensors="pt")
    start = said.shape[1]
    with torch.no_grad():
        while said.shape[1] < start + 4 and said[0, -1] != 3:
            logits = model(input_ids=said, pixel_values=pixels["pixel_values"]).logits[0, -1]
            said = torch.cat([said, logits.argmax().view(1, 1)], 1)
    assert tokenizer.decode(said[0, start:], skip_special_tokens=True) == captions[0]


def test_the_whole_reward_of_ddpo_runs(llava, word_tokenizer):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    bert = transformers.BertModel(
        transformers.BertConfig(
            vocab_size=13, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
        )
    )
    score = BertScore(bert, word_tokenizer(WORDS))
    captioner = Captioner.load(llava)
    captioner.tokens = 4
    scores = CaptionAlignment(captioner, score)(IMAGES, ["a red star", "grass", "blue"])
    assert scores.shape == (3,) and scores.dtype == torch.float32 and bool((scores <= 1 + 1e-5).all())


def test_a_missing_captioner_is_named(tmp_path):
    with pytest.raises(PixwardError, match=f"cannot load a model that captions from {tmp_path}"):
        Captioner.load(tmp_path)
