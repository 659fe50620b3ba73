"""The demo model's architecture: Stable Diffusion 1's, with few channels."""
import gzip
import json
from pathlib import Path

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

TOKENS, WIDTH, POSITIONS = 49408, 48, 77
END = TOKENS - 1  # end of text, and padding


def text_encoder():
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=TOKENS, hidden_size=WIDTH, intermediate_size=4 * WIDTH,
        num_hidden_layers=3, num_attention_heads=3, projection_dim=WIDTH,
        max_position_embeddings=POSITIONS, hidden_act="quick_gelu",
        bos_token_id=TOKENS - 2, eos_token_id=END, pad_token_id=1))


def vae():
    return AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=4,
        block_out_channels=(16, 24, 32, 64), layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=8, sample_size=128)


def unet():
    return UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, layers_per_block=2,
        block_out_channels=(32, 48, 64, 96), norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=WIDTH, attention_head_dim=2)


def scheduler():
    return DDIMScheduler(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012,
        beta_schedule="scaled_linear", prediction_type="epsilon",
        clip_sample=False, set_alpha_to_one=False, steps_offset=1)


def write_tokenizer(merges_gz, folder):
    """Write CLIP's tokenizer files from OpenAI's bpe_simple_vocab_16e6.txt.gz."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lines = gzip.open(merges_gz).read().decode("utf-8").split("\n")
    merges = lines[1:49152 - 256 - 2 + 1]
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(b) for b in visible] + [chr(256 + n) for n in range(256 - len(visible))]
    words = letters + [c + "</w>" for c in letters] + ["".join(m.split()) for m in merges]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {word: n for n, word in enumerate(words)}
    assert len(vocab) == TOKENS
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", "utf-8")
    start, end = words[-2:]
    special = {"bos_token": start, "eos_token": end, "unk_token": end, "pad_token": end}
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "CLIPTokenizer", "model_max_length": POSITIONS,
         "do_lower_case": True, "errors": "replace", "add_prefix_space": False,
         **special}, indent=2) + "\n")


def tokenizer(folder):
    return CLIPTokenizer.from_pretrained(folder)


def tokenize(tok, captions):
    return tok(captions, padding="max_length", max_length=POSITIONS,
               truncation=True, return_tensors="pt").input_ids
