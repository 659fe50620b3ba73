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

# 75 tokens run, 76 do not yet.
ten="a a a a a a a a a a"
seventy="$ten $ten $ten $ten $ten $ten $ten"
drawn most "$seventy a a a a a"
refused "75.*76|76.*75" "$seventy a a a a a a"
refused "75" "a" -n "$seventy a a a a a a"

# Syntax that later versions will read is refused where it begins, not taken as text.
refused "column 3([^0-9]|$)" "a (red:1.2) circle"
refused "column 3([^0-9]|$)" "a (red) circle"
refused "column 3([^0-9]|$)" "a [red] circle"
refused "column 3([^0-9]|$)" "a [red|blue] circle"
refused "column 3([^0-9]|$)" "a [red:blue:0.5] circle"
refused "column 3([^0-9]|$)" "a (~: IN00: cute :~) girl"
refused "column 3([^0-9]|$)" "a BREAK circle"
refused "column 3([^0-9]|$)" "a AND circle"
refused "column 3([^0-9]|$)" "é (red) circle"
refused "negative.*column 3([^0-9]|$)" "a circle" -n "a (red) circle"
drawn word "a SAND BREAKER and a break"

finish
