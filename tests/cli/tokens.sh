# unetdump tokens: ids, texts, weights, chunks and columns.
. "$(dirname "$0")/lib.sh"

works tokens "a cute girl" --json
prints '{"tokens":[{"id":320,"text":"a","weight":1.0,"chunk":0,"column":1},{"id":2242,"text":"cute","weight":1.0,"chunk":0,"column":2},{"id":1611,"text":"girl","weight":1.0,"chunk":0,"column":3}]}'
works tokens "it's 3d" --json
prints '{"tokens":[{"id":585,"text":"it","weight":1.0,"chunk":0,"column":1},{"id":568,"text":"'"'s"'","weight":1.0,"chunk":0,"column":2},{"id":274,"text":"3","weight":1.0,"chunk":0,"column":3},{"id":323,"text":"d","weight":1.0,"chunk":0,"column":4}]}'
works tokens "" --json
prints '{"tokens":[]}'
works tokens "   " --json
prints '{"tokens":[]}'
works tokens 'say "a\\b"' --json
grep -qF '"text":"\""' "$said/out" || fail "a quotation mark is not escaped: $(cat "$said/out")"
grep -qF '"text":"\\"' "$said/out" || fail "a backslash is not escaped: $(cat "$said/out")"

# ids TEXT IDS: published ids, one chunk or more.
ids() {
    works tokens "$1" --json
    equal "$2" "$(tr '{' '\n' <"$said/out" | sed -n 's/^"id":\([0-9]*\),.*/\1/p' | paste -sd, -)" "tokens of '$1'"
}
ids "A CUTE  girl" 320,2242,1611
ids "ß STRASSE" 127,509,1894,8938
ids "100% off 3.14 1/2 ½ ²" 272,271,271,260,1007,274,269,272,275,272,270,273,33613,41175
ids "السلام" 12973,17856,14251,8453,483
ids "Straße’s" 1894,127,253,324,728,503,338

# A character cut into several tokens still gives UTF-8.
works tokens "ﬁne 犬 😀 ｆｕｌｌ" --json
iconv -f UTF-8 -t UTF-8 "$said/out" >/dev/null 2>&1 || fail "the JSON is not UTF-8: $last"

# The 76th token opens the second chunk.
long="a a a a a a a a a a a a a a a"
works tokens "$long $long $long $long $long cute" --json
tail=$(tr '{' '\n' <"$said/out" | tail -2 | tr -d '\n')
equal '"id":320,"text":"a","weight":1.0,"chunk":0,"column":75},"id":2242,"text":"cute","weight":1.0,"chunk":1,"column":78}]}' "$tail" "the 75th and 76th token"

# The webui's syntax: weights, a new chunk, and what makes more than one prompt.
works tokens "a (red:1.5) BREAK [ball]" --json
prints '{"tokens":[{"id":320,"text":"a","weight":1.0,"chunk":0,"column":1},{"id":736,"text":"red","weight":1.5,"chunk":0,"column":2},{"id":1069,"text":"ball","weight":0.90909093618392944,"chunk":1,"column":78}]}'
refuses "layer prompts" tokens "a (~: IN00: b :~)"
refuses "AND" tokens "a AND b"
refuses "alternation" tokens "[a|b]"
refuses "editing" tokens "[a:b:0.5]"

works tokens "a cute girl"
equal 3 "$(wc -l <"$said/out" | tr -d ' ')" "lines"
refuses "UTF-8" tokens "$(printf 'a \377 b')" --json
refuses "UTF-8" tokens "$(printf 'a \303')" --json

finish
