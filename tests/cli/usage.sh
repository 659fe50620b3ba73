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
small_refused "width.*60|60.*width" --width 60
small_refused "height.*100|100.*height" --height 100
small_refused "width.*16392|16392.*width" --width 16392
small_refused "multiple of 8" --width 60
for number in "" abc 1e5 -1 18446744073709551616; do
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

finish
