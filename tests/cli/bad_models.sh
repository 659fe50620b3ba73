# Models that are damaged, incomplete or something else: one clear message, status 2, nothing written.
. "$(dirname "$0")/lib.sh"

unet=unet/diffusion_pytorch_model.safetensors

# fresh PART: `m` becomes the demo model, links all but PART, which is a copy.
fresh() {
    rm -rf m
    mkdir m
    for entry in "$demo"/* "$demo"/*/*; do
        name=${entry#"$demo"/}
        if [ -d "$entry" ]; then
            mkdir -p "m/$name"
        elif [ "$name" = "$1" ]; then
            cp "$entry" "m/$name"
            chmod u+w "m/$name"
        else
            ln -s "$entry" "m/$name"
        fi
    done
}
# refused PATTERN [MODEL]
refused() {
    refuses "$1" generate -m "${2:-m}" -p "$prompt" -o refused --width 64 --height 64 --steps 1 --features M00 --device reference
    nothing_in refused
    rm -rf refused
}

fresh ""
works generate -m m -p "$prompt" -o good --width 8 --height 8 --steps 1 --device reference

# What is not there.
refused "nowhere" nowhere
mkdir empty
refused "empty" empty
for part in unet vae text_encoder; do
    fresh ""
    rm m/$part/*.safetensors
    refused "m/$part" m
done
fresh ""
rm -r m/unet
refused "unet"

# Files of another kind.
printf 'PK\003\004 a zip archive with a pickle in it, as checkpoints used to be' >old.ckpt
refused "old.ckpt.*safetensors|safetensors.*old.ckpt" old.ckpt
: >empty.safetensors
refused "empty.safetensors" empty.safetensors
echo "This is not a checkpoint, only a text." >text.safetensors
refused "text.safetensors" text.safetensors
refused "model|checkpoint|tensor" "$demo/$unet"

# Headers. altered PATTERN TENSOR KEY VALUE: the U-Net's header with another value.
altered() {
    fresh $unet
    "$tool" entry m/$unet "$2" "$3" "$4" || fail "the demo model's header cannot be changed: $2"
    refused "$1"
}
offsets=$("$tool" entry "$demo/$unet" conv_in.weight data_offsets | tr -d '[]')
begin=${offsets%,*} end=${offsets#*,}
wide=$("$tool" entry "$demo/$unet" conv_in.weight shape | tr -d '[]' | cut -d, -f1)
altered "conv_in\.weight" conv_in.weight data_offsets "[$((begin - 24)),$((end - 24))]"
altered "conv_in\.weight" conv_in.weight data_offsets "[$((begin + 1)),$((end + 1))]"
altered "conv_in\.weight" conv_in.weight data_offsets "[-8,$((end - begin - 8))]"
altered "conv_in\.weight" conv_in.weight data_offsets "[$end,$begin]"
altered "conv_in\.weight" conv_in.weight data_offsets "[6.5,99]"
altered "conv_in\.weight" conv_in.weight data_offsets "[$begin]"
altered "conv_in\.weight" conv_in.weight data_offsets "null"
altered "conv_in\.weight" conv_in.weight dtype '"F32"'
altered "conv_in\.weight" conv_in.weight dtype '"Q16"'
altered "conv_in\.weight" conv_in.weight dtype '"I16"'
altered "conv_in\.weight" conv_in.weight dtype '16'
altered "conv_in\.weight" conv_in.weight shape "[$wide,4,3,2]"
altered "conv_in\.weight" conv_in.weight shape "[$wide,-4,-9]"
altered "conv_in\.weight" conv_in.weight shape "[]"
altered "conv_in.*\[$wide, 4, 3, 3\].*\[$wide, 4, 9, 1\]" conv_in.weight shape "[$wide,4,9,1]"
altered "conv_in.*\[$wide, 36\]" conv_in.weight shape "[$wide,36]"

deep=$("$tool" entry "$demo/$unet" mid_block.resnets.0.conv1.weight shape | tr -d '[]' | cut -d, -f1)
altered "mid_block.resnets.0.conv1.*\[$deep, $deep, 3, 3\].*\[$deep, $deep, 9, 1\]" mid_block.resnets.0.conv1.weight shape "[$deep,$deep,9,1]"
fresh text_encoder/model.safetensors
layer=text_model.encoder.layers.0.mlp.fc1.weight
text=$("$tool" entry m/text_encoder/model.safetensors $layer shape | tr -d '[]' | cut -d, -f2)
"$tool" entry m/text_encoder/model.safetensors $layer shape "[$text,$((4 * text))]"
refused "mlp\.fc1.*found \[$text, $((4 * text))\]"

# header PATTERN OLD NEW: the U-Net's header with NEW for OLD.
header() {
    fresh $unet
    "$tool" header m/$unet "$2" "$3" || fail "the demo model has no $2"
    refused "$1"
}
header "conv_in\.weight" '"conv_in.weight"' '"conv_im.weight"'
header "duplicate" '"down_blocks.0.attentions.0.norm.bias"' '"down_blocks.0.attentions.1.norm.bias"'
header "$unet" '{"__metadata__"' '["__metadata__"'
header "$unet" '"conv_in.bias":{' '"conv_in.bias";{'
for bytes in 0 1 7 400 99999999 100000001 9223372036854775807 18446744073709551615; do
    fresh $unet
    "$tool" size m/$unet "$bytes"
    refused "$unet"
done

# Data cut short, or more than the header says.
for bytes in 4 8 1000 100000 "$(($(wc -c <"$demo/$unet") - 1))"; do
    fresh ""
    rm m/$unet
    head -c "$bytes" "$demo/$unet" >m/$unet
    refused "$unet"
done
fresh $unet
echo more >>m/$unet
refused "$unet"
for file in vae/diffusion_pytorch_model.safetensors text_encoder/model.safetensors; do
    fresh ""
    rm m/$file
    head -c 500000 "$demo/$file" >m/$file
    refused "$file"
done
fresh text_encoder/model.safetensors
"$tool" header m/text_encoder/model.safetensors '"text_model.final_layer_norm.bias"' '"text_model.final_layer_norm.bios"'
refused "final_layer_norm\.bias"
fresh vae/diffusion_pytorch_model.safetensors
"$tool" header m/vae/diffusion_pytorch_model.safetensors '"decoder.conv_out.weight"' '"decoder.conv_out.weighs"'
refused "decoder\.conv_out\.weight"

# Sharded, with an index that leads elsewhere.
fresh ""
mv m/$unet m/outside.safetensors
for target in ../outside.safetensors "$folder/work/m/outside.safetensors" missing.safetensors; do
    printf '{"metadata":{},"weight_map":{"conv_in.weight":"%s"}}\n' "$target" >m/$unet.index.json
    refused "safetensors"
done
echo '{"weight_map":[]}' >m/$unet.index.json
refused "index.json"
echo '{"weight_map"' >m/$unet.index.json
refused "index.json"

# Configurations.
fresh unet/config.json
echo '{"attention_head_dim": ' >m/unet/config.json
refused "unet/config.json"
fresh unet/config.json
awk 'BEGIN { for (i = 0; i < 100000; i++) printf "[" }' >m/unet/config.json
refused "unet/config.json"
fresh unet/config.json
sed 's/"attention_head_dim": [0-9]*,/"attention_head_dim": 0,/' "$demo/unet/config.json" >m/unet/config.json
refused "0 heads"
fresh unet/config.json
sed 's/"attention_head_dim": [0-9]*,/"attention_head_dim": 7,/' "$demo/unet/config.json" >m/unet/config.json
refused "7 heads"
for value in 1.5 '"two"' '[2]' '{}'; do
    fresh unet/config.json
    sed 's/"attention_head_dim": [0-9]*,/"attention_head_dim": '"$value"',/' "$demo/unet/config.json" >m/unet/config.json
    refused "attention_head_dim"
done
fresh scheduler/scheduler_config.json
sed 's/"epsilon"/"nonsense"/' "$demo/scheduler/scheduler_config.json" >m/scheduler/scheduler_config.json
refused "scheduler_config.json.*nonsense"

# NaN and infinity among the weights: told by name, and the run goes on.
# warns TENSOR
warns() {
    run 0 generate -m m -p "$prompt" -o warned --width 8 --height 8 --steps 1 --features M00 --device reference
    equal 2 "$(wc -l <"$said/err" | tr -d ' ')" "lines of warning: $(head -c 300 "$said/err")"
    tail -1 "$said/err" | grep -qE "^unetdump: warning: [0-9]+ values of the decoded pictures are no numbers" || fail "NaN in the picture is not told: $(cat "$said/err")"
    grep -q "^unetdump: warning: .*$1" "$said/err" || fail "no warning that names $1: $(cat "$said/err")"
    only_in warned 000-unet-M00-001.png 000.png manifest.json
    rm -rf warned
}
fresh $unet
"$tool" halves m/$unet mid_block.resnets.0.conv1.bias 7e00
warns "mid_block\.resnets\.0\.conv1\.bias"
run 0 inspect m
grep -q "mid_block\.resnets\.0\.conv1\.bias" "$said/err" || fail "inspect does not name the tensor with NaN"
fresh vae/diffusion_pytorch_model.safetensors
"$tool" halves m/vae/diffusion_pytorch_model.safetensors decoder.conv_out.bias fe00
warns "decoder\.conv_out\.bias"
fresh text_encoder/model.safetensors
"$tool" halves m/text_encoder/model.safetensors text_model.final_layer_norm.bias 7e00
warns "text_model\.final_layer_norm\.bias"

finish
