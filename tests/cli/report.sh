# unetdump report, and generate --report: one page with everything of a run.
. "$(dirname "$0")/lib.sh"

works generate -m "$demo" -p 'a "red" <b> </script> circle' -o run --width 64 --height 64 --steps 2 --device reference --features M00 --attention IN05 --report
[ -s run/report.html ] || fail "no report"
cp run/report.html first
works report run
prints "run/report.html"
same_files first run/report.html
for file in 000.png 000-unet-M00-001.png 000-attn-IN05-002-qk.png; do
    grep -q "data-file=\"$file\"" run/report.html || fail "$file is not in the report"
    encoded=$(base64 -w 0 "run/$file")
    grep -qF "$encoded" run/report.html || fail "$file is another picture in the report"
done
grep -qF '<b> ' run/report.html && fail "the prompt's markup is in the page"
equal "$(grep -c '</script>' run/report.html)" "$(grep -c '<script' run/report.html)" "lines that open and close scripts"

# What canvases were drawn with is in the manifest: the default by its own text.
styled() { grep -o '"color": "[^"]*", "transform": "[^"]*"' styled/manifest.json; }
works generate -m "$demo" -p x -o styled --width 64 --height 64 --steps 1 --device reference --color "hsl: (2+v) / 3 ;1;.5"
equal '"color": "hsl:(2+v)/3;1.0;0.5", "transform": "auto01"' "$(styled)" "the default color, written in another way"
works generate -m "$demo" -p x -o styled --width 64 --height 64 --steps 1 --device reference --color "rgb:v;v;0" --transform linear:-1,2
equal '"color": "rgb:v;v;0", "transform": "linear:-1,2"' "$(styled)" "color and transform"

# What is no finished run, or no longer whole.
refuses "manifest" report nowhere
mkdir other
echo '{"files": []}' >other/manifest.json
refuses "manifest" report other
echo 'x' >other/manifest.json
refuses "manifest" report other
nothing_more() { [ "$(ls other)" = manifest.json ] || fail "something was written: $(ls other)"; }
nothing_more
rm run/000-unet-M00-001.png
works report run
grep -q 'data-file="000-unet-M00-001.png"' run/report.html && fail "a deleted picture is in the report"
sed 's/"000-unet-M00-002.png"/"..\/first.png"/' run/manifest.json >changed
cp run/000.png first.png
cp changed run/manifest.json
works report run
grep -q 'data-file="[^"]*first' run/report.html && fail "a picture from outside of the folder is in the report"
refuses "report" report
works report --help

finish
