# unetdump generate: prompts that run, and those that are refused.
. "$(dirname "$0")/lib.sh"

# drawn FOLDER PROMPT [ARGUMENT...]
drawn() {
    into=$1 text=$2
    shift 2
    works generate -m "$demo" -p "$text" -o "$into" --width 64 --height 64 --steps 1 --device reference "$@"
    only_in "$into" 000.png manifest.json
}
# refused PATTERN PROMPT [ARGUMENT...]
refused() {
    pattern=$1 text=$2
    shift 2
    refuses "$pattern" generate -m "$demo" -p "$text" -o refused --width 64 --height 64 --steps 1 --device reference "$@"
    nothing_in refused
    rm -rf refused
}

# What the words are makes a difference; where they stand too.
drawn red "a red circle"
drawn blue "a blue square"
other_files red/000.png blue/000.png
drawn empty ""
"$tool" png-text empty/000.png | sed -n 1p | grep -q "^Steps: 1, " || fail "an empty prompt's infotext begins with its parameters"
drawn spaces "   "
equal 0 "$("$tool" png-gap empty/000.png spaces/000.png)" "an empty prompt and one of spaces"
drawn capitals "A RED  Circle"
equal 0 "$("$tool" png-gap red/000.png capitals/000.png)" "capitals and double spaces"
drawn negative "a red circle" -n "a blue square"
other_files red/000.png negative/000.png
drawn skipping "a red circle" --clip-skip 2
[ "$("$tool" png-gap red/000.png skipping/000.png)" -gt 0 ] || fail "clip skip changes nothing"
"$tool" png-text skipping/000.png | grep -q ", Clip skip: 2, " || fail "the infotext does not say Clip skip: 2: $("$tool" png-text skipping/000.png)"
drawn unskipped "a red circle" --clip-skip 1
same_files red/000.png unskipped/000.png
refused "clip skip: 4: the text encoder has 3 layers" "a red circle" --clip-skip 4

# UTF-8; Latin-1 texts go into the PNG as such, others as iTXt.
drawn latin "un café"
"$tool" png-text latin/000.png | sed -n 1p >found
printf 'un caf\351\n' >expected
cmp -s expected found || fail "a Latin-1 prompt is not written as Latin-1"
grep -qa "tEXtparameters" latin/000.png || fail "a Latin-1 prompt is not in tEXt"
drawn wide "красный круг 赤い円 😀"
equal "красный круг 赤い円 😀" "$("$tool" png-text wide/000.png | sed -n 1p)" "a prompt in UTF-8"
grep -qa "iTXtparameters" wide/000.png || fail "a prompt that is not Latin-1 is not in iTXt"
refused "UTF-8" "$(printf 'a \377 circle')"
refused "UTF-8" "$(printf 'a circle \342\202')"
refused "UTF-8" "a circle" -n "$(printf '\300\200')"

# The model's name in the infotext: quoted where it holds a comma or a colon.
ln -s "$demo" "one, two: three"
ln -s "$demo" v1.5
works generate -m "one, two: three" -p a -o quoted --width 8 --height 8 --steps 1 --device reference
"$tool" png-text quoted/000.png | grep -qF ', Model: "one, two: three", Version' || fail "a model's name is not quoted: $("$tool" png-text quoted/000.png)"
works generate -m "v1.5/" -p a -o point --width 8 --height 8 --steps 1 --device reference
"$tool" png-text point/000.png | grep -qF ', Model: v1.5, Version' || fail "a folder's name has no suffix: $("$tool" png-text point/000.png)"

# Any length: a chunk more for each 75 tokens, in either prompt.
ten="a a a a a a a a a a"
seventy="$ten $ten $ten $ten $ten $ten $ten"
drawn full "$seventy a a a a a"
drawn longer "$seventy a a a a a cat"
other_files full/000.png longer/000.png
drawn uneven "a" -n "$seventy a a a a a a"

# The webui's syntax changes the picture where it should, and only there.
drawn weighed "a (red:1.9) circle"
other_files red/000.png weighed/000.png
drawn literal 'a (red:1.0) circle'
equal 0 "$("$tool" png-gap red/000.png literal/000.png)" "a weight of 1"
drawn broken "a red BREAK circle"
other_files red/000.png broken/000.png
works generate -m "$demo" -p "a [red:blue:1] circle" -o edited --width 64 --height 64 --steps 2 --device reference
works generate -m "$demo" -p "a red circle" -o unedited --width 64 --height 64 --steps 2 --device reference
works generate -m "$demo" -p "a [red:blue:2] circle" -o late --width 64 --height 64 --steps 2 --device reference
other_files edited/000.png unedited/000.png
equal 0 "$("$tool" png-gap unedited/000.png late/000.png)" "an edit at the last step"
works generate -m "$demo" -p "a [red|blue] circle" -o turns --width 64 --height 64 --steps 2 --device reference
equal 0 "$("$tool" png-gap edited/000.png turns/000.png)" "taking turns for two steps, and an edit after the first"
drawn layers "a (~: _: red :~) circle"
drawn some "a (~: _: red; OUT03-OUT11: blue :~) circle"
other_files layers/000.png some/000.png
drawn one "a (~: IN00: blue; _: red :~) circle"
equal 0 "$("$tool" png-gap layers/000.png one/000.png)" "a layer prompt for a block without attention"
drawn word "a SAND BREAKER and a break"
drawn text "a circle" -n "a AND circle"

# AND joins prompts: a row each.
works generate -m "$demo" -p "a circle :1.2 AND a red square :-.5" -o joined --width 64 --height 64 --steps 1 --device reference --attention OUT05 --side both --dump npy
other_files joined/000.png layers/000.png
only_in joined 000.png manifest.json tokens.json 000-attn-OUT05-001-qk.png 000-attn-OUT05-001-and1-qk.png 000-attn-OUT05-001-uncond-qk.png \
    000-attn-OUT05-001-qk.npy 000-attn-OUT05-001-and1-qk.npy 000-attn-OUT05-001-uncond-qk.npy
tr -d ' \n' <joined/manifest.json >said_manifest
grep -q '"part":1,"weight":-0.5' said_manifest || fail "the manifest lacks the second prompt"
grep -q '"file":"000-attn-OUT05-001-and1-qk.npy"[^}]*"side":"cond","part":1' said_manifest || fail "the manifest lacks the second prompt's map"
drawn halves "a circle:0.5 AND a circle:0.5"
drawn circle "a circle"
[ "$("$tool" png-gap halves/000.png circle/000.png)" -le 1 ] || fail "two halves are not a whole"

# What is not supported, or does not parse, is refused before anything is written.
refused "unequal numbers of prompts.* 3 prompts in IN00, or one, found 2" "a AND circle (~: IN03: AND b; _: :~) (~: IN03: :~)"
refused "column 7([^0-9]|$)" "a (~: IN99: cute :~) girl"
refused "negative.*column 3([^0-9]|$)" "a circle" -n "a (~: IN00: b"
refused "no layer prompts" "a circle" --diff ""
refused "diff: only the negative prompt has layer prompts, and with cfg 1 it is not run" "a circle" -n "(~: M00: x:~)" --diff "" --cfg 1
refused "no layer prompts" "a circle" -n "x" --diff "" --cfg 1
refused "'dog' is no word" "a cat" --attention "" --attention-words "cat dog"
works generate -q -m "$demo" -p "$(printf 'a %.0s' $(seq 73))supercalifragilistic dog" -o cut --width 64 --height 64 --steps 1 --attention M00 --attention-words supercalifragilistic # over two chunks
refused "outside" "a cat" --attention "" --attention-kind self --self-query 64,3

finish
