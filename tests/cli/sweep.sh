# unetdump sweep: blocks x variants x seeds, ranked; resumed, in parts, killed.
. "$(dirname "$0")/lib.sh"

quick="--width 64 --height 64 --steps 2 --cfg 3.5 -q"
green="a green circle on a blue background"

# sweep FOLDER ARGUMENT...: a small one.
sweep() {
    sweep_folder=$1
    shift
    # shellcheck disable=SC2086
    works sweep -m "$demo" -p "$prompt" -o "$sweep_folder" $quick "$@"
}

# same_folders A B: byte for byte, hidden files included.
same_folders() {
    diff -r "$1" "$2" >"$said/found" 2>&1 || fail "$1 and $2 differ: $(head -3 "$said/found")"
}

# key FOLDER BLOCKS SEED: of that cell, by the table.
key() {
    awk -F, -v blocks="\"$2\"" -v seed="$3" '$1 == blocks && $2 == seed { print $NF }' "$1/sweep.csv"
}

# Two seeds, three choices of blocks: a base and three cells each.
sweep whole --replace red=green --blocks "IN01-IN02; OUT06-OUT08; M00" --seeds 1,2
equal 8 "$(ls whole/cells/*.png | wc -l)" "pictures"
equal 24 "$(ls -A whole/cells | wc -l)" "files of cells"
equal 7 "$(wc -l <whole/sweep.csv)" "lines of sweep.csv"
only_in whole/ cells index.html results.json sheet.png sweep.csv sweep.json $(cd whole && ls -A cells | sed 's,^,cells/,')
grep -q "^rank  blocks " "$said/out" || fail "no ranking"
equal 3 "$(grep -c "^   [1-3]  " "$said/out")" "lines of the ranking"

# Each is what generate makes of the layer prompts, within a batch's rounding; on the reference device to the bit.
same_picture() {
    # shellcheck disable=SC2086
    works generate -m "$demo" -p "$4" -o alone --seed "$3" $quick $5
    gap=$("$tool" png-gap alone/000.png "$1/cells/$(key "$1" "$2" "$3").png")
    [ "${gap:-9}" -le "$6" ] || fail "$1: $2 differs by ${gap:-much} from: $4"
}
same_picture whole IN01-IN02 2 "a (~: _: red; IN01-IN02: green :~) circle on a blue background" "" 1
same_picture whole OUT06-OUT08 1 "a (~: _: red; OUT06-OUT08: green :~) circle on a blue background" "" 1
sweep reference --device reference --variant "$green" --blocks "M00;OUT04-OUT11" --seed 3
same_picture reference OUT04-OUT11 3 "a (~: _: red; OUT04-OUT11: green :~) circle on a blue background" "--device reference" 0

# The picture's own text makes it again.
works generate -m "$demo" -o again -q --from "whole/cells/$(key whole M00 2).png"
gap=$("$tool" png-gap again/000.png "whole/cells/$(key whole M00 2).png")
[ "${gap:-9}" -le 1 ] || fail "--from a cell's picture differs by ${gap:-much}"

# Again: nothing is made, nothing changes; a lost, cut or changed file is made again.
cp -r whole before
stamp=$(stat -c %Y.%i whole/cells/*.png)
sweep whole --replace red=green --blocks "IN01-IN02; OUT06-OUT08; M00" --seeds 1,2
equal "$stamp" "$(stat -c %Y.%i whole/cells/*.png)" "a rerun's pictures"
same_folders before whole
rm "whole/cells/$(key whole M00 1).npy"
truncate -s 100 "whole/cells/$(key whole M00 2).png"
echo '{"key": 3' >"whole/cells/$(key whole IN01-IN02 1).json"
rm whole/sheet.png whole/sweep.csv
sweep whole --replace red=green --blocks "IN01-IN02; OUT06-OUT08; M00" --seeds 1,2
same_folders before whole

# Three parts at the same time, then what they come to. The batches are the same, so are the bytes.
for part in 1/3 2/3 3/3; do
    # shellcheck disable=SC2086
    "$unetdump" sweep -m "$demo" -p "$prompt" -o parts $quick --replace red=green --blocks "IN01-IN02; OUT06-OUT08; M00" --seeds 1,2 --batch-size 3 --shard $part \
        >"$said/out-${part%/3}" 2>&1 &
    eval "job_${part%/3}=$!"
done
for part in 1 2 3; do
    eval "wait \$job_$part" || fail "part $part: $(head -3 "$said/out-$part")"
done
run 0 sweep --collect -o parts
sweep one --replace red=green --blocks "IN01-IN02; OUT06-OUT08; M00" --seeds 1,2 --batch-size 3
same_folders one parts

# Killed half-way, then run again. More cells: it must not be done before the signal comes.
many="--steps 8 --replace red=green --seeds 1-4 --blocks IN01;IN02;IN04;IN05;M00;OUT06;OUT08 --batch-size 4"
sweep unharmed $many
# shellcheck disable=SC2086
"$unetdump" sweep -m "$demo" -p "$prompt" -o killed $quick $many >/dev/null 2>&1 &
job=$!
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
    [ -n "$(ls killed/cells/*.json 2>/dev/null)" ] && break
    sleep 0.1
done
kill -9 $job
wait $job 2>/dev/null
[ -f killed/sheet.png ] && fail "the sweep was done before it was killed: this tested nothing"
: >"killed/cells/.$(key unharmed M00 4).png.partial-9999999-0" # of a process that is no more: there are no such numbers
run 0 sweep --collect -o killed
grep -q "pictures are not there" "$said/err" || fail "collect does not say what is missing"
sweep killed $many
same_folders unharmed killed

# SIGINT ends it with one line, and leaves whole cells alone.
# shellcheck disable=SC2086
"$unetdump" sweep -m "$demo" -p "$prompt" -o stopped $quick $many --steps 20 >"$said/out" 2>"$said/err" &
job=$!
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
    [ -f stopped/sweep.json ] && break
    sleep 0.1
done
kill -INT $job
expected=130 last="sweep, interrupted"
wait $job
ended $?
complains "cancel"
[ -z "$(find stopped -name '*.partial*')" ] || fail "half-written files after SIGINT"

# Machine-readable: the same as the file; all blocks by default, block by block; outputs too.
sweep all --replace red=green --diff OUT11 --diff-steps 2 --json
equal 25 "$(grep -o '"ranking":.*"variants"' "$said/out" | grep -o '"blocks"' | wc -l)" "ranked blocks"
grep -q '"block": "OUT11"' all/results.json || fail "no outputs' differences"

# What README says of the demo model: these five blocks make the colour, and both halves of them do more than all others.
works sweep -m "$demo" -o colour --width 128 --height 128 --cfg 3.5 --seed 1 -q -p "$prompt" --replace red=green \
    --blocks "IN01-IN02; IN04-IN11,M00,OUT00-OUT05; OUT06-OUT08; OUT09-OUT11; IN01-IN02,OUT06-OUT08"
equal "IN01-IN02,OUT06-OUT08 IN01-IN02 OUT06-OUT08" "$(awk '$1 ~ /^[123]$/ { print $2 }' "$said/out" | paste -sd" ")" "the blocks that make the colour"

# LoRAs: one in each block by itself; weights.
lora=$root/tests/parity/goldens/lora-kohya.safetensors
sweep lora --lora "$lora" --blocks "IN01;OUT05" --lora-weights 0.5,1 --seed 3
equal 5 "$(ls lora/cells/*.png | wc -l)" "pictures with a LoRA"
works generate -m "$demo" -p "$prompt" -o one-block -q --width 64 --height 64 --steps 2 --cfg 3.5 --seed 3 \
    --lora "$lora:0.5:IN00-OUT11=0,OUT05=1,TE=0"
half=$(awk -F, '$1 == "\"OUT05\"" && $3 == 0.5 { print $NF }' lora/sweep.csv)
equal 0 "$("$tool" png-gap one-block/000.png "lora/cells/$half.png")" "a LoRA in one block"

# What is wrong is said before anything is made.
refused() {
    pattern=$1
    shift
    # shellcheck disable=SC2086
    refuses "$pattern" sweep -m "$demo" -p "$prompt" -o refused $quick "$@"
    nothing_in refused
}
refused "something that varies"
refused "--replace: 'purple' is not in the prompt" --replace purple=green
refused "--replace: expected OLD=NEW" --replace red
refused "^unetdump: --blocks: unknown block at column 5: .*, found IN77" --replace red=green --blocks "IN01;M00,IN77"
refused "^unetdump: variant 1: .* at column [0-9]+" --variant "(~: M00 x :~)"
refused "--blocks: no block" --replace red=green --blocks " ; "
refused "--seeds: expected" --replace red=green --seeds "1,x"
refused "--seeds: expected" --replace red=green --seeds "5-2"
refused "--seed and --seeds" --replace red=green --seeds 1 --seed 2
refused "--shard: expected" --replace red=green --shard 3/2
refused "pip install 'unetdump\[ray\]'" --replace red=green --engine ray --workers 2 --ray-address auto
refused "--engine: expected local or ray" --replace red=green --engine dask
refused "need --engine ray" --replace red=green --workers 2
refused "--lora-weights needs --lora" --replace red=green --lora-weights 1
refused "variant 1" --variant "a (~: IN01 green"
refused "':~\)'" --variant "a :~) circle"
refused "width" --replace red=green --width 63
refused "sampler" --replace red=green --sampler Nobody
refuses "sweep.json is not there" sweep --collect -o "$said"
refuses "needs -o" sweep --collect
printf '{"unetdump": "0", "kind": "prompts"}\n' >sweep.json
refuses "sweep.json: it does not say" sweep --collect -o .

finish
