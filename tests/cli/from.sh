# generate --from, --init, variations, batches, tiles: pictures made again from what they say about themselves.
. "$(dirname "$0")/lib.sh"

# again PICTURE ARGUMENT...: the picture made again from its own text is the same file.
again() {
    picture=$1
    shift
    rm -rf again
    works generate -m "$demo" -o again --from "$picture" "$@"
    same_files "$picture" again/000.png
}

works generate -m "$demo" -p 'a (red:1.2) circle, "quoted": [a|b]' -n 'x, y: z' -o many --width 64 --height 72 --steps 3 --sampler "DPM++ 2M Karras" --cfg 3.5 \
    --seed 18446744073709551613 --batch-size 2 --batch-count 2 --clip-skip 2 --features M00 --feature-steps 2
only_in many 000.png 001.png 002.png 003.png 000-unet-M00-002.png 001-unet-M00-002.png 002-unet-M00-002.png 003-unet-M00-002.png manifest.json
grep -q '"batch_count": 2' many/manifest.json || fail "the manifest does not say how many batches"
equal 4 "$(grep -c '"source": "image"' many/manifest.json)" "pictures in the manifest"
for i in 0 1 2 3; do again many/00$i.png; done
other_files many/000.png many/002.png
again many/003.png --features M00 --feature-steps 2
same_files many/003-unet-M00-002.png again/000-unet-M00-002.png
# A map leads to its picture.
works generate -m "$demo" -o frommap --from many/002-unet-M00-002.png
same_files many/002.png frommap/000.png

# Everything that a text has a key for.
works generate -m "$demo" -p "$prompt" -o keys --width 64 --height 64 --steps 4 --sampler "Euler a" --scheduler "SGM Uniform" --eta 0.123456789 --s-noise 1.003 --ensd 31337 \
    --rng cpu --variation-seed 5 --variation-strength 0.3333
again keys/000.png
works generate -m "$demo" -p "$prompt" -o ddim --width 64 --height 64 --steps 5 --sampler DDIM --eta 0.5
"$tool" png-text ddim/000.png | grep -q ", Eta DDIM: 0.5, " || fail "DDIM's eta has the webui's key: $("$tool" png-text ddim/000.png)"
again ddim/000.png

# What the command line says goes first.
works generate -m "$demo" -o over --from keys/000.png --seed 9 --steps 2 --width 72 --sampler Euler -p green
"$tool" png-text over/000.png | grep -qF "Steps: 2, Sampler: Euler, Schedule type: SGM Uniform, CFG scale: 7.0, Seed: 9, Size: 72x64" || fail "options do not go first: $("$tool" png-text over/000.png)"
"$tool" png-text over/000.png | head -1 | grep -qx green || fail "the prompt does not go first"

# Variations share a seed; their own seeds count up.
small varied --batch-size 2 --variation-seed 7 --variation-strength 0.2 --seed 3
"$tool" png-text varied/001.png | grep -qF "Seed: 3, Size: 64x64, Model: demo, Variation seed: 8, Variation seed strength: 0.2" || fail "a variation's text: $("$tool" png-text varied/001.png)"
other_files varied/000.png varied/001.png
small plain --seed 3
other_files varied/000.png plain/000.png

# From a picture.
works generate -m "$demo" -p green -o begun --init many/000.png --strength 0.5 --steps 4
"$tool" png-text begun/000.png | grep -qF "Size: 64x72, Model: demo, Denoising strength: 0.5" || fail "img2img's text: $("$tool" png-text begun/000.png)"
again begun/000.png --init many/000.png
refuses "begun/000.png was made from another picture .img2img.: give that with --init" generate -m "$demo" -o refused --from begun/000.png
works generate -m "$demo" -p green -o resized --init many/000.png --width 128 --height 64 --steps 4
works generate -m "$demo" -p green -o wider --init many/000.png --width 128 --steps 2
"$tool" png-text wider/000.png | grep -qF "Size: 128x72" || fail "the height is not the picture's: $("$tool" png-text wider/000.png)"
"$tool" png-text resized/000.png | grep -qF "Size: 128x64, Model: demo, Denoising strength: 0.75" || fail "a resized picture: $("$tool" png-text resized/000.png)"
for sampler in "Euler a" LMS Heun DPM2 "DPM2 a" "DPM++ 2S a" "DPM++ 2M" "DPM++ SDE" "DPM++ 2M SDE" "DPM++ 3M SDE" DDIM PLMS UniPC LCM; do
    works generate -m "$demo" -p green -o "with $sampler" --init many/000.png --strength 0.5 --steps 6 --sampler "$sampler"
    other_files "with $sampler/000.png" many/000.png
done
for strength in 0 1; do works generate -m "$demo" -p green -o "strength$strength" --init many/000.png --strength $strength --steps 2; done
small_refused "^unetdump: strength: 1.5 is not from 0 to 1$" --init many/000.png --strength 1.5
small_refused "^unetdump: --strength needs --init$" --strength 0.5
small_refused "missing.png: cannot be opened" --init missing.png
small_refused "manifest.json: not a PNG file" --init many/manifest.json
small_refused "^unetdump: --variation-seed needs --variation-strength$" --variation-seed 4
small_refused "^unetdump: variation strength: 2 is not from 0 to 1$" --variation-strength 2
small_refused "^unetdump: --batch-count: expected a number from 1, found 0$" --batch-count 0
small_refused "vae tile: not a size for a tile: expected a multiple of 8 from 128 to 16384, found 100" --vae-tile 100
"$tool" npy noise.npy '<f4' C 1,4,8,8 wave
small_refused "noise: given noise has no variations, and is for one batch" --noise noise.npy --batch-count 2
works generate -m "$demo" -p "$prompt" -o noisy --width 64 --height 64 --steps 2 --noise noise.npy
again noisy/000.png --noise noise.npy
refuses "noisy/000.png was made from noise that was given: give that with --noise" generate -m "$demo" -o refused --from noisy/000.png
for size in 12 -8 0; do small_refused "expected a multiple of 8 from 8 to 16384, found $size" --width $size; done

# Tiles.
works generate -m "$demo" -p "$prompt" -o tiles --width 256 --height 128 --steps 2 --vae-tile 128
works generate -m "$demo" -p "$prompt" -o whole --width 256 --height 128 --steps 2
other_files tiles/000.png whole/000.png
again tiles/000.png
works generate -m "$demo" -p "$prompt" -o untiled --width 256 --height 128 --steps 2 --vae-tile 256
equal 0 "$("$tool" png-gap untiled/000.png whole/000.png)" "a tile as large as the picture"

# What the webui says and we lack, or do not know.
"$tool" png-with foreign.png "cat
Negative prompt: dog
Steps: 2, Sampler: Euler, CFG scale: 2, Seed: 4, Size: 64x64, Denoising strength: 0.4, Hires upscale: 2, Mystery: 1, ControlNet 0: \"a, b\", Version: v1.10.1"
run 0 generate -m "$demo" -o foreign --from foreign.png
printf '%s\n%s\n' "unetdump: warning: foreign.png: the picture will be another one, since these are not there: Hires upscale, ControlNet 0" \
    "unetdump: warning: foreign.png: unknown, and left out: Mystery" >"$said/expected"
cmp -s "$said/expected" "$said/err" || fail "warnings: $(cat "$said/err")"
works inspect foreign.png
printf '%s\n' "Prompt: cat" "Negative prompt: dog" "Steps: 2" "Sampler: Euler" "CFG scale: 2" "Seed: 4" "Size: 64x64" "Denoising strength: 0.4" \
    "Hires upscale: 2  (not there: the picture will be another one)" "Mystery: 1  (unknown)" "ControlNet 0: a, b  (not there: the picture will be another one)" \
    "Version: v1.10.1" >"$said/expected"
cmp -s "$said/expected" "$said/out" || fail "inspect: $(cat "$said/out")"
works inspect foreign.png --json
grep -q '"use":"lacking"' "$said/out" || fail "inspect --json: $(cat "$said/out")"

# Files that it names, and that are others here, or not there.
"$tool" png-with files.png "a foo cat
Steps: 1, Sampler: Euler, CFG scale: 2, Seed: 4, Size: 64x64, Model hash: 0123456789, Model: other, VAE hash: 999, VAE: zz.pt, TI hashes: \"fancy-style: 0123, bar: 45\", Version: v1.10.1"
run 0 generate -m "$demo" -o named --from files.png --embeddings "$root/tests/parity/goldens/embeddings"
printf '%s\n' "unetdump: warning: files.png: it was made by the model other, which may not be $demo" \
    "unetdump: warning: files.png: it was made by the autoencoder zz.pt: give that with --vae" \
    "unetdump: warning: files.png: the picture will be another one, since these embeddings are not there: bar" >"$said/expected"
cmp -s "$said/expected" "$said/err" || fail "files: $(cat "$said/err")"
run 0 generate -m "$demo" -o named --from files.png --vae "$demo/vae"
grep -q "the autoencoder zz.pt, which may not be $demo/vae$" "$said/err" || fail "files, with --vae: $(cat "$said/err")"
grep -q "since these embeddings are not there: fancy-style, bar (see --embeddings)$" "$said/err" || fail "files, without embeddings: $(cat "$said/err")"
"$tool" png-with files.png "cat
Steps: 1, Sampler: Euler, Seed: 4, Size: 64x64, Model: ${demo##*/}, VAE: vae.safetensors, TI hashes: \"fancy-style: 0123\""
works generate -m "$demo/" -o named --from files.png --vae "$demo/vae" --embeddings "$root/tests/parity/goldens/embeddings"

# Warnings are a line each, whatever the picture says and is called.
odd=$(printf 'a\033[31m\nb.png')
"$tool" png-with "$odd" "cat
Steps: 1, Sampler: Euler, Seed: 4, Size: 64x64, Model: \"c\u001b[31m\nd\", VAE: \"e\nf\", TI hashes: \"g\nh: 0123\", Mystery: 1"
run 0 generate -m "$demo" -o named --from "$odd"
printf '%s\n' "unetdump: warning: a?[31m b.png: unknown, and left out: Mystery" "unetdump: warning: a?[31m b.png: it was made by the model c?[31m d, which may not be $demo" \
    "unetdump: warning: a?[31m b.png: it was made by the autoencoder e f: give that with --vae" \
    "unetdump: warning: a?[31m b.png: the picture will be another one, since these embeddings are not there: g h (see --embeddings)" >"$said/expected"
cmp -s "$said/expected" "$said/err" || fail "warnings: $(cat -v "$said/err")"

# The manifest says how many steps are run, and how many were asked for, as the picture does.
steps_of() { grep -o '"steps": [0-9]*, "steps_asked": [0-9]*' "$1/manifest.json"; }
works generate -m "$demo" -p green -o asked --width 64 --height 64 --steps 6 --sampler "DPM fast"
equal '"steps": 3, "steps_asked": 6' "$(steps_of asked)" "DPM fast"
works generate -m "$demo" -p green -o asked --init many/000.png --steps 6 --strength 0.5
equal '"steps": 4, "steps_asked": 6' "$(steps_of asked)" "img2img"
"$tool" png-text asked/000.png | grep -q "^Steps: 6," || fail "the picture says other steps"

# What a sampler does not use is not said.
keys_of() {
    works generate -m "$demo" -p a -o unused --width 64 --height 64 --steps 2 "$@"
    works inspect unused/000.png
    grep -E '^(ENSD|Eta|Eta DDIM|Sigma noise): ' "$said/out" | tr '\n' ' '
}
equal "" "$(keys_of --sampler Heun --ensd 31337 --eta 0.5 --s-noise 2)" "Heun draws no noise"
equal "" "$(keys_of --sampler "DPM++ SDE" --ensd 31337 --eta 1)" "the SDE samplers' noise has no generator"
equal "Eta: 0.0 " "$(keys_of --ensd 5 --eta 0 --s-noise 2)" "without noise"
equal "ENSD: 5 Eta: 0.5 Sigma noise: 1.5 " "$(keys_of --ensd 5 --eta 0.5 --s-noise 1.5)" "with noise"
equal "ENSD: 3 Eta DDIM: 0.5 " "$(keys_of --sampler DDIM --ensd 3 --eta 0.5)" "DDIM"
equal "" "$(keys_of --sampler DDIM --ensd 3 --eta 0)" "DDIM without noise"
"$tool" png-with bad.png "cat
Steps: many, Seed: 4, Size: 64x64"
refuses "^unetdump: --from: Steps: not a value for this parameter: found many$" generate -m "$demo" -o refused --from bad.png
"$tool" png-with unknown.png "cat
Steps: 2, Sampler: Magic, Seed: 4, Size: 64x64"
refuses "unknown sampler" generate -m "$demo" -o refused --from unknown.png
"$tool" png-with size.png "cat
Steps: 2, Seed: 4, Size: 65x64"
refuses "expected a multiple of 8 from 8 to 16384, found 65" generate -m "$demo" -o refused --from size.png
refuses "missing.png: cannot be opened" generate -m "$demo" -o refused --from missing.png
refuses "many/manifest.json: not a PNG file" generate -m "$demo" -o refused --from many/manifest.json
refuses "missing.png: cannot be opened" inspect missing.png
head -c 500 many/000.png >cut.png
run 2 generate -m "$demo" -o refused --init cut.png -p x
complains "cut.png: a damaged PNG: the file ends too early"
nothing_in refused

finish
