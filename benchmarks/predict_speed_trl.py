"""TRL's RLOO step against ours, on what TRL can do: a model that has a decoder only, prompts of words, 48 tokens.

TRL has no path for an encoder with a decoder, so the detector cannot be its contestant. Here both tune the same GPT-2
of about the detector's size, made anew, with the same reward: TRL through :func:`pixward.rewards.trl.as_trl`, ours
through a :class:`pixward.types.TokenPolicy` around the model (:class:`pixward.policies.hub.HubPolicy` wraps models that
have an encoder). Neither may end early, so that both say as many tokens.
"""

from __future__ import annotations

import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pixward.policies.decoding import PLAIN, distribution, draw, mask_of, scores
from pixward.rewards.trl import as_trl
from pixward.train.reinforce import ReinforceSettings, reinforce
from pixward.train.task import RewardTask
from pixward.train.workers import Batch, Workers
from pixward.types import Decoding, Samples, Scores

WORDS, PROMPT, LENGTH, PROMPTS, COUNT, RATE, SEED = 76, 8, 48, 16, 4, 1e-7, 0
END = 0
VOCABULARY = ["<end>", "<pad>", *(f"w{number}" for number in range(2, WORDS))]


def new_model() -> Any:
    """A GPT-2 of 1.2 million weights."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(SEED)
    none = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    ids = {"bos_token_id": END, "eos_token_id": END, "pad_token_id": 1}
    shape = {"vocab_size": WORDS, "n_positions": 128, "n_embd": 128, "n_layer": 6, "n_head": 4}
    return GPT2LMHeadModel(GPT2Config(**shape, **none, **ids))


def prompts(index: int) -> Tensor:
    """``(PROMPTS, PROMPT)`` words."""
    return torch.randint(2, WORDS, (PROMPTS, PROMPT), generator=torch.Generator().manual_seed(index))


def said_again(tokens: Tensor, target: Tensor) -> Tensor:
    """Share of the tokens ``(N, L)`` that are the word ``target`` ``(N,)``."""
    return (tokens == target[:, None]).float().mean(1)


class PromptPolicy(nn.Module):
    """A :class:`pixward.types.TokenPolicy` whose pictures are prompts ``(B, P)``; never says the end."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("allowed", torch.arange(WORDS) != END)

    def log_prob(self, images: Tensor, tokens: Tensor, decoding: Decoding = PLAIN) -> Scores:
        """As of :class:`pixward.policies.sequence.SequencePolicy`."""
        both = torch.cat([images.repeat_interleave(tokens.shape[1], 0), tokens.flatten(0, 1)], 1)
        logits = self.model(both[:, :-1], use_cache=False).logits[:, images.shape[1] - 1 :]
        logits = logits.unflatten(0, tokens.shape[:2])
        return scores(logits, tokens, mask_of(tokens, END), self.allowed.expand_as(logits), decoding)

    @torch.no_grad()
    def sample(
        self, images: Tensor, count: int, decoding: Decoding = PLAIN, generator: torch.Generator | None = None
    ) -> Samples:
        """The prompt is read once, however many sequences are drawn for it."""
        tokens = torch.full((len(images) * count, LENGTH), END)
        log_probs = torch.zeros(tokens.shape)
        said = self.model(images, use_cache=True)
        cache = said.past_key_values
        cache.batch_repeat_interleave(count)
        logits = said.logits[:, -1].repeat_interleave(count, 0)
        for step in range(LENGTH):
            table = distribution(logits, self.allowed.expand_as(logits), decoding)
            tokens[:, step] = draw(table, decoding, generator)
            log_probs[:, step] = table.gather(1, tokens[:, step, None])[:, 0]
            if step + 1 < LENGTH:
                logits = self.model(tokens[:, step, None], past_key_values=cache, use_cache=True).logits[:, -1]
        shape = (len(images), count, LENGTH)
        return Samples(tokens.view(shape), log_probs.view(shape), mask_of(tokens, END).view(shape))


def our_step(model: Any) -> Callable[[], dict[str, float]]:
    """One step of :func:`pixward.train.reinforce.reinforce` at each call."""

    def reward(tokens: Tensor, batch: Batch) -> Tensor:
        target = batch["target"].repeat_interleave(tokens.shape[1])
        return said_again(tokens.flatten(0, 1), target).view(tokens.shape[:2])

    def batches(index: int) -> Batch:
        words = prompts(index)
        return {"images": words, "target": words[:, 0]}

    settings = ReinforceSettings(
        steps=10_000, seed=SEED, samples=COUNT, learning_rate=RATE, warmup=0, checkpoint_every=1
    )
    lines = reinforce(PromptPolicy(model), RewardTask(batches, [reward]), settings, None, Workers())
    return lambda: next(lines)


def tokenizer() -> Any:
    """Words by their numbers."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(VOCABULARY)}, "<pad>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<end>", pad_token="<pad>", padding_side="left")


def parsed(texts: list[str]) -> Tensor:
    """Numbers of the words, ``(N, LENGTH)``."""
    known = {word: number for number, word in enumerate(VOCABULARY)}
    rows = [[known.get(word, 1) for word in text.split()] for text in texts]
    return torch.tensor([(row + [1] * LENGTH)[:LENGTH] for row in rows])


def trainer(model: Any, steps: int, folder: str, after: Callable[[], None]) -> Any:
    """TRL's, with its options as ours are; ``after`` is called when a step is done."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import RLOOConfig, RLOOTrainer

    class Turns(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            after()

    words = torch.cat([prompts(index) for index in range(steps)])
    rows = [{"prompt": " ".join(VOCABULARY[at] for at in row), "target": row[0]} for row in words.tolist()]
    settings = RLOOConfig(
        output_dir=folder,
        per_device_train_batch_size=PROMPTS * COUNT,
        num_generations=COUNT,
        max_completion_length=LENGTH,
        generation_kwargs={"min_new_tokens": LENGTH},
        max_steps=steps,
        learning_rate=RATE,
        max_grad_norm=1.0,
        beta=0.0,
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=True,
        logging_steps=10_000,
        save_strategy="no",
        report_to="none",
        seed=SEED,
        remove_unused_columns=False,
        disable_tqdm=True,
    )
    reward = as_trl(said_again, parsed, "target", torch.tensor)
    return RLOOTrainer(
        model, reward, settings, Dataset.from_list(rows), processing_class=tokenizer(), callbacks=[Turns()]
    )


def compare(rounds: int) -> dict[str, Any]:
    """Rows of both, or why there are none."""
    try:
        import trl
    except ImportError as error:
        return {"not measured": f"TRL cannot be imported: {error}"}
    model = new_model()
    ours = our_step(copy.deepcopy(model))
    log: dict[str, list[tuple[float, float]]] = {"pixward": [], "trl": []}
    since = [time.process_time(), time.perf_counter()]

    def turn() -> None:
        """TRL has just made a step; now we make one."""
        middle = time.process_time(), time.perf_counter()
        ours()
        end = time.process_time(), time.perf_counter()
        log["trl"].append((middle[0] - since[0], middle[1] - since[1]))
        log["pixward"].append((end[0] - middle[0], end[1] - middle[1]))
        since[:] = end

    with tempfile.TemporaryDirectory() as folder:
        made = trainer(model, rounds + 1, folder, turn)
        since[:] = [time.process_time(), time.perf_counter()]
        made.train()
    rows = []
    for who, turns in log.items():
        step, wall = (statistics.median(part[at] for part in turns[1:]) for at in (0, 1))
        rate = round(PROMPTS * COUNT / step, 1)
        rows.append({"who": who, "step": round(step, 4), "wall": round(wall, 4), "samples_per_second": rate})
        print(rows[-1], flush=True)
    return {
        "trl": trl.__version__,
        "weights": sum(weight.numel() for weight in model.parameters()),
        "prompts": PROMPTS,
        "samples": COUNT,
        "tokens": LENGTH,
        "rounds": rounds,
        "rows": rows,
    }
