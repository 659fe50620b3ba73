# Options, help and exit statuses.
. "$(dirname "$0")/lib.sh"

version=$(sed -n 's/^#define UDUMP_VERSION_[A-Z]* \([0-9]*\)$/\1/p' "$root/include/unetdump.h" | paste -sd. -)
works --version
prints "unetdump $version"

works --help
for command in generate render inspect parse tokens sweep; do
    grep -q "^  $command " "$said/out" || fail "--help does not name $command"
done
for command in generate render inspect parse tokens sweep; do
    works $command --help
    grep -q "^usage: unetdump $command " "$said/out" || fail "$command --help does not show its usage"
done
works generate --help
for option in model prompt negative-prompt output width height steps sampler scheduler cfg seed batch-size rng noise device precision prediction \
    threads features feature-steps side average color transform dump no-canvas quiet; do
    grep -q -e "--$option" "$said/out" || fail "generate --help does not name --$option"
done

refuses "command"
refuses "'?nonsense'?" nonsense
refuses "'?--nonsense'?" --nonsense
refuses "'?--nonsense'?" generate --nonsense
refuses "'?--nonsense'?" parse layers IN00 --nonsense
refuses "'?-z'?" tokens a -z
refuses "steps" parse steps 1 --steps
refuses "model|-m" parse layers IN00 -m
refuses "output|-o" render a.npy -o
refuses "seed" generate --seed

# What a command cannot do without.
refuses "model|-m" generate -p a -o out
refuses "output|-o" generate -m "$demo" -p a
refuses "prompt|-p" generate -m "$demo" -o out
refuses "output|-o" render a.npy
refuses "npy|file|FILE" render -o a.png
refuses "model|MODEL" inspect
refuses "layers|steps" parse
refuses "text|TEXT" parse layers
refuses "prompts?|layers|steps|nonsense" parse nonsense x
refuses "text|TEXT" tokens
nothing_in out

# One argument too many.
refuses "'?two'?" tokens one two
refuses "'?IN01'?" parse layers IN00 IN01
refuses "'?more'?" inspect "$demo" more

# Numbers that are none, or out of range.
for number in "" abc 1.5 -1 0 99999999999999999999 0x10 "1 2" 1001; do
    refuses "steps.*'?$number'?" parse steps 1 --steps "$number"
done
for option in width height steps batch-size; do
    for number in "" abc 64.5 -8 0 99999999999999999999; do
        small_refused "$option" "--$option" "$number"
    done
done
small_refused "^unetdump: --width: expected a multiple of 8 from 8 to 16384, found 0$" --width 0
small_refused "^unetdump: --height: expected a multiple of 8 from 8 to 16384, found 0$" --height 0
refuses "^unetdump: steps: no step is left: expected 1 to 20, found 21$" parse steps 21
small_refused "^unetdump: $demo/unet/[^:]*: vae/decoder.conv_in.weight: tensor is missing" --vae "$demo/unet/diffusion_pytorch_model.safetensors"
small_refused "width.*60|60.*width" --width 60
small_refused "height.*100|100.*height" --height 100
small_refused "width.*16392|16392.*width" --width 16392
small_refused "multiple of 8" --width 60
for number in "" abc 1e5 -2 18446744073709551616; do
    small_refused "seed" --seed "$number"
done
for number in "" abc nan inf 1,5; do
    small_refused "cfg" --cfg "$number"
done
small_refused "threads" --threads -1
small_refused "threads" --threads many

# Words that are not among those expected: the message names what was given and what there is.
small_refused "nonsense.*DPM\+\+ 2M|DPM\+\+ 2M.*nonsense" --sampler nonsense
small_refused "nonsense.*Karras|Karras.*nonsense" --scheduler nonsense
small_refused "nonsense.*cpu|cpu.*nonsense" --device nonsense
small_refused "fp16.*bf16|bf16.*fp16" --precision fp15
small_refused "bf16.*not in fp16" --device cpu --precision fp16
small_refused "nonsense.*epsilon|epsilon.*nonsense" --prediction nonsense
small_refused "nonsense.*nv|nv.*nonsense" --rng nonsense
small_refused "nonsense.*uncond|uncond.*nonsense" --side nonsense --features IN00
small_refused "nonsense.*1-norm|1-norm.*nonsense" --average nonsense --features IN00
small_refused "nonsense.*npy|npy.*nonsense" --dump nonsense --features IN00
small_refused "nonsense.*red-blue|red-blue.*nonsense" --color nonsense --features IN00
small_refused "nonsense.*auto01|auto01.*nonsense" --transform nonsense --features IN00
small_refused "cuda:N.*cuda:x" --device cuda:x
run 1 generate -m "$demo" -p a -o refused --device cuda --cuda-module "$PWD/none.so"
complains "cuda.*none.so"
nothing_in refused

# What no machine has room for is refused before it starts, with the figures.
run 1 generate -q -m "$demo" -p a -o refused --width 16384 --height 16384 --batch-size 100 --steps 1
complains "[0-9.]+ GB are needed, [0-9.]+ GB are available"
nothing_in refused

# What was meant, where it is near.
refuses "unknown option '--widht'; did you mean --width\\?" generate --widht 64
refuses "unknown option '--feature'; did you mean --features\\?" generate --feature M00
refuses "unknown option '--zzz'$" generate --zzz
refuses "unknown command 'genrate'; did you mean generate\\?" genrate
refuses "pip install" ui
refuses "from -2147483648 to 2147483647, found '99999999999'" generate --threads 99999999999
refuses "found ' 5'" generate --steps " 5"
refuses "needs -m MODEL" generate -m "" -p a -o out

# What would do nothing.
small_refused "self-map.*needs --dump" --attention M00 --attention-kind self-map
small_refused "--no-canvas needs --dump" --features M00 --no-canvas
small_refused "none of these blocks has any: IN00" --attention IN00
small_refused "feature layers: unknown block" --features IN12
small_refused "feature steps: no step is left: expected 1 to 1, found 9" --features M00 --feature-steps 9
small_refused "expected FILE\\[:WEIGHT\\]" --lora a.safetensors:heavy
refuses "a sweep takes LoRAs by --lora" sweep -m "$demo" -p "a <lora:b:1> c" --variant d -o out
refuses "diff steps: no step is left" sweep -m "$demo" -p a --variant b -o out --width 64 --height 64 --steps 2 --diff M00 --diff-steps 9
[ ! -e out ] || fail "a refused run left its folder"

# A message is one line that a terminal does not obey, whatever was given: ESC, a line's end, U+009B.
odd=$(printf 'a\033[31mb\nc\302\2332Jd')
plain() {
    grep -q "$(printf '[\001-\010\013-\037\177]\|\302\233')" "$1" && fail "control characters: $last: $(cat -v "$1")"
}
refuses "unexpected argument 'a\\?\\[31mb c\\?2Jd'\$" tokens a "$odd"
plain "$said/err"
for option in --steps --sampler --side --color --device --lora --model --prompt; do
    run 2 generate -m "$demo" -p a -o refused --width 64 --height 64 $option "x<lora:$odd>"
    complains "a\\?\\[31mb.c"
    plain "$said/err"
done
refuses "a\\?\\[31mb c" generate "--$odd" 1
plain "$said/err"
refuses "a\\?\\[31mb c" "$odd"
plain "$said/err"
works tokens "$odd"
plain "$said/out"
works parse prompt "$odd AND x (~:M00: $odd:~) [$odd:b:0.5]"
plain "$said/out"
grep -qx 'c?2Jd' "$said/out" || fail "a prompt's lines: $(cat -v "$said/out")"

# Steps are the U-Net's evaluations: Heun has 5 in 3 steps, and no warning that there are 3.
works generate -m "$demo" -p a -o heun --width 64 --height 64 --steps 3 --sampler Heun --features M00 --feature-steps 1,5
run 0 generate -m "$demo" -p a -o heun --width 64 --height 64 --steps 3 --sampler Heun --features M00 --feature-steps 1,9
grep -q "1 of the steps named lie past the last, 5" "$said/err" || fail "no warning of step 9 of 5"

# An array of another rank is called by it, and is not replaced by its own picture.
printf "\223NUMPY\001\000\166\000%-117s\n" "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1), }" >flat.npy
printf '\000\000\000\000' >>flat.npy
refuses "found one of 2 dimensions" render flat.npy -o flat.png
refuses "would replace the array" render flat.npy -o flat.npy

finish
