# unetdump generate --lora: what it changes, what the infotext says, what is refused.
. "$(dirname "$0")/lib.sh"
goldens=$root/tests/parity/goldens

# values FOLDER ARGUMENT...: a run, and what is compared of it.
values() {
    small "$@" --features OUT11 --dump npy --no-canvas
}
values plain
values none --lora "$goldens/lora-kohya.safetensors:0"
values zero --lora "$goldens/lora-kohya.safetensors:IN00-OUT11=0,TE=0"
values whole --lora "$goldens/lora-kohya.safetensors"
values same --lora "$goldens/lora-kohya.safetensors:1:IN00-OUT11=1"
values part --lora "$goldens/lora-kohya.safetensors:0.8:IN04=0.5,OUT00-OUT08=0"
values two --lora "$goldens/lora-kohya.safetensors" --lora="$goldens/lora-locon.safetensors:-0.5"
of=000-unet-OUT11-001.npy
same_files plain/$of none/$of
same_files plain/$of zero/$of
same_files whole/$of same/$of
other_files plain/$of whole/$of
other_files whole/$of part/$of
other_files whole/$of two/$of

first_line() { "$tool" png-text "$1/000.png" | head -1; }

equal "$prompt <lora:lora-kohya:0>" "$(first_line none)" "infotext of weight 0"
equal "$prompt <lora:lora-kohya:1>" "$(first_line whole)" "infotext"
equal "$prompt <lora:lora-kohya:0.8>" "$(first_line part)" "infotext of a weight"
equal "$prompt <lora:lora-kohya:1> <lora:lora-locon:-0.5>" "$(first_line two)" "infotext of two"

# The file's name may have colons.
cp "$goldens/lora-old.safetensors" "a:0.5:b.safetensors"
small colons --lora "a:0.5:b.safetensors:2"
equal "$prompt <lora:a:0.5:b:2>" "$(first_line colons)" "infotext of a name with colons"

# In the prompt, as the webui has them.
tagged() { # tagged FOLDER PROMPT
    works generate -m "$demo" -p "$2" -o "$1" --width 64 --height 64 --steps 1 --features OUT11 --dump npy --no-canvas --lora-dir "$goldens"
}
tagged tag "$prompt<lora:lora-kohya>"
same_files tag/$of whole/$of
equal "$prompt <lora:lora-kohya:1>" "$(first_line tag)" "infotext of a LoRA in the prompt"
works generate -m "$demo" -o tag-again --from tag/000.png --lora-dir "$goldens"
works generate -m "$demo" -o tag-third --from tag-again/000.png --lora-dir "$goldens"
same_files tag-again/000.png tag-third/000.png
works generate -m "$demo" -o tag-option --from tag/000.png --lora "$goldens/lora-kohya.safetensors"
same_files tag/000.png tag-option/000.png
tagged tags "<lora:lora-kohya:1>$prompt<lyco:lora-locon:-0.5>"
same_files tags/$of two/$of
tagged text "$prompt <lora:> <lora"
other_files text/$of plain/$of
small_refused "^unetdump: --prompt: <lora:x:1> needs --lora-dir" -p "a <lora:x:1>"
small_refused "^unetdump: --lora-dir: .*: no LoRA '../x': no file of that name, and none that calls itself so" -p "a <lora:../x>" --lora-dir "$goldens"
for weights in 1:0.5:2 1:x unet=x te=; do
    small_refused "^unetdump: --prompt: <lora:x:$weights>: expected one number as its weight, or the text encoders' and the U-Net's" -p "a <lora:x:$weights>" --lora-dir "$goldens"
done
small_refused "^unetdump: --prompt: <hypernet:x:1>: hypernetworks are not supported" -p "a <hypernet:x:1>" --lora-dir "$goldens"
small_refused "^unetdump: --lora-dir: .: no LoRA 'x': no file of that name, and none that calls itself so" -p "a <lora:x:1>" --lora-dir .
small_refused "^unetdump: --lora-dir: nowhere: cannot be read" -p "a <lora:x:1>" --lora-dir nowhere

# The text encoders' weight, then the U-Net's, as the webui has them.
values encoders --lora "$goldens/lora-kohya.safetensors:0.5:UNET=0"
values split --lora "$goldens/lora-kohya.safetensors:0.8:TE=0.625"
other_files encoders/$of plain/$of
other_files split/$of encoders/$of
tagged split-tag "$prompt<lora:lora-kohya:0.5:0.8>"
same_files split-tag/$of split/$of
equal "$prompt <lora:lora-kohya:0.8>" "$(first_line split-tag)" "infotext of two weights"
tagged named-tag "$prompt<lora:lora-kohya:unet=0.8:te=0.5>"
same_files named-tag/$of split/$of
tagged encoders-tag "$prompt<lora:lora-kohya:0.5:unet=0>"
same_files encoders-tag/$of encoders/$of
works generate -m "$demo" -o split-again --from split-tag/000.png --lora-dir "$goldens"
same_files split-tag/000.png split-again/000.png

# In folders within the folder, and by the name that a file's metadata gives it.
mkdir -p tree/within
cp "$goldens/lora-locon.safetensors" tree/within/deep.safetensors
python3 - "$goldens/lora-kohya.safetensors" tree/renamed.safetensors <<'END'
import json, struct, sys
data = open(sys.argv[1], "rb").read()
length = struct.unpack("<Q", data[:8])[0]
header = json.dumps({"__metadata__": {"ss_output_name": "the first name"}, **json.loads(data[8 : 8 + length])}).encode()
open(sys.argv[2], "wb").write(struct.pack("<Q", len(header)) + header + data[8 + length :])
END
goldens=tree tagged found "$prompt<lora:the first name:1><lora:deep:-0.5>"
same_files found/$of two/$of
equal "$prompt <lora:renamed:1> <lora:deep:-0.5>" "$(first_line found)" "infotext of files found"

# Block weights are in the picture's text, and its LoRAs get them again: from a folder, or by an option for the same file, whose own weights go first.
small blocks --lora "$goldens/lora-locon.safetensors:-0.5" --lora "$goldens/lora-kohya.safetensors:0.8:IN04=0.5,OUT00-OUT08=0"
other_files blocks/000.png two/000.png
blocks_again() { # blocks_again ARGUMENT...
    rm -rf again
    works generate -m "$demo" -o again --from blocks/000.png "$@"
}
works inspect blocks/000.png
grep -qx "Lora block weights: lora-kohya: IN04=0.5,OUT00-OUT08=0" "$said/out" || fail "inspect: $(cat "$said/out")"
blocks_again --lora-dir "$goldens"
same_files blocks/000.png again/000.png
mkdir elsewhere
cp "$goldens/lora-kohya.safetensors" "$goldens/lora-locon.safetensors" elsewhere
blocks_again --lora elsewhere/lora-kohya.safetensors --lora elsewhere/lora-locon.safetensors # in the picture's order
same_files blocks/000.png again/000.png
blocks_again --lora elsewhere/lora-kohya.safetensors:1:TE=0 --lora-dir "$goldens" # one more
equal "$prompt <lora:lora-kohya:1> <lora:lora-locon:-0.5> <lora:lora-kohya:0.8>" "$(first_line again)" "a LoRA beside those of the folder"
blocks_again --lora elsewhere/lora-kohya.safetensors:1:TE=0 --lora elsewhere/lora-locon.safetensors
equal "$prompt <lora:lora-locon:-0.5> <lora:lora-kohya:1>" "$(first_line again)" "an option's weight"
"$tool" png-text again/000.png | grep -qF 'Lora block weights: "lora-kohya: TE=0"' || fail "an option's block weights: $("$tool" png-text again/000.png)"
refuses "^unetdump: --prompt: <lora:lora-locon:-0.5> needs --lora-dir, or a --lora of that name" generate -m "$demo" -o out --from blocks/000.png --lora elsewhere/lora-kohya.safetensors

bad() { # bad LORA LINE
    run 2 generate -m "$demo" -p "$prompt" -o out --width 64 --height 64 --steps 1 --lora "$1"
    equal "unetdump: $2" "$(cat "$said/err")" "--lora $1"
    nothing_in out
}
bad "no.safetensors" "no.safetensors: cannot be opened: No such file or directory"
bad "" "--lora: expected FILE[:WEIGHT][:BLOCK WEIGHTS], found ''"
bad ":0.5" "--lora: expected FILE[:WEIGHT][:BLOCK WEIGHTS], found ':0.5'"
bad "x.ckpt:1" "x.ckpt: a pickled checkpoint (.ckpt, .pt, .pth, .bin) can run any code and is not read: convert it to safetensors: expected .safetensors"
bad "$demo/vae/diffusion_pytorch_model.safetensors" "$demo/vae/diffusion_pytorch_model.safetensors: decoder.conv_in.bias: not a tensor of a LoRA for Stable Diffusion"
bad "a:0.5:b.safetensors:1:IN12=0" "--lora: a:0.5:b.safetensors: block weights: unknown block at column 1: expected a block: IN00..IN11, M00, OUT00..OUT11, UNET, TE or BASE, found IN12
IN12=0
^"
bad "a:0.5:b.safetensors:1:IN01=x" "--lora: a:0.5:b.safetensors: block weights: not a weight at column 6: expected a number from -1000 to 1000
IN01=x
     ^"
bad "a:0.5:b.safetensors:IN04=0.5,XX=1" "--lora: a:0.5:b.safetensors: block weights: not a block at column 10: expected a block: IN00..IN11, M00, OUT00..OUT11, UNET, TE or BASE, found 'X'
IN04=0.5,XX=1
         ^"
refuses "^unetdump: --lora: a:0.5:b.safetensors: block weights: not a block" sweep -m "$demo" -p "$prompt" -o out --lora "a:0.5:b.safetensors:XX=1"

# Differences between two models.
lora=$goldens/lora-kohya.safetensors
small compared --lora "$lora" --diff OUT11 --diff-with lora --dump npy --no-canvas
only_in compared 000.png 000-other.png 000-diff-OUT11-001-other.npy diff.csv manifest.json
same_files compared/000.png whole/000.png
same_files compared/000-other.png plain/000.png
tr -d ' \n' <compared/manifest.json >"$said/manifest"
grep -q '"file":"000-other.png"[^}]*"variant":"other"' "$said/manifest" || fail "the manifest lacks the other model's picture"
grep -q '"loras":"<lora:lora-kohya:1>","other":{"model":"demo","model_hash":"","loras":""}' "$said/manifest" || fail "the manifest does not say what the other is"
equal "$prompt" "$("$tool" png-text compared/000-other.png | head -1)" "the other picture's infotext"
small itself --lora "$lora" --diff OUT11 --diff-with "$demo" # both have the LoRA
same_files itself/000.png itself/000-other.png
equal "0,OUT11,1,cond,0,0,0,1" "$(tail -1 itself/diff.csv)" "a model's difference to itself"
works generate -m "$demo" -p "a (~:_:red:~) circle" -o layers --width 64 --height 64 --steps 1 --diff OUT11 --diff-with prompt --lora "$lora"
[ -f layers/000-erased.png ] || fail "no twin without layer prompts"
grep -q '"other":' layers/manifest.json && fail "a diff of layer prompts has another model"
small_refused "^unetdump: --diff-with needs --diff" --diff-with lora --lora "$lora"
small_refused "^unetdump: --diff-with lora needs --lora" --diff OUT11 --diff-with lora
small_refused "^unetdump: nowhere: cannot be opened: No such file or directory" --diff OUT11 --diff-with nowhere
finish
