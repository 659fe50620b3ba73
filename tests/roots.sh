# For scripts that try things in Debian roots of their own (tests/fresh, tests/deb). Needs root, debootstrap and a Debian mirror. To be set: cache,
# where the roots are, and the minimal systems as tarballs; mirror.
# shellcheck shell=sh disable=SC2154

# The minimal system of $1 and what is asked of a user to have: git; kept as a tarball.
make_base() {
    [ -f "$cache/$1.tar" ] && return 0
    rm -rf "$cache/$1.base"
    debootstrap --variant=minbase --include=git,sudo "$1" "$cache/$1.base" "$mirror" >"$cache/$1.debootstrap.log" 2>&1 ||
        { tail -n 20 "$cache/$1.debootstrap.log" >&2; exit 1; }
    rm -rf "$cache/$1.base/var/cache/apt/archives"/*.deb
    tar -C "$cache/$1.base" -cf "$cache/$1.tar.part" .
    mv "$cache/$1.tar.part" "$cache/$1.tar"
    rm -rf "$cache/$1.base"
}

# How this machine reaches the mirror, and nothing else of it: name server, certificates, apt's settings for fetching.
lend_network() {
    cp -L /etc/resolv.conf "$1/etc/resolv.conf"
    if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
        mkdir -p "$1/etc/ssl/certs"
        cp -L /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/"
    fi
    apt-config dump Acquire | grep -E '^Acquire::(http|https|Check-Date|Check-Valid-Until|Retries)' >"$1/etc/apt/apt.conf.d/99lent" || true
}

# Runs $3 in the root $1 as the user $2, in namespaces of its own, with nothing of this environment but proxies; what it starts or mounts ends with it.
inside() {
    # shellcheck disable=SC2016 # the inner shell expands
    unshare --mount --pid --fork --kill-child sh -euc '
        mount -t proc proc "$1/proc"
        mount --rbind /dev "$1/dev"
        proxies=$(env | grep -iE "^(https?|no)_proxy=" || true)
        exec chroot --userspec="$2:" "$1" env -i $proxies HOME=/home/somebody PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
            sh -c "cd /home/somebody/unetdump && $3"' inside "$1" "$2" "$3" </dev/null
}
