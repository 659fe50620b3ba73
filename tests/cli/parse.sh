# unetdump parse layers|steps: what a notation means, and where it goes wrong.
. "$(dirname "$0")/lib.sh"

all='["IN00","IN01","IN02","IN03","IN04","IN05","IN06","IN07","IN08","IN09","IN10","IN11","M00","OUT00","OUT01","OUT02","OUT03","OUT04","OUT05","OUT06","OUT07","OUT08","OUT09","OUT10","OUT11"]'

# layers TEXT JSON [OPTION...]
layers() {
    text=$1 json=$2
    shift 2
    works parse layers "$text" --json "$@"
    prints "$json"
}
layers "IN00" '["IN00"]'
layers "IN00,M00" '["IN00","M00"]'
layers "M00,IN00,M00" '["IN00","M00"]'
layers "OUT02-IN10" '["IN10","IN11","M00","OUT00","OUT01","OUT02"]'
layers "OUT02-IN10(+2)" '["IN10","M00","OUT01"]'
layers "OUT02-IN10(2)" '["IN10","M00","OUT01"]'
layers "  OUT05,OUT02-OUT07( + 1 )  ,  OUT06-OUT07,IN07" '["IN07","OUT02","OUT03","OUT04","OUT05","OUT06","OUT07"]'
layers "  IN06- OUT03( + 4 ), IN07 ,OUT11" '["IN06","IN07","IN10","OUT01","OUT11"]'
layers "  IN08-  M00 (4),IN00 ,IN00-IN01 ( + 2 )  ,OUT05" '["IN00","IN08","M00","OUT05"]'
layers "IN00-OUT11(+99)" '["IN00"]'
layers "IN00-OUT11(99999999999999999999)" '["IN00"]'
layers "IN00,,M00," '["IN00","M00"]'
layers "" "$all"
layers " , " "$all"
layers "IN00-OUT11" "$all"
layers "OUT11-IN00" "$all"
layers "" "$all" -m "$demo"
layers "IN11-OUT00" '["IN11","M00","OUT00"]' -m "$demo"

# wrong COLUMN TEXT
wrong() {
    refuses "column $1([^0-9]|$)" parse layers "$2" --json
}
wrong 7 "OUT02,99 IN06"
wrong 11 "IN00-IN05(0)"
wrong 1 "in00"
wrong 1 "IN0"
wrong 1 "IN12"
wrong 6 "IN00,IN12"
wrong 1 "M01"
wrong 6 "IN00--IN02"
wrong 10 "IN00-IN02-IN04"
wrong 6 "IN00-"
wrong 11 "IN00-IN02("
wrong 12 "IN00-IN02(+"
wrong 13 "IN00-IN02(+2"
wrong 6 "IN00 IN01"
wrong 7 "IN00, é"
refuses "IN00\.\.IN11, M00, OUT00\.\.OUT11" parse layers "IN12"
refuses "UTF-8|column 6" parse layers "IN00,$(printf '\377')"

# steps TEXT TOTAL JSON
steps() {
    works parse steps "$1" --steps "$2" --json
    prints "$3"
}
steps "1,5" 20 '[1,5]'
steps "5-1" 10 '[1,2,3,4,5]'
steps "10-1(+3)" 20 '[1,4,7,10]'
steps " 32, 5  ,21 -  32  , 17-37(2)" 40 '[5,17,19,21,22,23,24,25,26,27,28,29,30,31,32,33,35,37]'
steps "8-99" 10 '[8,9,10]'
steps "99-8" 10 '[8,9,10]'
steps "" 3 '[1,2,3]'
steps "," 3 '[1,2,3]'
steps "007" 10 '[7]'
steps "1-1000(+999)" 1000 '[1,1000]'
works parse steps "20" --json
prints '[20]'

# Past the end: named steps are told, range ends are cut; nothing left is a failure.
run 0 parse steps "2,99" --steps 10 --json
prints '[2]'
grep -q "^unetdump: .*10" "$said/err" || fail "no warning of a step past the end: $last"
refuses "10" parse steps "99" --steps 10 --json
refuses "10" parse steps "50-99" --steps 10 --json
refuses "10" parse steps "99999999999999999999" --steps 10 --json

wrong_step() {
    refuses "column $1([^0-9]|$)" parse steps "$2" --json
}
wrong_step 1 "0"
wrong_step 3 "1,0"
wrong_step 3 "1-0"
refuses "-3" parse steps "-3" --json
refuses "column 1([^0-9]|$)" parse steps --json -- "-3"
wrong_step 5 "1-5(0)"
wrong_step 1 "(1 , 13-  13 "
wrong_step 12 "7  -  24(3)- ,17 -  22 "
wrong_step 3 "1-"
wrong_step 3 "1 2"
wrong_step 1 "one"
wrong_step 2 "1.5"

# Without --json: the same, separated by spaces.
works parse layers "IN00,M00"
prints "IN00 M00"
works parse steps "3,1"
prints "1 3"

# A spec as long as one likes.
long=$(printf 'IN00,%.0s' 1 2 3 4 5 6 7 8 9 10)
long=$long$long$long$long$long$long$long$long
layers "$long$long$long$long$long$long" '["IN00"]'

# A model that is none.
refuses "nowhere" parse layers IN00 -m nowhere
refuses "spec|column" parse layers IN99 -m "$demo"

finish
