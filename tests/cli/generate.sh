# unetdump generate: which files a run writes, and what is in them.
. "$(dirname "$0")/lib.sh"
version=$("$unetdump" --version | cut -d' ' -f2)

# objects FOLDER: the manifest's files, one object a line, without white space.
objects() {
    tr -d ' \n' <"$1/manifest.json" | awk '{ sub(/.*"files":\[/, ""); gsub(/},\{/, "}\n{"); print }'
}

# listed FOLDER: what the manifest lists is there, and nothing else but itself.
listed() {
    # shellcheck disable=SC2046 # names without spaces
    only_in "$1" manifest.json $(objects "$1" | sed -n 's/^{"file":"\([^"]*\)",.*/\1/p')
}

# entry FOLDER FILE TEXT...: that file's object holds every text.
entry() {
    line=$(objects "$1" | grep -F "{\"file\":\"$2\",") || fail "$1/manifest.json does not list $2"
    in=$1 of=$2
    shift 2
    for text in "$@"; do
        case $line in
        *"$text"*) ;;
        *) fail "$in/manifest.json, $of: no $text in $line" ;;
        esac
    done
}

# 1. The picture alone.
small plain
only_in plain 000.png manifest.json
listed plain
entry plain 000.png '"source":"image"' '"image":0' '"shape":[64,64,3]'
equal "64x64 3" "$("$tool" png plain/000.png)" "000.png"
infotext="Steps: 1, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7.0, Seed: 0, Size: 64x64, Model: demo, Version: unetdump $version"
equal "$prompt
$infotext" "$("$tool" png-text plain/000.png)" "infotext"

# 2. Three blocks, two steps of three, both sides, averages and values.
works generate -m "$demo" -p "$prompt" -n "a blue square, green" -o full --width 64 --height 64 --steps 3 --seed 5 --cfg 5.5 --scheduler Karras \
    --features "IN00,M00,OUT11" --feature-steps "1-3(+2)" --side both --average 2-norm --dump npy
names="manifest.json 000.png"
for block in IN00 M00 OUT11; do
    for step in 001 003; do
        for side in "" -uncond; do
            base=000-unet-$block-$step$side
            names="$names $base.png $base-average.png $base.npy"
            text="\"block\":\"$block\",\"depth\":0,\"step\":${step#00}"
            name_of_side=cond
            [ -z "$side" ] || name_of_side=uncond
            for file in "$base.png" "$base-average.png" "$base.npy"; do
                entry full "$file" '"source":"unet"' '"image":0' "$text" "\"evaluation\":${step#00}" "\"side\":\"$name_of_side\""
            done
        done
    done
done
# shellcheck disable=SC2086
only_in full $names
listed full

# Grids as the notation has them, for square tiles: grid CHANNELS sets columns and rows.
grid() {
    across=1 down=1 left=$1
    while [ $((left % 2)) -eq 0 ]; do
        if [ $across -le $down ]; then across=$((across * 2)); else down=$((down * 2)); fi
        left=$((left / 2))
    done
    if [ $across -le $down ]; then across=$((across * left)); else down=$((down * left)); fi
    if [ $across -gt $down ]; then
        while [ $across -gt $((2 * down)) ] && [ $((across % 2)) -eq 0 ]; do across=$((across / 2)) down=$((down * 2)); done
    else
        while [ $((2 * across)) -lt $down ] && [ $((down % 2)) -eq 0 ]; do across=$((across * 2)) down=$((down / 2)); done
    fi
}
widths=$(tr -d ' \n' <"$demo/unet/config.json" | sed 's/.*"block_out_channels":\[\([0-9,]*\)\].*/\1/')
first=${widths%%,*} deepest=${widths##*,}
grid "$first"
entry full 000-unet-IN00-001.png '"kind":"features"' "\"shape\":[$first,8,8]" "\"grid\":[$across,$down]" '"tile":[8,8]'
equal "$((across * 9 - 1))x$((down * 9 - 1)) 3" "$("$tool" png full/000-unet-IN00-001.png)" "IN00's canvas"
entry full 000-unet-OUT11-003.npy '"kind":"features"' "\"shape\":[$first,8,8]" '"dtype":"float32"'
equal "<f4 C $first, 8, 8" "$("$tool" npy-info full/000-unet-OUT11-003.npy)" "OUT11's array"
grid "$deepest"
entry full 000-unet-M00-003-uncond.png "\"shape\":[$deepest,1,1]" "\"grid\":[$across,$down]" '"tile":[1,1]'
equal "$((across * 2 - 1))x$((down * 2 - 1)) 3" "$("$tool" png full/000-unet-M00-003-uncond.png)" "M00's canvas"
entry full 000-unet-IN00-001-average.png '"kind":"features"' '"average":true' '"grid":[1,1]' '"tile":[8,8]'
equal "8x8 3" "$("$tool" png full/000-unet-IN00-001-average.png)" "IN00's average"
"$tool" npy-finite full/000-unet-OUT11-003.npy || fail "OUT11's array"

# sigma falls, the timestep is the model's.
first=$(objects full | grep -F '"file":"000-unet-IN00-001.png"' | sed 's/.*"sigma":\([0-9.]*\),.*/\1/')
last_sigma=$(objects full | grep -F '"file":"000-unet-IN00-003.png"' | sed 's/.*"sigma":\([0-9.]*\),.*/\1/')
awk "BEGIN { exit !($first > 14.6 && $first < 14.62 && $last_sigma > 0.02 && $last_sigma < 0.04) }" || fail "sigmas $first and $last_sigma"

# The texts in the pictures.
infotext="$prompt
Negative prompt: a blue square, green
Steps: 3, Sampler: Euler a, Schedule type: Karras, CFG scale: 5.5, Seed: 5, Size: 64x64, Model: demo, Version: unetdump $version"
equal "$infotext" "$("$tool" png-text full/000.png)" "infotext"
equal "$infotext
Layer Name: OUT11, Feature Steps: 3" "$("$tool" png-text full/000-unet-OUT11-003.png)" "a canvas's infotext"
"$tool" png-text full/000-unet-OUT11-003-average.png | grep -q "^Layer Name: OUT11, Feature Steps: 3" || fail "an average's infotext"
tr -d '\n' <full/manifest.json | sed 's/: */:/g; s/, */,/g' >flat
for text in '"seed":5' '"sampler":"Euler a"' '"schedule":"Karras"' '"cfg":5.5' '"width":64' '"height":64' '"steps":3' '"evaluations":3' '"batch_size":1' \
    '"negative_prompt":"a blue square,green"' '"device":"cpu"' '"rng":"nv"' '"model":"demo"'; do
    grep -qF "$text" flat || fail "no $text in the manifest"
done

# A canvas is what render makes of its values.
for block in IN00 M00 OUT11; do
    works render full/000-unet-$block-003.npy -o again.png --average 2-norm
    equal 0 "$("$tool" png-gap again.png full/000-unet-$block-003.png)" "canvas of $block and its values, rendered"
    equal 0 "$("$tool" png-gap again-average.png full/000-unet-$block-003-average.png)" "average of $block and its values, rendered"
done

# 3. Values only; colours; all blocks.
small values --features OUT05 --dump npy --no-canvas --average sum
only_in values 000-unet-OUT05-001.npy 000.png manifest.json
listed values
small grey --features OUT05,OUT11 --color white-black --transform sigmoid:2,0.5
equal "1" "$("$tool" png grey/000-unet-OUT05-001.png | cut -d' ' -f2)" "channels of a white-black canvas"
small all --features "" --color red-blue --transform auto11
equal 27 "$(find all -type f | wc -l | tr -d ' ')" "files of all 25 blocks"
listed all

# 4. Two images: names, seeds.
small two --batch-size 2 --seed 7 --features M00
only_in two 000-unet-M00-001.png 000.png 001-unet-M00-001.png 001.png manifest.json
listed two
entry two 001-unet-M00-001.png '"image":1'
"$tool" png-text two/001.png | grep -q ", Seed: 8," || fail "the second image's seed: $("$tool" png-text two/001.png)"
"$tool" png-text two/001-unet-M00-001.png | grep -q ", Seed: 8," || fail "the seed of the second image's canvas"

# 5. cfg 1 runs one side.
small one --cfg 1 --features M00
only_in one 000-unet-M00-001.png 000.png manifest.json
small_refused "uncond|negative" --cfg 1 --side uncond --features M00

# 6. Odd sizes: a skip's size decides, as in diffusers.
works generate -m "$demo" -p "$prompt" -o odd --width 136 --height 120 --steps 1 --features "IN03,IN06,IN09,OUT02,OUT05,OUT08" --dump npy --no-canvas
equal "136x120 3" "$("$tool" png odd/000.png)" "an odd size"
for expected in IN03:8,9 IN06:4,5 IN09:2,3 OUT02:4,5 OUT05:8,9 OUT08:15,17; do
    shape=$("$tool" npy-info "odd/000-unet-${expected%%:*}-001.npy" | sed 's/, */,/g; s/.* [0-9]*,//')
    equal "${expected#*:}" "$shape" "height and width of ${expected%%:*}"
done
works generate -m "$demo" -p "$prompt" -o tall --width 128 --height 192 --steps 1
equal "128x192 3" "$("$tool" png tall/000.png)" "128x192"
works generate -m "$demo" -p "$prompt" -o tiny --width 8 --height 8 --steps 1 --features "" --average sum
equal "8x8 3" "$("$tool" png tiny/000.png)" "8x8"

# 7. Steps past the end.
run 0 generate -m "$demo" -p "$prompt" -o past --width 64 --height 64 --steps 2 --features M00 --feature-steps "2,9"
equal 1 "$(wc -l <"$said/err" | tr -d ' ')" "lines of warning"
grep -qE "^unetdump: .*(past|beyond|only|2 steps|of 2)" "$said/err" || fail "no warning of a step past the end: $(cat "$said/err")"
only_in past 000-unet-M00-002.png 000.png manifest.json
small cut --features M00 --feature-steps "1-9"
only_in cut 000-unet-M00-001.png 000.png manifest.json
small_refused "step" --features M00 --feature-steps 9
small_refused "step" --features M00 --feature-steps "8-9"

# 8. Specs and styles that do not parse.
small_refused "column 6([^0-9]|$).*IN00\.\.IN11|IN00\.\.IN11.*column 6([^0-9]|$)" --features "IN00,IN12"
small_refused "column 3([^0-9]|$)" --features IN00 --feature-steps "1,0"
small_refused "column 5([^0-9]|$)" --features IN00 --color "rgb:w;v;v"
small_refused "linear" --features IN00 --transform "linear:2,1"
marked() { # TEXT COLUMN: stderr's second and third lines are that text and a caret there
    equal "$1" "$(sed -n 2p "$said/err")" "the text: $last"
    equal "$(printf '%*s' "$2" '^')" "$(sed -n 3p "$said/err")" "the caret: $last"
}
small_refused "at column 9" --features IN00 --color "rgb:v;v+;1"
marked "rgb:v;v+;1" 9
small_refused "at column 7" --diff "IN00, XX"
marked "IN00, XX" 7
refuses "negative prompt: .* at line 2, column 10" generate -m "$demo" -o refused -p a -n "x
(~: IN00 b:~)"
marked "(~: IN00 b:~)" 10

# 8b. Any seed, which the picture tells; kinds with spaces between; files as the webui extension's hold features, differences and QK alone.
small any --seed -1
works inspect any/000.png
seed=$(sed -n 's/^Seed: //p' "$said/out")
small again --seed "$seed"
same_files any/000.png again/000.png
small kinds --attention M00 --attention-kind " k , vqk"
only_in kinds 000-attn-M00-001-k.png 000-attn-M00-001-vqk.png 000.png manifest.json tokens.json
small_refused "dump bin holds features, differences and the attention's qk" --attention M00 --attention-kind k,vqk --dump bin
announced() { sed -n 's/^\([0-9]*\) files\?,.*/\1/p' "$said/out"; }
works generate -m "$demo" -p "$prompt" -o bins --width 64 --height 64 --steps 1 --features M00 --attention M00 --attention-kind k,qk --dump bin
equal "$(announced)" "$(find bins -type f ! -name '*.json' | wc -l | tr -d ' ')" "files of a dump as bin"

# 9. Into a folder that has a run already, and into one below others that are not there.
small full
listed_now=$(objects full | wc -l | tr -d ' ')
equal 1 "$listed_now" "files that the second run's manifest lists"
small deep/er/folder
only_in deep/er/folder 000.png manifest.json

finish
