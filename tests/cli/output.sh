# unetdump generate: folders and disks that refuse, an interrupt, and what is said meanwhile.
. "$(dirname "$0")/lib.sh"

# failed PATTERN ARGUMENT...: ends with 1 and a line that matches.
failed() {
    pattern=$1
    shift
    run 1 "$@"
    complains "$pattern"
}
# sound FOLDER: pictures and arrays are whole, nothing is temporary, and there is no manifest.
sound() {
    [ ! -e "$1/manifest.json" ] || fail "a manifest after: $last"
    for file in "$1"/* "$1"/.[!.]*; do
        case $file in
        *'*'*) ;;
        *.png) "$tool" png "$file" >/dev/null 2>&1 || fail "$file is not whole" ;;
        *.npy) "$tool" npy-finite "$file" 2>/dev/null || fail "$file is not whole" ;;
        *) fail "$file is left after: $last" ;;
        esac
    done
}

# Folders that cannot be.
echo text >file
failed "file" generate -m "$demo" -p a -o file --width 8 --height 8 --steps 1 --device reference
failed "file/below" generate -m "$demo" -p a -o file/below --width 8 --height 8 --steps 1 --device reference
equal text "$(cat file)" "the file in the way"
mkdir -p blocked/000.png
failed "000.png" generate -q -m "$demo" -p a -o blocked --width 8 --height 8 --steps 1 --device reference
rmdir blocked/000.png || fail "something was put into the folder in the way"
sound blocked
refuses "folder" generate -m "$demo" -p a -o ""
if [ "$(id -u)" -ne 0 ]; then
    mkdir locked
    chmod a-w locked
    failed "locked" generate -m "$demo" -p a -o locked/in --width 8 --height 8 --steps 1 --device reference
    failed "locked" generate -m "$demo" -p a -o locked --width 8 --height 8 --steps 1 --device reference
    chmod u+w locked
    nothing_in locked
fi

# Files that grow too large: 4 kB is too little for the picture, 2 kB for the arrays.
expected=1 last="generate with a limit of 4 kB a file"
(
    trap '' XFSZ
    ulimit -f 8
    "$unetdump" generate -q -m "$demo" -p "$prompt" -o limited --width 128 --height 128 --steps 2 --features "M00,OUT11" --dump npy >"$said/out" 2>"$said/err"
)
ended $?
complains "limited/000.*(npy|png)"
sound limited

# A full disk, where this user may mount one.
if unshare -m sh -c "mkdir -p $folder/work/full && mount -t tmpfs -o size=64k none $folder/work/full" 2>/dev/null; then
    last="generate onto a full disk"
    unshare -m sh -c '
        mount -t tmpfs -o size=64k none full
        "$1" generate -q -m "$2" -p a -o full/run --width 128 --height 128 --steps 4 --features "" --dump npy >"$3/refused" 2>&1
        ls -A full >"$3/there"
        "$1" generate -q -m "$2" -p a -o full/run --width 128 --height 128 --steps 4 --features "" --dump npy --force >"$3/out" 2>"$3/err"
        status=$?
        cp -r full/run copied
        exit $status' sh "$unetdump" "$demo" "$said"
    ended $?
    complains "full/run/000.*No space left"
    sound copied
    grep -q "may write 201 files.*free\|may write 202 files.*free" "$said/refused" || fail "no budget in the refusal: $(cat "$said/refused")"
    [ ! -s "$said/there" ] || fail "a refused run left: $(cat "$said/there")"
else
    echo "skipped: a full disk needs the right to mount one"
fi

# A run that leaves no file leaves no folder either, nor those that it made around it; what was there stays.
mkdir before
for output in before/in/a/folder before/in/a/folder/ before; do
    refuses "self queries" generate -m "$demo" -p a -o "$output" --width 64 --height 64 --steps 1 --attention M00 --attention-kind self --self-query "900,900"
    equal "" "$(ls before)" "left in a folder, of -o $output"
done

# More memory than there is: a message, not a kill. (Sanitizers need all addresses: no limit can be set there.)
if (ulimit -v 4000000 && "$unetdump" inspect "$demo") >/dev/null 2>&1; then
    expected=1 last="generate 16384x16384 in 4 GB"
    (
        ulimit -v 4000000
        "$unetdump" generate -m "$demo" -p a -o huge --width 16384 --height 16384 --steps 1 >"$said/out" 2>"$said/err"
    )
    ended $?
    complains "memory"
    nothing_in huge
else
    echo "skipped: the address space cannot be limited here"
fi

# An interrupt, once the first canvas is there. The folder has an older run's manifest, which must not stand for this one.
# interrupted SIGNAL STATUS FOLDER
interrupted() {
    expected=$2 last="generate, and SIG$1"
    env --default-signal="$1" "$unetdump" generate -q -m "$demo" -p "$prompt" -o "$3" --width 128 --height 128 --steps 1000 --features "" --dump npy \
        >"$said/out" 2>"$said/err" &
    process=$!
    tries=0
    while [ "$(find "$3" -name '*-002.png' 2>/dev/null | head -1)" = "" ] && [ $tries -lt 600 ]; do
        sleep 0.05
        tries=$((tries + 1))
    done
    kill -"$1" $process
    wait $process 2>/dev/null # the shell tells of a signal
    ended $?
    complains "cancel"
    sound "$3"
    [ -n "$(ls "$3")" ] || fail "the canvases finished before the interrupt are gone"
}
if env --default-signal=INT true 2>/dev/null; then
    interrupted INT 130 new
    works generate -m "$demo" -p "$prompt" -o old --width 8 --height 8 --steps 1 --device reference
    interrupted INT 130 old
    interrupted TERM 143 terminated
else
    echo "skipped: env cannot give a background process its SIGINT back"
fi

# A failed run's own manifest is not an older one's.
works generate -m "$demo" -p a -o again --width 8 --height 8 --steps 1 --device reference
cp again/manifest.json kept
refuses "feature layers" generate -m "$demo" -p a -o again --width 8 --height 8 --steps 1 --device reference --features IN99
same_files kept again/manifest.json

# Progress is for terminals alone.
if script -qec true /dev/null >/dev/null 2>&1; then
    arguments="generate -m '$demo' -p a -o shown --width 64 --height 64 --steps 3"
    script -qec "'$unetdump' $arguments" /dev/null </dev/null >shown.txt 2>&1 || fail "a run on a terminal"
    tr '\r' '\n' <shown.txt | grep -q "3/3\|3 of 3" || fail "no progress on a terminal: $(head -c 300 shown.txt)"
    script -qec "'$unetdump' $arguments --quiet" /dev/null </dev/null >quiet.txt 2>&1 || fail "a quiet run on a terminal"
    [ ! -s quiet.txt ] || fail "--quiet is not quiet on a terminal: $(head -c 300 quiet.txt)"
else
    echo "skipped: script(1) is not there to make a terminal"
fi

finish
