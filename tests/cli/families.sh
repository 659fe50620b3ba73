# SD 2 and SDXL from the command: small models with random weights, as recipes make them.
. "$(dirname "$0")/lib.sh"

for name in sd2 sd2-ldm sdxl sdxl-ldm; do
    "$tool" recipe "$root/tests/parity/models/$name.txt" "$name" || fail "no $name"
done
sd2=sd2-ldm/model.safetensors sdxl=sdxl-ldm/model.safetensors

# What they are.
first() {
    works inspect "$2" ${3+"$3"} ${4+"$4"}
    head -1 "$said/out" | grep -q "^$1" || fail "the first line: $(head -1 "$said/out")"
}
first "SD 2, diffusers layout, v prediction" sd2
first "SD 2, ldm layout, epsilon prediction" $sd2
first "SD 2, ldm layout, v prediction" $sd2 --prediction v
first "SDXL, diffusers layout, epsilon prediction" sdxl
first "SDXL, ldm layout, epsilon prediction" $sdxl
equal "$(seq -f 'IN%02g' 0 8 | paste -sd' ') M00 $(seq -f 'OUT%02g' 0 8 | paste -sd' ')" \
    "$(sed -n 's/^\(\(IN\|M\|OUT\)[0-9]*\) .*/\1/p' "$said/out" | paste -sd' ')" "SDXL's blocks"
grep -q '^M00  *128  1/4   10 x 2 heads x 64  block, self, cross  mid_block$' "$said/out" || fail "M00: $(grep ^M00 "$said/out")"

# The map: a line for each tap, and its slots in both lists of the family.
works inspect $sdxl --map
equal 161 "$(wc -l <"$said/out" | tr -d ' ')" "lines of the map"
grep -qE '^BASE .* 0 +0$' "$said/out" || fail "BASE"
grep -qE '^IN00 +conv_in +input_blocks\.0 +- +1$' "$said/out" || fail "IN00"
grep -qE '^IN04 cross-d1 +down_blocks\.1\.attentions\.0\.transformer_blocks\.1\.attn2 +input_blocks\.4\.1\.transformer_blocks\.1\.attn2 +1 +5$' \
    "$said/out" || fail "IN04 cross-d1"
works inspect sd2 --map --json
grep -q '{"block":"IN01","tap":"self","depth":0,"diffusers":"down_blocks.0.attentions.0.transformer_blocks.0.attn1","original":"input_blocks.1.1.transformer_blocks.0.attn1","slots":{"17":1,"26":2}}' \
    "$said/out" || fail "IN01 in JSON"
grep -q '{"block":"OUT00","tap":"block","depth":0,[^}]*"slots":{"17":null,"26":14}}' "$said/out" || fail "OUT00 in JSON"

# A picture with what every depth attends to; blocks that the family lacks are refused by name.
small="--width 64 --height 40 --steps 1 --device reference"
# shellcheck disable=SC2086
works generate -m sdxl -p "$prompt" -o seen $small --attention IN04,M00 --attention-kind qk,vqk,self --dump npy
for depth in "" -d1 -d9; do
    for kind in qk vqk; do
        ls seen/*M00*"$kind$depth".png >/dev/null 2>&1 || fail "no $kind of M00's layer ${depth:-0}: $(ls seen | head -5)"
    done
done
equal 10 "$(ls seen/*M00*qk*.png | grep -vc vqk)" "layers of M00"
# shellcheck disable=SC2086
refuses "unknown block.*IN00..IN08, M00, OUT00..OUT08" generate -m sdxl -p "a cat" -o refused $small --features OUT09
# shellcheck disable=SC2086
refuses "OUT11.*IN00..IN08, M00, OUT00..OUT08|IN00..IN08, M00, OUT00..OUT08.*OUT11" generate -m sdxl -p "a (~: OUT11: cute :~) cat" -o refused $small
nothing_in refused

# Both layouts give the same bytes, and clip skip is SD 1's alone.
# shellcheck disable=SC2086
{
    works generate -m sdxl -p "$prompt" -o folder $small --features M00 --dump npy
    works generate -m $sdxl -p "$prompt" -o file $small --features M00 --dump npy --clip-skip 2
}
same_files "$(find folder -name '*M00*.npy')" "$(find file -name '*M00*.npy')"

# Another autoencoder; the original layout without one needs it.
# shellcheck disable=SC2086
{
    works generate -m sdxl -p "$prompt" -o other $small --vae sd2/vae
    refuses "nowhere.*cannot be opened" generate -m sdxl -p "$prompt" -o refused $small --vae nowhere
}
cmp -s "$(find folder -name '000*.png' | grep -v M00)" "$(find other -name '000*.png')" && fail "--vae changes nothing"

# Single files by their hash, where that is asked for; folders have none.
hash_of() { sha256sum "$1" | cut -c1-10; }
named() { # FOLDER ARGUMENT...
    named_folder=$1
    shift
    works generate -p "a cat" -o "$named_folder" --width 16 --height 16 --steps 1 --device reference "$@"
    works inspect "$named_folder/000.png"
    grep -E '^(Model hash|VAE hash): ' "$said/out" | paste -sd' '
}
equal "" "$(named unhashed -m $sd2)" "not asked for"
equal "Model hash: $(hash_of $sd2)" "$(named hashed -m $sd2 --model-hash)" "a single file"
equal "" "$(named folder -m sd2 --model-hash)" "a folder"
equal "Model hash: $(hash_of $sd2) VAE hash: $(hash_of sd2/vae/diffusion_pytorch_model.safetensors)" \
    "$(named both -m $sd2 --vae sd2/vae/diffusion_pytorch_model.safetensors --model-hash)" "an autoencoder of its own"
grep -q "\"model_hash\": \"$(hash_of $sd2)\"" both/manifest.json || fail "the manifest's hash"

finish
