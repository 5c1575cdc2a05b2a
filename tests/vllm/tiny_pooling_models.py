"""Makes two XLM-RoBERTas of random weights, as bge-m3 and bge-reranker-v2-m3 are: `python tiny_pooling_models.py FOLDER`.

FOLDER/embedding gives the mean of its tokens' states, so that texts of the same bytes come out close; FOLDER/reranker
scores a pair. Runs in the vLLM environment. The tokenizer is ours too: one token for each byte.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
    XLMRobertaModel,
)

BEGIN, PAD, END, UNKNOWN = "<s>", "<pad>", "</s>", "<unk>"
DIMENSION = 64  # heads of 32 numbers: vLLM's attention on the CPU takes no smaller ones
MAX_TOKENS = 512


def save_tokenizer(folder: Path) -> None:
    vocabulary = [BEGIN, PAD, END, UNKNOWN, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(vocabulary)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in vocabulary[:4]])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A {END}",
        pair=f"{BEGIN} $A {END} {END} $B {END}",
        special_tokens=[(BEGIN, 0), (END, 2)],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BEGIN, cls_token=BEGIN, eos_token=END, sep_token=END, pad_token=PAD,
        unk_token=UNKNOWN, model_max_length=MAX_TOKENS,
    ).save_pretrained(folder)  # fmt: skip


def config(**more: object) -> XLMRobertaConfig:
    return XLMRobertaConfig(
        vocab_size=260, hidden_size=DIMENSION, intermediate_size=128, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=MAX_TOKENS + 2, type_vocab_size=1, bos_token_id=0, pad_token_id=1, eos_token_id=2,
        initializer_range=0.5, dtype="float32", position_embedding_type="absolute", **more,
    )  # fmt: skip


def save_models(folder: Path) -> None:
    torch.manual_seed(0)
    XLMRobertaModel(config(), add_pooling_layer=False).save_pretrained(folder / "embedding")
    XLMRobertaForSequenceClassification(config(num_labels=1)).save_pretrained(folder / "reranker")
    # As sentence-transformers has it, which is where vLLM looks for how to pool.
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds)
    ]
    (folder / "embedding" / "modules.json").write_text(json.dumps(modules))
    pooling = {"word_embedding_dimension": DIMENSION, "pooling_mode_mean_tokens": True}
    (folder / "embedding" / "1_Pooling").mkdir()
    (folder / "embedding" / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    save_models(target)
    for name in ("embedding", "reranker"):
        save_tokenizer(target / name)
