#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Build the private jemalloc that libpmbroker is linked with:
#
#   build-jemalloc.sh DIR             makes DIR/lib/libpmb_jemalloc.a and DIR/include/pmb_jemalloc.h
#   build-jemalloc.sh --fetch FILE    only puts the source's tarball there, for a source package
#
# It is a jemalloc of our own, and not the system's, because the system's can neither be hidden inside a library that
# is loaded at run time (static TLS, and free() would take libc's blocks) nor be kept from the settings that the
# administrator made for the application's allocator. Ours has a prefix, no thread-local storage, no C++ operators,
# and reads neither MALLOC_CONF nor /etc/malloc.conf.
#
# The source is Debian's: fetched by apt, signed by Debian, and its checksum is pinned below.
#
#   JEMALLOC_SOURCE=PATH     take this tarball of jemalloc 5.3.0, or the directory that was unpacked from it, instead
#                            (for machines that cannot reach a mirror)
#   CC=...                   the compiler
#
# Says nothing unless it fails. A copy of the result is kept in ${XDG_CACHE_HOME:-~/.cache}/pmbroker.
set -eu

version=5.3.0
debian_version=5.3.0-1
debian_suite=bookworm
sha256=2db82d1e7119df3e71b7640219b6dfe84789bc0537983c3b7ac4f7189aecfeaa
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

only_fetch=
if [ "${1:-}" = --fetch ]; then
    only_fetch=yes
    shift
fi
if [ $# -ne 1 ] || [ -z "$1" ]; then
    echo "usage: $0 DIR | --fetch FILE" >&2
    exit 64
fi
mkdir -p "$(dirname "$1")"
dir=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
cc=${CC:-gcc}

# What an outer make or a developer has set for our code is not meant for this one.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL CFLAGS CPPFLAGS CXXFLAGS LDFLAGS LIBS EXTRA_CFLAGS CONFIG_SITE CDPATH
LC_ALL=C
export LC_ALL
umask 022

work=
apt=
trap 'rm -rf "$work" "$apt"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    echo "$0: $*" >&2
    exit 1
}

# Run a step with its output put aside; show the end of it when it fails.
quietly() {
    "$@" >"$work/log" 2>&1 </dev/null && return 0
    tail -n 40 "$work/log" >&2
    fail "failed: $*"
}

# ------------------------------------------------------------------------------------------------------------- cache

key=$({
    cat "$0"
    command -v "$cc"
    $cc --version
    $cc -dumpmachine
    if [ -d "${JEMALLOC_SOURCE:-}" ]; then
        (cd "$JEMALLOC_SOURCE" && find . -type f -exec sha256sum {} + | sort)
    elif [ -n "${JEMALLOC_SOURCE:-}" ]; then
        sha256sum <"$JEMALLOC_SOURCE"
    fi
} 2>&1 | sha256sum | cut -c 1-16)

cache_home=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
cache=${cache_home:+$cache_home/pmbroker/jemalloc-$version-$key}

is_complete() {
    [ -s "$1/lib/libpmb_jemalloc.a" ] && [ -s "$1/include/pmb_jemalloc.h" ] &&
        [ "$(cat "$1/stamp" 2>/dev/null)" = "$key" ]
}

if [ -z "$only_fetch" ] && is_complete "$dir"; then
    touch "$dir/lib/libpmb_jemalloc.a"
    exit 0
fi

# Next to the target, so that the last step is a rename.
work=$(mktemp -d "$dir.XXXXXX")
chmod 755 "$work"

# Move the finished directory $1 to its place.
put() {
    [ ! -e "$dir" ] || mv -T "$dir" "$work/old"
    mv -T "$1" "$dir"
}

# A cache that belongs to somebody else (sudo with the caller's HOME) is neither trusted nor written to.
if [ -z "$only_fetch" ] && [ -n "$cache" ] && [ -O "$cache" ] && is_complete "$cache"; then
    cp -R "$cache" "$work/new"
    put "$work/new"
    exit 0
fi

# ------------------------------------------------------------------------------------------------------------ source

# The mirrors of Debian that this machine uses, as "[options] URI" lines: from both formats of apt's source lists,
# from entries that are enabled, offer the component main and are Debian's by their address. Third parties are left
# out; apt checks against Debian's own keyring in any case.
mirrors() {
    for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -r "$f" ] || continue
        sed -n 's/#.*//; s/[[:space:]][[:space:]]*/ /g; s/^ *deb\(-src\)* //p' "$f" | awk '{
            late = ""
            if ($0 ~ /^\[/) {
                if ($0 ~ /check-valid-until=no/) late = "check-valid-until=no"
                sub(/^\[[^]]*\] */, "")
            }
            main = 0
            for (i = 3; i <= NF; i++) if ($i == "main") main = 1
            if (main) print late, $1
        }'
    done
    for f in /etc/apt/sources.list.d/*.sources; do
        [ -r "$f" ] || continue
        # Join continuation lines, then one paragraph at a time.
        sed 's/^#.*//; /^#/d' "$f" | awk '
            function flush() {
                if (uris != "" && main && !off) {
                    n = split(uris, u, " ")
                    for (i = 1; i <= n; i++) print late, u[i]
                }
                uris = late = field = ""; main = off = 0
            }
            function value(name, text) {
                if (name == "uris") uris = uris " " text
                if (name == "components" && (" " text " ") ~ / main /) main = 1
                if (name == "enabled" && tolower(text) ~ /^ *(no|false|0|off)/) off = 1
                if (name == "check-valid-until" && tolower(text) ~ /^ *no/) late = "check-valid-until=no"
            }
            /^[[:space:]]*$/ { if ($0 == "") flush(); next }
            /^[[:space:]]/ { gsub(/[[:space:]]+/, " "); value(field, $0); next }
            { p = index($0, ":"); field = tolower(substr($0, 1, p - 1)); t = substr($0, p + 1)
              gsub(/[[:space:]]+/, " ", t); value(field, t) }
            END { flush() }'
    done
}

apt_get() {
    apt-get -q -o "Dir::Etc::SourceList=$apt/sources.list" -o Dir::Etc::SourceParts=- \
        -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o Debug::NoLocking=1 \
        -o Acquire::Languages=none -o Acquire::Retries=3 "$@"
}

fetch() {
    hint="set JEMALLOC_SOURCE to a tarball of jemalloc $version"
    command -v apt-get >/dev/null || fail "no apt-get here; $hint"
    [ -r "$keyring" ] || fail "$keyring is missing (package debian-archive-keyring); $hint"

    # Below /tmp and not below DIR: apt drops to a user of its own, who may not look into root's directories.
    apt=$(mktemp -d /tmp/pmbroker-apt.XXXXXX)
    chmod 755 "$apt"
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/source"
    if [ "$(id -u)" -eq 0 ] && id -u _apt >/dev/null 2>&1; then
        chown _apt "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/source"
    fi
    {
        mirrors | grep -E '^(check-valid-until=no)? (https?|file|mirror\+[a-z]+)://?[^ ]*debian[^ ]*$' |
            grep -v -E 'debian-(security|debug|ports|backports)|security\.debian\.org' || true
        echo " http://deb.debian.org/debian"
    } | awk -v k="$keyring" -v s="$debian_suite" '{
        uri = $NF; opt = NF > 1 ? " " $1 : ""; sub(/\/$/, "", uri)
        if (!seen[uri]++) printf "deb-src [signed-by=%s%s] %s %s main\n", k, opt, uri, s
    }' >"$apt/all"

    # One mirror after the other, the machine's own first: all at once would fetch an index from each.
    while IFS= read -r line; do
        printf '%s\n' "$line" >"$apt/sources.list"
        if {
            apt_get update &&
                (cd "$apt/source" && apt_get source --download-only --only-source "jemalloc=$debian_version")
        } >"$work/log" 2>&1 </dev/null && [ -s "$apt/source/jemalloc_$version.orig.tar.bz2" ]; then
            source=$apt/source/jemalloc_$version.orig.tar.bz2
            return
        fi
        cat "$work/log" >>"$work/log.apt"
    done <"$apt/all"
    tail -n 20 "$work/log.apt" >&2
    fail "cannot fetch the Debian source package jemalloc $debian_version; $hint"
}

if [ -n "${JEMALLOC_SOURCE:-}" ]; then
    source=$JEMALLOC_SOURCE
    [ -r "$source" ] || fail "cannot read $source"
else
    fetch
    [ "$(sha256sum <"$source" | cut -d ' ' -f 1)" = "$sha256" ] || fail "the source of jemalloc is not the known one"
fi
if [ -n "$only_fetch" ]; then
    [ -f "$source" ] || fail "$source is no tarball"
    cp "$source" "$work/new"
    put "$work/new"
    exit 0
fi

if [ -d "$source" ]; then
    quietly cp -R "$source" "$work/src"
else
    mkdir "$work/src"
    quietly tar -xf "$source" -C "$work/src" --strip-components=1 --no-same-owner
fi
case $(cat "$work/src/VERSION" 2>/dev/null) in
"$version"-*) ;;
*) fail "$source is not the release tarball of jemalloc $version" ;;
esac
[ -x "$work/src/configure" ] || fail "$source has no configure; please use the release tarball"

# ------------------------------------------------------------------------------------------------------------- build

cd "$work/src"

# Neither the environment nor a link in /etc shall tune, slow down or abort a pool: cut both sources of settings.
sed -i -e 's/if ((ret = jemalloc_secure_getenv(envname)) != NULL)/ret = NULL; (void)envname; if (ret != NULL)/' \
    -e 's/linklen = readlink(linkname, buf, PATH_MAX);/linklen = -1; (void)linkname;/' \
    -e 's/linklen = readlinkat(AT_FDCWD, linkname, buf, PATH_MAX);/linklen = -1; (void)linkname;/' src/jemalloc.c
[ "$(grep -c -e '(void)envname' -e '(void)linkname' src/jemalloc.c)" -eq 3 ] ||
    fail "src/jemalloc.c is not as expected"

# A thread whose thread-specific data are gone already, but not its last destructors, would get memory of arena 0,
# whatever arena it asked for.
sed -i -e 's/\*tsd_reentrancy_levelp_get(tsd) = 1;/*tsd_reentrancy_levelp_get(tsd) = tsd_state_get(tsd) != tsd_state_reincarnated;/' \
    src/tsd.c
grep -q 'tsd_state_get(tsd) != tsd_state_reincarnated;' src/tsd.c || fail "src/tsd.c is not as expected"

# One binary serves kernels with larger pages than the builder's.
case $($cc -dumpmachine) in
aarch64-* | powerpc64*-* | loongarch64-*) page=--with-lg-page=16 ;;
*) page= ;;
esac

# One arena per pool does all; dirty memory stays in it until there is pressure; nothing is retained behind our back;
# no thread gets a cache, since a cache would mix the pools up.
conf=narenas:1,tcache:false,retain:false,oversize_threshold:0,dirty_decay_ms:-1,muzzy_decay_ms:0
# Blocks of 4 KiB come 16 to a slab, or each would be an extent of its own.
conf=$conf,lg_extent_max_active_fit:30,slab_sizes:4096-4096:16

# shellcheck disable=SC2086
quietly env force_tls=0 CC="$cc" CFLAGS='-O3 -g1 -funroll-loops -fPIC -fno-strict-aliasing -w' ./configure \
    --with-jemalloc-prefix=pmbj_ --with-malloc-conf="$conf" $page \
    --disable-cxx --disable-libdl --disable-doc --disable-cache-oblivious --disable-shared --disable-fill --disable-stats
defs=include/jemalloc/internal/jemalloc_internal_defs.h
for name in JEMALLOC_TLS JEMALLOC_CACHE_OBLIVIOUS JEMALLOC_IS_MALLOC; do
    ! grep -q "^#define $name\b" "$defs" || fail "configure has set $name"
done

# jemalloc gives its internal names a prefix by compiling everything twice. Once will do: rename them afterwards.
for f in private_namespace.gen.h private_namespace.h; do
    : >include/jemalloc/internal/$f
    old="${old:-} -o include/jemalloc/internal/$f"
done
# shellcheck disable=SC2086
quietly make -j "$(nproc 2>/dev/null || echo 2)" $old lib/libjemalloc_pic.a
nm --defined-only -g -f posix lib/libjemalloc_pic.a |
    awk 'NF > 2 && $1 !~ /^pmbj_/ {print $1, "pmbj_" $1}' | sort -u >names
[ "$(wc -l <names)" -gt 500 ] || fail "the names of jemalloc are not as expected"

mkdir -p "$work/new/lib" "$work/new/include"
quietly objcopy --redefine-syms=names lib/libjemalloc_pic.a "$work/new/lib/libpmb_jemalloc.a"
{
    echo '/* jemalloc '$version', generated; its own warnings are not ours. */'
    echo '#pragma GCC system_header'
    cat include/jemalloc/jemalloc.h
} >"$work/new/include/pmb_jemalloc.h"
cp COPYING "$work/new/COPYING"
echo "$key" >"$work/new/stamp"
cd "$dir/.."

if [ -n "$cache" ] && mkdir -p "$cache_home/pmbroker" 2>/dev/null && [ -O "$cache_home/pmbroker" ]; then
    # Never needed: a full disk or a second builder that was faster are no reason to fail.
    if copy=$(mktemp -d "$cache.XXXXXX" 2>/dev/null); then
        chmod 755 "$copy"
        if ! { cp -R "$work/new/." "$copy" && { [ ! -e "$cache" ] || rm -rf "$cache"; } && mv -T "$copy" "$cache"; } \
            2>/dev/null; then
            rm -rf "$copy"
        fi
    fi
fi
put "$work/new"
