#!/bin/sh
# Installs a build and uses what it installed as somebody else would: tests/install.sh BUILD [MODEL]
# Checks the exported symbols against the header, the header alone, and consumers in C and in C++17 by pkg-config and by CMake, with either library.
set -eu
build=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
model=${2:-$here/../models/demo}
work=$build/install-test
prefix=$work/prefix
rm -rf "$work"
mkdir -p "$work"

fail() {
    echo "tests/install.sh: $*" >&2
    exit 1
}

# Shows what the command said only if it fails.
quietly() {
    "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "failed: $*"; }
}

quietly cmake --install "$build" --prefix "$prefix"
libdir=$(dirname "$(find "$prefix" -name libunetdump.a)")
[ -f "$libdir/libunetdump.so" ] || fail "no shared library in $libdir"
"$prefix/bin/unetdump" --version | grep -q '^unetdump [0-9]' || fail "the installed command does not say its version"

# Symbols: the shared library exports the header's functions and nothing else; the static one has no global name but ours.
sed -n 's/^UDUMP_API [^(]*\(udump_[a-z0-9_]*\)(.*/\1/p' "$prefix/include/unetdump.h" | sort >"$work/declared"
[ "$(wc -l <"$work/declared")" -eq "$(grep -c '^UDUMP_API ' "$prefix/include/unetdump.h")" ] || fail "not every declaration of the header was understood"
nm -D --defined-only "$libdir/libunetdump.so" | awk '{ print $3 }' | sort >"$work/exported"
diff "$work/declared" "$work/exported" >&2 || fail "< declared but not exported; > exported but not declared"
nm -g --defined-only "$libdir/libunetdump.a" | awk 'NF == 3 { print $3 }' | sort -u >"$work/global"
[ -s "$work/global" ] || fail "no symbol in the static library"
! grep -v '^udump_' "$work/global" >&2 || fail "global names of the static library without udump_"

# The header alone, with every compiler that is here.
for compiler in cc gcc clang; do
    command -v $compiler >/dev/null || continue
    quietly $compiler -std=c11 -pedantic -Wall -Wextra -Werror -fsyntax-only -x c "$prefix/include/unetdump.h"
done
for compiler in c++ g++ clang++; do
    command -v $compiler >/dev/null || continue
    quietly $compiler -std=c++17 -pedantic -Wall -Wextra -Werror -fsyntax-only -x c++ "$prefix/include/unetdump.h"
done

# The consumers, in C and in C++, each four times. Only the shared ones may need libunetdump.so.
export PKG_CONFIG_PATH="$libdir/pkgconfig"
by_pkg_config() {
    # shellcheck disable=SC2046,SC2086 # pkg-config answers in words, and the compiler has some
    quietly $1 "$2" -o "$work/$3_shared" $(pkg-config --cflags --libs unetdump) "-Wl,-rpath,$libdir"
    # shellcheck disable=SC2046,SC2086
    quietly $1 "$2" -o "$work/$3_static" $(pkg-config --cflags unetdump) $(pkg-config --static --libs unetdump | sed 's/-lunetdump/-l:libunetdump.a/')
}
by_cmake() {
    quietly cmake -G Ninja -S "$1" -B "$work/$2" "-DCMAKE_PREFIX_PATH=$prefix"
    quietly cmake --build "$work/$2"
}
by_pkg_config cc "$here/install/consumer.c" c
by_pkg_config "c++ -std=c++17 -Wall -Wextra -Werror" "$here/install/cpp/consumer.cpp" cpp
by_cmake "$here/install" cmake
by_cmake "$here/install/cpp" cmake_cpp
for program in "$work/c" "$work/cpp" "$work/cmake/consumer" "$work/cmake_cpp/cpp"; do
    for library in shared static; do
        "${program}_$library" "$model" >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "failed: ${program}_$library $model"; }
        grep -qx 'unetdump [0-9.]*, 25 blocks' "$work/log" || fail "${program}_$library says: $(cat "$work/log")"
        needed=$(readelf -d "${program}_$library" | grep -c 'NEEDED.*libunetdump' || true)
        case $library in shared) [ "$needed" = 1 ] ;; static) [ "$needed" = 0 ] ;; esac || fail "${program}_$library is linked to the wrong library"
        case $program in # which samples: two steps of one block, [channels, h, w]
        *cpp) grep -qx 'OUT05, step 2: \[64, 4, 4\]' "$work/log" && grep -qx '1 image' "$work/log" || fail "${program}_$library says: $(cat "$work/log")" ;;
        esac
    done
done
[ "$(pkg-config --modversion unetdump)" = "$("$prefix/bin/unetdump" --version | cut -d ' ' -f 2)" ] || fail "pkg-config and the command disagree on the version"
echo "installed, found and used: shared and static, by pkg-config and by CMake, in C and C++; $(wc -l <"$work/declared") functions exported"
