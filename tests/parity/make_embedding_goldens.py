"""Write embeddings for models/demo, and what its text encoder makes of prompts with them.

    goldens/embeddings/*.safetensors      the embeddings, each named after its word
    goldens/embeddings.safetensors        for each of PROMPTS: [77 x chunks, width]

The encodings are transformers', whose token embeddings are replaced where the words
stand; emphasis as the webui does it: multiplied, then the chunk's mean restored.
"""
import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTokenizer

HERE = Path(__file__).parent / "goldens"
START, END, PLACES = 49406, 49407, 75

# What a prompt is made of: words, or an embedding's name, with weights. A name in other
# case and between commas is the same word.
PROMPTS = {
    "plain": [("a red circle,", 1), ("fancy-style", 1), ("on a blue background", 1)],
    "weighted": [("a", 1), ("fancy-style", 1.4), ("circle", 0.8), ("single", 1.2)],
    # 73 places are taken: the four vectors begin a new chunk
    "chunks": [("circle " * 73, 1), ("fancy-style", 1), ("red", 1)],
}


def make_embeddings(width, generator):
    style = torch.randn(4, width, generator=generator) * 0.5
    single = torch.randn(width, generator=generator) * 0.5
    folder = HERE / "embeddings"
    (folder / "more").mkdir(parents=True, exist_ok=True)
    save_file({"emb_params": style}, folder / "fancy-style.safetensors")
    save_file({"<single>": single.half()}, folder / "more" / "single.safetensors")
    return {"fancy-style": style, "single": single.half().float()[None]}


def chunks_of(prompt, tokenizer, embeddings):
    """[(id or vector, weight)] of each chunk."""
    chunks = [[]]
    for text, weight in prompt:
        if text in embeddings:
            vectors = [(vector, weight) for vector in embeddings[text]]
            if len(chunks[-1]) + len(vectors) > PLACES:
                chunks.append([])
            chunks[-1] += vectors
            continue
        for token in tokenizer(text, add_special_tokens=False).input_ids:
            if len(chunks[-1]) == PLACES:
                chunks.append([])
            chunks[-1].append((token, weight))
    return [[(START, 1), *chunk, *[(END, 1)] * (PLACES + 1 - len(chunk))] for chunk in chunks]


def encode(encoder, chunk):
    table = encoder.get_input_embeddings()
    ids = torch.tensor([[0 if torch.is_tensor(token) else token for token, _ in chunk]])

    def replace(_module, _inputs, output):
        for place, (token, _) in enumerate(chunk):
            if torch.is_tensor(token):
                output[0, place] = token
        return output

    hook = table.register_forward_hook(replace)
    made = encoder(ids).last_hidden_state[0].double()
    hook.remove()
    weights = torch.tensor([weight for _, weight in chunk], dtype=torch.float64)
    if (weights == 1).all():
        return made
    weighted = made * weights[:, None]
    before, after = made.mean(), weighted.mean()
    return weighted if before.abs() <= 1e-6 * made.abs().mean() else weighted * (before / after)


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description="Write the goldens of embeddings.")
    parser.add_argument("--model", type=Path, default=Path(__file__).parents[2] / "models" / "demo")
    model = parser.parse_args().model
    encoder = CLIPTextModel.from_pretrained(model / "text_encoder")
    tokenizer = CLIPTokenizer.from_pretrained(model / "tokenizer")
    embeddings = make_embeddings(encoder.config.hidden_size, torch.Generator().manual_seed(7))
    kept = {}
    for name, prompt in PROMPTS.items():
        kept[name] = torch.cat([encode(encoder, chunk) for chunk in chunks_of(prompt, tokenizer, embeddings)]).float()
        print(name, list(kept[name].shape))
    save_file(kept, HERE / "embeddings.safetensors")


if __name__ == "__main__":
    main()
