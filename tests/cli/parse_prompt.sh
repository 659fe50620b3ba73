# unetdump parse prompt: every block's prompt, schedules and emphasis; where a prompt does not parse.
. "$(dirname "$0")/lib.sh"

works parse prompt "a cat" --json
prints '{"runs":[{"first":"IN00","last":"OUT11","prompt":"a cat","schedule":[{"until":20,"parts":[{"weight":1.0,"text":"a cat","emphasis":[["a cat",1.0]]}]}]}],"erased":"a cat"}'
works parse prompt "a (~: M00: (b:1.5) :~)" --json --steps 5
prints '{"runs":[{"first":"IN00","last":"IN11","prompt":"a ","schedule":[{"until":5,"parts":[{"weight":1.0,"text":"a","emphasis":[["a",1.0]]}]}]},{"first":"M00","last":"M00","prompt":"a  (b:1.5) ","schedule":[{"until":5,"parts":[{"weight":1.0,"text":"a  (b:1.5)","emphasis":[["a  ",1.0],["b",1.5]]}]}]},{"first":"OUT00","last":"OUT11","prompt":"a ","schedule":[{"until":5,"parts":[{"weight":1.0,"text":"a","emphasis":[["a",1.0]]}]}]}],"erased":"a "}'
works parse prompt "[a:b:.5] BREAK c" --json --steps 8
prints '{"runs":[{"first":"IN00","last":"OUT11","prompt":"[a:b:.5] BREAK c","schedule":[{"until":4,"parts":[{"weight":1.0,"text":"a BREAK c","emphasis":[["a",1.0],["BREAK",-1.0],["c",1.0]]}]},{"until":8,"parts":[{"weight":1.0,"text":"b BREAK c","emphasis":[["b",1.0],["BREAK",-1.0],["c",1.0]]}]}]}],"erased":"[a:b:.5] BREAK c"}'
works parse prompt "[a|b]" --json --steps 3
equal 3 "$(grep -o '"until"' "$said/out" | wc -l | tr -d ' ')" "entries of an alternation"
works parse prompt "" --json
prints '{"runs":[{"first":"IN00","last":"OUT11","prompt":"","schedule":[{"until":20,"parts":[{"weight":1.0,"text":"","emphasis":[["",1.0]]}]}]}],"erased":""}'

# For people.
works parse prompt "a (~: IN00-IN02: (red:1.2); M00: blue :~)cat"
equal "IN00-IN02:  IN03-IN11: M00: OUT00-OUT11: erased: " "$(sed -n 's/^\([A-Z0-9a-z-]*: \).*/\1/p' "$said/out" | sed 's/IN00-IN02: $/IN00-IN02:  /' | tr -d '\n')" "blocks"
grep -q "^  3 tokens: a red(1.2) cat$" "$said/out" || fail "the tokens of IN00: $(cat "$said/out")"
works parse prompt "a AND b" --negative

# misplaced LINE COLUMN PATTERN TEXT: the message, the line, and a caret under the column.
misplaced() {
    run 2 parse prompt "$4"
    place="column $2"
    [ "$1" = 1 ] || place="line $1, column $2"
    head -1 "$said/err" | grep -qE "at $place([^0-9]|\$)" || fail "not at $place: $(cat "$said/err")"
    head -1 "$said/err" | grep -qE -e "$3" || fail "no '$3' in: $(cat "$said/err")"
    equal "$(printf '%s\n' "$4" | sed -n "$1p")" "$(sed -n 2p "$said/err")" "the line shown of '$4'"
    equal 3 "$(wc -l <"$said/err" | tr -d ' ')" "lines of the message on '$4'"
}
misplaced 1 3 ":~\)" "a (~: IN00: b"
equal "  ^" "$(sed -n 3p "$said/err")" "the caret"
misplaced 1 7 "IN00..IN11" "a (~: IN12: b :~)"
equal "      ^" "$(sed -n 3p "$said/err")" "the caret"
misplaced 2 4 "block" "$(printf 'a\n(~:x:~)')"
equal "   ^" "$(sed -n 3p "$said/err")" "the caret on the second line"
misplaced 1 5 "block" "犬(~:x:~)"
equal "     ^" "$(sed -n 3p "$said/err")" "the caret behind a wide character"
misplaced 1 5 "block" "$(printf '\t(~:x:~)')"
equal "$(printf '\t   ^')" "$(sed -n 3p "$said/err")" "the caret behind a tab"
works parse prompt "[a cat:a red cat:5] :1.2 AND a dog" --steps 9
grep -qx "  steps 6-9: a red cat AND a dog" "$said/out" || fail "no steps of what AND joins: $(cat "$said/out")"
grep -qx "  weight 1.2: a red cat" "$said/out" || fail "no weight of what AND joins: $(cat "$said/out")"
grep -qx "  weight 1:  a dog" "$said/out" || fail "no second prompt: $(cat "$said/out")"
works parse prompt "a:2 AND b" --json
grep -q '"weight":2.0,"text":"a"' "$said/out" || fail "no weight in JSON: $(cat "$said/out")"
refuses "layers, steps or prompt" parse tokens x
refuses "steps" parse prompt a --steps 0
refuses "longer than 32768 bytes" parse prompt "$(head -c 32769 /dev/zero | tr '\0' a)"

# A part's own number at its end is text.
works parse prompt "aspect ratio 16:9:1.5"
grep -qx "  weight 1.5: aspect ratio 16:9" "$said/out" || fail "no weight: $(cat "$said/out")"
grep -qx "  6 tokens: aspect ratio 1 6 : 9" "$said/out" || fail "other tokens: $(cat "$said/out")"

finish
