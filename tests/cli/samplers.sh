# unetdump generate: samplers, schedules, their other names, and where the noise comes from.
. "$(dirname "$0")/lib.sh"

# sampled FOLDER ARGUMENT...: three steps.
sampled() {
    into=$1
    shift
    works generate -m "$demo" -p "$prompt" -o "$into" --width 64 --height 64 --steps 3 "$@"
}
# differ FOLDER...: no two pictures have the same pixels.
differ() {
    for one in "$@"; do
        "$tool" png-pixels "$one/000.png" | cksum
    done | sort | uniq -d >"$said/found"
    [ ! -s "$said/found" ] || fail "equal pictures among: $*"
}
equal_pixels() {
    equal 0 "$("$tool" png-gap "$1/000.png" "$2/000.png")" "$1 and $2"
}

for schedule in Automatic Uniform Karras; do
    sampled "euler-$schedule" --sampler Euler --scheduler $schedule
    sampled "a-$schedule" --sampler "Euler a" --scheduler $schedule
    sampled "2m-$schedule" --sampler "DPM++ 2M" --scheduler $schedule
    sampled "ddim-$schedule" --sampler DDIM --scheduler $schedule
done
differ euler-Uniform euler-Karras a-Uniform a-Karras 2m-Uniform 2m-Karras ddim-Uniform
equal_pixels euler-Automatic euler-Uniform
equal_pixels a-Automatic a-Uniform
equal_pixels 2m-Automatic 2m-Karras
equal_pixels ddim-Automatic ddim-Uniform
"$tool" png-text 2m-Automatic/000.png | grep -q "Sampler: DPM++ 2M, Schedule type: Automatic, " || fail "the infotext says how the schedule was asked for"
grep -q '"schedule": "Karras"' 2m-Automatic/manifest.json || fail "the manifest says which schedule it was"

# Older and other names.
sampled joined --sampler "DPM++ 2M Karras"
equal_pixels joined 2m-Karras
"$tool" png-text joined/000.png | grep -q "Sampler: DPM++ 2M, Schedule type: Karras, " || fail "a joined name in the infotext: $("$tool" png-text joined/000.png)"
sampled k_euler_a --sampler k_euler_a
equal_pixels k_euler_a a-Uniform
sampled k_euler --sampler k_euler
equal_pixels k_euler euler-Uniform
sampled k_dpmpp_2m --sampler k_dpmpp_2m
equal_pixels k_dpmpp_2m 2m-Automatic
sampled lower --sampler "euler a" --scheduler karras
equal_pixels lower a-Karras

# The other samplers and schedules: each its own picture, and the same again.
sampled heun --sampler Heun
sampled lms --sampler LMS
sampled dpm2 --sampler DPM2
sampled dpm2a --sampler "DPM2 a"
sampled 2sa --sampler "DPM++ 2S a"
sampled sde --sampler "DPM++ SDE"
sampled 2msde --sampler "DPM++ 2M SDE"
sampled 2msdeheun --sampler "DPM++ 2M SDE Heun"
sampled 3msde --sampler "DPM++ 3M SDE"
sampled plms --sampler PLMS
sampled unipc --sampler UniPC
sampled lcm --sampler LCM
sampled restart --sampler Restart
sampled fast --sampler "DPM fast"
small_refused "DPM adaptive: how many evaluations it takes shows only while it runs" --sampler "DPM adaptive"
differ heun lms dpm2 dpm2a 2sa sde 2msde 2msdeheun 3msde plms unipc lcm restart fast euler-Uniform a-Uniform 2m-Karras ddim-Uniform
sampled 2msde-again --sampler k_dpmpp_2m_sde_exp
equal_pixels 2msde-again 2msde
grep -q '"schedule": "Exponential"' 2msde/manifest.json || fail "the manifest of an SDE sampler says Exponential"
grep -q '"evaluations": 5' heun/manifest.json || fail "three steps of Heun have five evaluations"
for schedule in "SGM Uniform" "KL Optimal" Simple DDIM Beta Exponential "Align Your Steps"; do
    sampled "euler-$schedule" --sampler Euler --scheduler "$schedule"
done
differ "euler-SGM Uniform" "euler-KL Optimal" euler-Simple euler-DDIM euler-Beta euler-Exponential "euler-Align Your Steps" euler-Uniform euler-Karras

# Noise.
sampled seed1 --seed 1
sampled cpu --rng cpu
differ a-Uniform seed1 cpu
"$tool" png-text cpu/000.png | grep -q ", RNG: CPU, " || fail "the infotext does not say RNG: CPU: $("$tool" png-text cpu/000.png)"
! "$tool" png-text seed1/000.png | grep -q "RNG" || fail "the infotext says RNG where it is the default"

"$tool" npy noise.npy '<f4' C 1,4,8,8 wave
sampled given --sampler Euler --noise noise.npy
sampled given1 --sampler Euler --noise noise.npy --seed 1
equal_pixels given given1
differ given euler-Uniform
"$tool" npy noise2.npy '<f4' C 2,4,8,8 wave
sampled given2 --sampler Euler --noise noise2.npy --batch-size 2 --device reference
sampled given_reference --sampler Euler --noise noise.npy --device reference
equal_pixels given2 given_reference

"$tool" npy wide.npy '<f4' C 1,4,8,9 wave
small_refused "1, 4, 8, 8.*1, 4, 8, 9" --noise wide.npy
small_refused "2, 4, 8, 8.*1, 4, 8, 8" --noise noise.npy --batch-size 2
small_refused "1, 4, 8, 8.*2, 4, 8, 8" --noise noise2.npy
"$tool" npy flat.npy '<f4' C 4,8,8 wave
small_refused "1, 4, 8, 8.*4, 8, 8" --noise flat.npy
"$tool" npy double.npy '<f8' C 1,4,8,8 wave
small_refused "double.npy" --noise double.npy
head -c 1000 noise.npy >cut.npy
small_refused "cut.npy" --noise cut.npy
small_refused "missing.npy" --noise missing.npy

finish
