# unetdump generate: the same run gives the same bytes, looked into or not, alone or in a batch.
. "$(dirname "$0")/lib.sh"

for device in cpu reference; do
    options="--device $device --width 64 --height 64 --steps 2 --cfg 4"
    # shellcheck disable=SC2086
    {
        works generate -m "$demo" -p "$prompt" -o $device-bare $options --seed 7
        works generate -m "$demo" -p "$prompt" -o $device-look $options --seed 7 --features "" --side both --average sum --dump npy
        works generate -m "$demo" -p "$prompt" -o $device-again $options --seed 7 --features "" --side both --average sum --dump npy
        works generate -m "$demo" -p "$prompt" -o $device-cond $options --seed 7 --features "IN05,OUT11"
        works generate -m "$demo" -p "$prompt" -o $device-next $options --seed 8 --features "OUT11" --dump npy
        works generate -m "$demo" -p "$prompt" -o $device-both $options --seed 7 --batch-size 2 --features "OUT11" --dump npy
    }
    same_files $device-bare/000.png $device-look/000.png
    diff -r $device-look $device-again >"$said/found" || fail "two runs differ on $device: $(head -3 "$said/found")"
    same_files $device-cond/000-unet-IN05-001.png $device-look/000-unet-IN05-001.png
    same_files $device-cond/000-unet-OUT11-002.png $device-look/000-unet-OUT11-002.png
    other_files $device-look/000-unet-OUT11-002.npy $device-look/000-unet-OUT11-002-uncond.npy
    other_files $device-bare/000.png $device-next/000.png
done

# Batches: the very bytes on the reference, which sums row by row; elsewhere within rounding.
equal 0 "$("$tool" png-gap reference-bare/000.png reference-both/000.png)" "the first of a batch, on the reference"
equal 0 "$("$tool" png-gap reference-next/000.png reference-both/001.png)" "the second of a batch, on the reference"
same_files reference-next/000-unet-OUT11-002.npy reference-both/001-unet-OUT11-002.npy
# near A B: two pictures differ by 1 at most, or not at all.
near() {
    gap=$("$tool" png-gap "$1" "$2")
    [ "${gap:-9}" -le 1 ] || fail "$1 and $2 differ by ${gap:-much}"
}
near cpu-bare/000.png cpu-both/000.png
near cpu-next/000.png cpu-both/001.png
near cpu-bare/000.png reference-bare/000.png
gap=$("$tool" npy-gap cpu-look/000-unet-OUT11-002.npy reference-look/000-unet-OUT11-002.npy)
awk "BEGIN { exit !(${gap:-1} < 1e-4) }" || fail "OUT11 differs between cpu and reference by $gap"
works generate -m "$demo" -p "$prompt" -o threads --width 64 --height 64 --steps 2 --cfg 4 --seed 7 --threads 1
near cpu-bare/000.png threads/000.png

# bf16 is asked for by name, or comes where the CPU has it; a picture comes out either way.
works generate -m "$demo" -p "$prompt" -o half --width 64 --height 64 --steps 2 --cfg 4 --seed 7 --precision bf16 --features M00 --dump npy
"$tool" npy-finite half/000-unet-M00-002.npy || fail "bf16 features"
grep -q '"precision": "bf16"' half/manifest.json || fail "the manifest does not say bf16"
works generate -m "$demo" -p "$prompt" -o single --width 64 --height 64 --steps 2 --cfg 4 --seed 7 --precision fp32
near reference-bare/000.png single/000.png

finish
