# Runs that are killed at any moment leave whole files, and --resume makes the folder what an uninterrupted run makes it.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

# long FOLDER ARGUMENT...: what is run here, three batches, everything captured. $how: exec, where the process itself is to be killed.
how=
long() {
    where=$1
    shift
    $how "$unetdump" generate -q -m "$demo" -p "a (~: _: red; OUT06-OUT08: green :~) circle" -o "$where" --width 64 --height 64 --steps 2 --batch-count 3 \
        --features "IN05" --diff OUT11 --attention OUT05 --attention-kind qk,self --attention-words circle --average sum "$@"
}

# list FOLDER: its files and their sums; the times in the bin dump's names aside.
list() {
    (cd "$1" && find . -type f | sort | xargs cksum) | sed 's/-1[0-9]\{9\}\.bin/-TIME.bin/g' | sort
}

same_folders() {
    list "$1" >"$said/expected"
    list "$2" >"$said/found"
    cmp -s "$said/expected" "$said/found" && return
    fail "$1 and $2 differ: $last"
    diff "$said/expected" "$said/found" | head -6
}

# whole_files FOLDER WHOLE: every file under its own name is what an uninterrupted run makes it.
whole_files() {
    list "$2" >"$said/expected"
    list "$1" | grep -vE '/\.|/unfinished\.jsonl$' | comm -23 - "$said/expected" >"$said/found"
    [ ! -s "$said/found" ] || fail "not whole: $last: $(head -3 "$said/found")"
}

# killed FOLDER COUNT ARGUMENT...: killed once there are COUNT files.
killed() {
    killed_folder=$1 count=$2
    shift 2
    how=exec
    long "$killed_folder" "$@" &
    process=$!
    how=
    while kill -0 $process 2>/dev/null && [ "$(find "$killed_folder" -type f 2>/dev/null | wc -l)" -lt "$count" ]; do sleep 0.01; done
    kill -KILL $process 2>/dev/null
    wait $process 2>/dev/null
    last="killed at $count files: $*"
}

for dump in npy bin safetensors; do
    long "whole-$dump" --dump $dump || fail "an uninterrupted run with $dump"
    [ ! -e "whole-$dump/unfinished.jsonl" ] || fail "a run that ended well left its journal"
done

# In the first batch and in the last one.
each=$(($(find whole-npy -type f | wc -l) / 3))
for count in 3 $((2 * each + 3)); do
    killed cut-npy $count --dump npy
    whole_files cut-npy whole-npy
    cp cut-npy/unfinished.jsonl "$said/journal"
    long cut-npy --dump npy --resume --seed 4 2>"$said/err" && fail "another seed was taken for the same run"
    same_files "$said/journal" cut-npy/unfinished.jsonl
    long cut-npy --dump npy --resume || fail "resuming after $count files"
    same_folders whole-npy cut-npy
    rm -rf cut-npy
done
for dump in bin safetensors; do
    count=$(($(find whole-$dump -type f | wc -l) / 2))
    killed "cut-$dump" $count --dump $dump
    whole_files "cut-$dump" "whole-$dump"
    for folder in $(cd "whole-$dump" && find . -type d); do # as if killed while a file of each folder was written
        mkdir -p "cut-$dump/$folder" && echo cut >"cut-$dump/$folder/.cut.partial-$process-0"
    done
    long "cut-$dump" --dump $dump --resume || fail "resuming with $dump"
    sed -i 's/-1[0-9]\{9\}\.bin/-TIME.bin/' "whole-$dump/manifest.json" "cut-$dump/manifest.json"
    same_folders "whole-$dump" "cut-$dump"
done

# What is whole is not written again; what is missing, or cut, is, with its whole batch.
cp -rp whole-npy again
touch -d 2001-01-01 again/*
rm again/000-unet-IN05-001.npy
head -c 100 whole-npy/002.png >again/002.png
long again --dump npy --resume || fail "resuming with a missing and a cut file"
same_folders whole-npy again
equal 2001 "$(date -r again/001.png +%Y)" "year of a picture of the batch that was whole"
[ "$(date -r again/000.png +%Y)" -gt 2001 ] || fail "the batch with the missing file was not run again"
[ "$(date -r again/002.png +%Y)" -gt 2001 ] || fail "the batch with the cut file was not run again"

# A finished run stays as it is.
touch -d 2001-01-01 again/*.png again/*.npy
long again --dump npy --resume || fail "resuming a finished run"
same_folders whole-npy again
equal 0 "$(find again -name '*.png' -newermt 2002-01-01 | wc -l)" "pictures written again"

# Another run's folder is refused, and stays.
for option in "--steps 3" "--color red-blue" "--seed 4" "--features IN06"; do
    # shellcheck disable=SC2086 # an option and its value
    long again --dump npy --resume $option >"$said/out" 2>"$said/err"
    equal 2 $? "exit status with $option"
    grep -qE "another run is in the folder|other options" "$said/err" || fail "no reason with $option: $(cat "$said/err")"
done
lora=$root/tests/parity/goldens/lora-kohya.safetensors
works generate -q -m "$demo" -p "a circle" -o weighted --width 64 --height 64 --steps 2 --lora "$lora:0.5"
for option in "--lora $lora:0.5:M00=0" "--lora $lora:0.5:TE=0" "--lora $lora:0.5 --vae $demo/vae"; do
    # shellcheck disable=SC2086
    refuses "another run is in the folder: infotext differs: .*(Lora block weights|VAE)" generate -q -m "$demo" -p "a circle" -o weighted --width 64 --height 64 --steps 2 --resume $option
done
cp "$lora" same.safetensors
works generate -q -m "$demo" -p "a circle" -o renewed --width 64 --height 64 --steps 2 --lora same.safetensors
printf '\001' | dd of=same.safetensors bs=1 seek=$(($(wc -c <"$lora") - 2)) conv=notrunc 2>/dev/null
refuses "with other LoRA files, is in the folder" generate -q -m "$demo" -p "a circle" -o renewed --width 64 --height 64 --steps 2 --resume --lora same.safetensors
long again --dump bin --resume 2>"$said/err" && fail "another dump was taken for the same run"
same_folders whole-npy again

finish
