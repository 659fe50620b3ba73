# unetdump inspect: what a model holds.
. "$(dirname "$0")/lib.sh"

# The four widths of the demo model's U-Net: 3 blocks a level on the way down and up.
widths=$(tr -d ' \n' <"$demo/unet/config.json" | sed 's/.*"block_out_channels":\[\([0-9,]*\)\].*/\1/' | tr ',' ' ')
# shellcheck disable=SC2086
set -- $widths
names="IN00 IN01 IN02 IN03 IN04 IN05 IN06 IN07 IN08 IN09 IN10 IN11 M00 OUT00 OUT01 OUT02 OUT03 OUT04 OUT05 OUT06 OUT07 OUT08 OUT09 OUT10 OUT11"
channels="$1 $1 $1 $1 $2 $2 $2 $3 $3 $3 $4 $4 $4 $4 $4 $4 $3 $3 $3 $2 $2 $2 $1 $1 $1"
# An upsampler ends OUT02, OUT05 and OUT08.
downscales="1 1 1 2 2 2 4 4 4 8 8 8 8 8 8 4 4 4 2 2 2 1 1 1 1"
depths="0 1 1 0 1 1 0 1 1 0 0 0 1 0 0 0 1 1 1 1 1 1 1 1 1"

# values KEY: of all blocks in order.
values() {
    sed 's/"tensors":.*//' "$said/out" | tr '{' '\n' | sed -n 's/.*"'"$1"'":"\{0,1\}\([A-Z0-9]*\)"\{0,1\}[,}].*/\1/p' | sed '/^$/d' | paste -sd' ' -
}
works inspect "$demo" --json
equal "$names" "$(values name)" "names"
equal "$channels" "$(values channels)" "channels"
equal "$downscales" "$(values downscale)" "downscales"
equal "$depths" "$(values attention_depth)" "attention depths"
grep -q '^{"family":"SD 1","layout":"diffusers","prediction":"epsilon",' "$said/out" || fail "family, layout, prediction: $(head -c 200 "$said/out")"
grep -q '{"name":"conv_in.weight","part":"unet","dtype":"F16","shape":\['"$1"',4,3,3\]}' "$said/out" || fail "conv_in.weight is not listed"
for part in text_encoder unet vae; do
    grep -q "\"part\":\"$part\"" "$said/out" || fail "no tensor of $part"
done
# As many tensors as the files' headers name.
entries=0
for file in "$demo"/*/*.safetensors; do
    here=$(head -c 400000 "$file" | tr '{' '\n' | grep -c '"data_offsets":\[')
    entries=$((entries + here))
done
equal "$entries" "$(tr '{' '\n' <"$said/out" | grep -c '"dtype":')" "tensors"

works inspect "$demo"
for block in $names; do
    grep -q "^$block  *[0-9]" "$said/out" || fail "no line for $block"
done
head -1 "$said/out" | grep -q "^SD 1, diffusers layout, epsilon" || fail "the first line: $(head -1 "$said/out")"
works inspect "$demo/"
works inspect "$demo" --prediction v --json
grep -q '"prediction":"v"' "$said/out" || fail "--prediction is not taken"
cd "$demo" || exit 1
works inspect . --json
cd "$folder/work" || exit 1

# A stranger's picture says nothing to the terminal; what cannot be written is told.
works generate -q -m "$demo" -p "$(printf 'a \033[2J \302\2332J circle')" -o escapes --width 64 --height 64 --steps 1
works inspect escapes/000.png
head -1 "$said/out" | grep -q '^Prompt: a ?\[2J ?2J circle$' || fail "control characters: $(head -1 "$said/out" | od -c | head -3)"
for picture in "$demo" escapes/000.png; do
    "$unetdump" inspect "$picture" --json 2>"$said/err" >/dev/full
    equal 1 $? "exit status at /dev/full"
    equal "unetdump: standard output cannot be written" "$(cat "$said/err")" "the message at /dev/full"
done

finish
