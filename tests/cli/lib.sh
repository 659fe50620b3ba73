# Sourced by every test: sh TEST.sh UNETDUMP PROJECT_ROOT TOOL. Works in a fresh folder, which goes at the end.
set -u
unetdump=$1 root=$2 tool=$3
demo=$root/models/demo
prompt="a red circle on a blue background"
failures=0
LC_ALL=C.UTF-8
OMP_WAIT_POLICY=passive # tests run side by side: threads that wait must not spin
export LC_ALL OMP_WAIT_POLICY
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM HUP
said=$folder/said # what the command said last, out of the test's own folder
mkdir "$said" "$folder/work"
cd "$folder/work" || exit 1

fail() {
    failures=$((failures + 1))
    echo "FAILED: $*"
}

# run STATUS ARGUMENT...: runs the command, its output into $said/out and $said/err; complains unless it ends with STATUS.
run() {
    expected=$1
    shift
    last="unetdump $*"
    "$unetdump" "$@" >"$said/out" 2>"$said/err"
    ended $?
}

# ended STATUS: compares with what run expected.
ended() {
    [ "$1" = "$expected" ] && return
    fail "exit status $1, not $expected: $last"
    sed 's/^/    stderr: /' "$said/err" | head -5
}

# works ARGUMENT...: ends with 0 and says nothing on stderr.
works() {
    run 0 "$@"
    if [ -s "$said/err" ]; then
        fail "stderr is not empty: $last"
        sed 's/^/    stderr: /' "$said/err" | head -5
    fi
}

# prints TEXT: stdout was exactly that line.
prints() {
    printf '%s\n' "$1" >"$said/expected"
    cmp -s "$said/expected" "$said/out" && return
    fail "stdout: $last"
    sed 's/^/    expected: /' "$said/expected"
    sed 's/^/    found:    /' "$said/out" | head -5
}

# complains PATTERN: stderr was one line that begins with `unetdump: ` and matches the extended regular expression, and where that names a column the line
# of the text with a caret; stdout is empty.
complains() {
    lines=1
    ! grep -qE ' at (line [0-9]+, )?column [0-9]+' "$said/err" || ! sed -n '3p' "$said/err" | grep -qE '^[[:space:]]*\^$' || lines=3
    [ "$(wc -l <"$said/err")" -eq $lines ] || fail "stderr is not one line: $last: $(head -c 600 "$said/err")"
    case $(head -1 "$said/err") in
    "unetdump: "?*) ;;
    *) fail "stderr does not begin with 'unetdump: ': $last: $(head -c 300 "$said/err")" ;;
    esac
    grep -qE -e "$1" "$said/err" || fail "no '$1' in the message: $last: $(head -c 400 "$said/err")"
    [ ! -s "$said/out" ] || fail "stdout is not empty after an error: $last"
}

# refuses PATTERN ARGUMENT...: bad usage or input, status 2, and a line that matches.
refuses() {
    pattern=$1
    shift
    run 2 "$@"
    complains "$pattern"
}

# nothing_in FOLDER: it has no file, or is not there.
nothing_in() {
    [ -z "$(find "$1" -mindepth 1 2>/dev/null)" ] || fail "left in $1: $(cd "$1" && ls -A | head -5 | tr '\n' ' ') after: $last"
}

# only_in FOLDER NAME...: these files and no other.
only_in() {
    where=$1
    shift
    printf '%s\n' "$@" | sort >"$said/expected"
    (cd "$where" 2>/dev/null && find . -mindepth 1 | sed 's,^\./,,' | sort) >"$said/found"
    cmp -s "$said/expected" "$said/found" && return
    fail "files in $where: $last"
    diff "$said/expected" "$said/found" | sed 's/^/    /' | head -10
}

equal() {
    [ "$1" = "$2" ] || fail "$3: expected '$1', found '$2'"
}

same_files() {
    cmp -s "$1" "$2" || fail "$1 and $2 differ"
}

other_files() {
    ! cmp -s "$1" "$2" || fail "$1 and $2 are the same"
}

# A small, quick run: small FOLDER ARGUMENT... are the arguments after `generate`.
small() {
    small_folder=$1
    shift
    works generate -m "$demo" -p "$prompt" -o "$small_folder" --width 64 --height 64 --steps 1 "$@"
}

# small_refused PATTERN ARGUMENT...: the same must be refused, and write nothing.
small_refused() {
    pattern=$1
    shift
    refuses "$pattern" generate -m "$demo" -p "$prompt" -o refused --width 64 --height 64 --steps 1 "$@"
    nothing_in refused
    rm -rf refused
}

finish() {
    [ "$failures" -eq 0 ] && exit 0
    echo "$failures failed"
    exit 1
}
