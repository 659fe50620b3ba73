# unetdump render: any array as a picture.
. "$(dirname "$0")/lib.sh"

# drawn FILE SIZE CHANNELS PIXELS: what a PNG holds.
drawn() {
    equal "$2 $3" "$("$tool" png "$1")" "size and channels of $1"
    [ $# -lt 4 ] || equal "$4" "$("$tool" png-pixels "$1")" "pixels of $1"
}

# From the vectors: 16 tiles of one pixel, and the average.
"$tool" npy grey.npy '<f4' C 16,1,1 0.16377033293247223 1.9784257411956787 0.12279610335826874 0.04993902146816254 -0.48984628915786743 \
    0.8642653226852417 -0.06461617350578308 -0.5657132267951965 1.7479660511016846 1.9280235767364502 -0.3112655580043793 -0.8833087682723999 \
    1.275760531425476 -0.692431628704071 2.9780070781707764 0.010257071815431118
works render grey.npy -o grey.png --color white-black --transform sigmoid:1,0 --average 1-norm
only_in . grey-average.png grey.npy grey.png
drawn grey-average.png 1x1 1 106
drawn grey.png 7x7 1 "20 0 193 0 15 0 6 0 0 0 0 0 0 0 61 0 104 0 8 0 70 0 0 0 0 0 0 0 180 0 190 0 39 0 106 0 0 0 0 0 0 0 144 0 85 0 231 0 1"
"$tool" npy red.npy '<f4' C 16,1,1 -0.3400620222091675 0.08587205410003662 0.7922604084014893 -1.6442711353302002 -0.03848643600940704 \
    1.902430772781372 -0.05428394302725792 0.2577248811721802 0.03738292679190636 -1.1582998037338257 0.9905984401702881 0.307858943939209 \
    0.2028823047876358 0.7682207822799683 0.8294957280158997 -1.8590651750564575
works render red.npy -o red.png --color red-blue --transform auto11 --average 2-norm
drawn red-average.png 1x1 3 "60 0 0"
drawn red.png 7x7 3
equal "0 0 87 0 0 0 21 0 0 0 0 0 202 0 0 0 0 0 0 0 255" "$("$tool" png-pixels red.png | cut -d' ' -f1-21)" "the first row of red.png"

# Both memory orders give one picture.
"$tool" npy c.npy '<f4' C 2,2,3 1 2 3 4 5 6 7 8 9 10 11 15
"$tool" npy f.npy '<f4' F 2,2,3 1 7 4 10 2 8 5 11 3 9 6 15
works render c.npy -o c.png --average sum
works render f.npy -o f.png --average sum
same_files c.png f.png
same_files c-average.png f-average.png
drawn c-average.png 3x2 3

# Colours and transforms: linear is as written, here on 0, 0.25, 0.5 and 1; hues at auto01.
"$tool" npy line.npy '<f4' C 1,1,4 0 0.25 0.5 1
works render line.npy -o line.png --color white-black --transform linear:0,1
drawn line.png 4x1 1 "0 64 128 255"
works render line.npy -o line.png --color "rgb:v;1-v;-v**2" --transform auto01
drawn line.png 4x1 3 "0 255 0 64 192 0 128 128 0 255 0 0"
works render line.npy -o line.png --color "hsl:0;0;v"
drawn line.png 4x1 3 "0 0 0 64 64 64 128 128 128 255 255 255"
works render line.npy -o line.png --color "rgb:1 if 0<v<1 else 0.25;where(v>0,1,0);clip(v,0,0.5)" --transform auto01
drawn line.png 4x1 3 "64 0 0 255 255 64 255 255 128 64 255 128"
works render line.npy -o default.png
works render line.npy -o spelled.png --color "hsl:(2+v)/3;1.0;0.5" --transform auto01
same_files default.png spelled.png
works render line.npy -o line.png --average none
only_in . c-average.png c.npy c.png default.png f-average.png f.npy f.png grey-average.png grey.npy grey.png line.npy line.png \
    red-average.png red.npy red.png spelled.png
"$tool" npy odd.npy '<f4' C 2,1,2 nan 1 inf -inf
works render odd.npy -o odd.png --color white-black --transform linear:0,1
works render odd.npy -o odd.png

# refused PATTERN ARGUMENT...: status 2, and no file made.
mkdir none
refused() {
    pattern=$1
    shift
    refuses "$pattern" render "$@" -o none/none.png
    nothing_in none
}
refused "missing.npy" missing.npy
refused "none" none
"$tool" npy double.npy '<f8' C 2,1,2 1 2 3 4
refused "double.npy.*f8|f8.*double.npy" double.npy
"$tool" npy int.npy '<i4' C 2,1,2 1 2 3 4
refused "int.npy.*i4|i4.*int.npy" int.npy
"$tool" npy big.npy '>f4' C 2,1,2 1 2 3 4
refused "big.npy.*>f4|>f4.*big.npy" big.npy
"$tool" npy flat.npy '<f4' C 2,2 1 2 3 4
refused "flat.npy" flat.npy
"$tool" npy four.npy '<f4' C 1,2,1,2 1 2 3 4
refused "four.npy" four.npy
"$tool" npy one.npy '<f4' C 4 1 2 3 4
refused "one.npy" one.npy
"$tool" npy empty.npy '<f4' C 0,2,2
refused "0, 2, 2" empty.npy
for bytes in 0 5 8 11 60 128 "$(($(wc -c <c.npy) - 1))"; do
    head -c "$bytes" c.npy >cut.npy
    refused "cut.npy" cut.npy
done
(cat c.npy && echo more) >long.npy
refused "long.npy" long.npy
echo "not an array, but a text that is long enough for a header to be there" >text.npy
refused "text.npy" text.npy
sed 's/(2,2,3)/(2,2,-)/' c.npy >shape.npy
refused "shape.npy" shape.npy
sed 's/(2,2,3)/(9999999,9999999,9999999)/' c.npy >huge.npy
refused "huge.npy" huge.npy

refused "nonsense" c.npy --color nonsense
refused "color|colour" c.npy --color ""
refused "nonsense" c.npy --transform nonsense
refused "transform|linear" c.npy --transform linear:1,1
refused "transform|linear" c.npy --transform linear:2,1
refused "transform|linear" c.npy --transform linear:1
refused "transform|linear" c.npy --transform linear:a,b
refused "transform|linear" c.npy --transform linear:1,2,3
refused "transform|sigmoid" c.npy --transform sigmoid:1,nan
refused "transform|sigmoid" c.npy --transform sigmoid:,
refused "nonsense" c.npy --average nonsense

# Expressions: the column, counted in the whole argument from 1, of what cannot go on.
refused "foo.*column 5([^0-9]|$)|column 5[^0-9].*foo" c.npy --color "rgb:foo(v);v;v"
refused "column 11([^0-9]|$)" c.npy --color "rgb:v;v;v+"
refused "column 6([^0-9]|$)" c.npy --color "rgb:v.real;v;v"
refused "clip.*column 11([^0-9]|$)|column 11[^0-9].*clip" c.npy --color "rgb:clip(v);v;v"
refused "__import__.*column 5([^0-9]|$)|column 5[^0-9].*__import__" c.npy --color "rgb:__import__('os');v;v"
refused "lambda.*column 5([^0-9]|$)|column 5[^0-9].*lambda" c.npy --color "rgb:lambda: 1;v;v"
refused "column 5([^0-9]|$)" c.npy --color "rgb:;v;v"
refused "column 7([^0-9]|$)" c.npy --color "hsl:v;w;v"
refused "column|three" c.npy --color "rgb:v;v"
refused "column|three" c.npy --color "rgb:v;v;v;v"
refused "column 8([^0-9]|$)" c.npy --color "rgb:v*(é);v;v"
deep=$(printf '(%.0s' 1 2 3 4 5 6 7 8 9 10)
deep=$deep$deep$deep$deep$deep$deep$deep$deep$deep$deep
deep=$deep$deep$deep$deep$deep$deep$deep$deep$deep$deep
refused "deep|nest|long" c.npy --color "rgb:$deep;v;v"
minus=$(printf -- '-%.0s' 1 2 3 4 5 6 7 8 9 10)
minus=$minus$minus$minus$minus$minus$minus$minus$minus$minus$minus
minus=$minus$minus$minus$minus$minus$minus$minus$minus$minus$minus
refused "deep|nest|long" c.npy --color "rgb:${minus}v;v;v"

# Where the picture cannot be written: failed, not bad usage.
unwritable() {
    run 1 render c.npy -o "$1" --average sum
    complains "$2"
}
unwritable nowhere/a.png nowhere/a
unwritable c.npy/a.png c.npy/a
unwritable none none
mkdir there.png
unwritable there.png there.png
nothing_in there.png
nothing_in none
find . -name '*.partial*' -o -name '*.tmp*' | grep . && fail "temporary files are left"
run 2 render c.npy -o ""
complains "output|-o|path|name"

finish
