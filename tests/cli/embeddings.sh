# unetdump generate --embeddings: words of the user's own.
. "$(dirname "$0")/lib.sh"
embeddings=$root/tests/parity/goldens/embeddings

# drawn FOLDER PROMPT ARGUMENT...
drawn() {
    drawn_folder=$1 drawn_prompt=$2
    shift 2
    works generate -m "$demo" -p "$drawn_prompt" -o "$drawn_folder" --width 64 --height 64 --steps 1 --attention OUT05 --dump npy --no-canvas "$@"
}
drawn without "a circle, fancy-style"
drawn with "a circle, fancy-style" --embeddings "$embeddings"
drawn upper "a circle, FANCY-STYLE" --embeddings "$embeddings"
drawn layers "a circle(~:OUT05:, fancy-style:~)" --embeddings "$embeddings"
of=000-attn-OUT05-001-qk.npy
other_files without/$of with/$of
same_files with/$of upper/$of
other_files with/$of layers/$of
equal 4 "$(grep -o '"text": *"fancy-style"' with/tokens.json | wc -l)" "columns of the embedding"
equal 0 "$(grep -o '"text": *"fancy-style"' without/tokens.json | wc -l)" "columns without"

# Files for other models are said and left out; a folder that cannot be read is an error.
mkdir others
cp "$root/tests/parity/goldens/lora-old.safetensors" others/style.safetensors
run 0 generate -m "$demo" -p "style" -o out --width 64 --height 64 --steps 1 --embeddings others
equal "unetdump: warning: others/style.safetensors: no embedding: expected emb_params, clip_l and clip_g, or a single tensor" "$(cat "$said/err")" "a LoRA among the embeddings"
run 2 generate -m "$demo" -p "style" -o refused --width 64 --height 64 --steps 1 --embeddings nowhere
equal "unetdump: nowhere: cannot be read: No such file or directory" "$(cat "$said/err")" "no folder"
nothing_in refused
finish
