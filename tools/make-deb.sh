#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Build the Debian packages of what is in this tree, committed or not, and let lintian look at them:
#
#   make-deb.sh DIR    makes the source package and DIR/*.deb
#
# The source package has two tarballs: this project's, and jemalloc's as Debian has it, so that the build itself needs no
# network. SKIP_LINTIAN=1 leaves lintian out.
set -eu

dir=${1:?usage: $0 DIR}
tree=$(cd "$(dirname "$0")/.." && pwd)
cd "$tree"
version=$(dpkg-parsechangelog -S Version)
upstream=${version%-*}
[ "$upstream" = "$(sed -n 's/^VERSION := //p' Makefile)" ] || {
    echo "$0: debian/changelog says $upstream, the Makefile another version" >&2
    exit 1
}
umask 022
rm -rf "$dir"
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
source=$dir/pmbroker-$upstream

# Without git this is an unpacked source package or tarball, which has no more in it than it should.
files() {
    if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
        git ls-files -z --cached --others --exclude-standard
    else
        find . -path './build*' -prune -o -path ./jemalloc -prune -o -type f -print0
    fi
}
# Not debian/: that comes as a tarball of its own.
mkdir "$source"
files | tar -c --null --ignore-failed-read -T - | tar -x -C "$source"
tar -C "$dir" --sort=name --owner=0 --group=0 --exclude="pmbroker-$upstream/debian" \
    -cJf "$dir/pmbroker_$upstream.orig.tar.xz" "pmbroker-$upstream"
tools/build-jemalloc.sh --fetch "$dir/pmbroker_$upstream.orig-jemalloc.tar.bz2"
mkdir "$source/jemalloc"
tar -xf "$dir/pmbroker_$upstream.orig-jemalloc.tar.bz2" -C "$source/jemalloc" --strip-components=1 --no-same-owner

(cd "$source" && MAKEFLAGS= DEB_BUILD_OPTIONS="parallel=$(nproc) ${DEB_BUILD_OPTIONS:-}" \
    dpkg-buildpackage -us -uc ${DPKG_BUILDPACKAGE_ARGS:-}) >"$dir/log" 2>&1 || {
    tail -n 60 "$dir/log"
    echo "$0: the build failed; all of it is in $dir/log" >&2
    exit 1
}
rm -rf "$source"
# The project has no mail address and no bug in Debian's tracker that these packages would close.
suppress="--suppress-tags bogus-mail-host,bogus-mail-host-in-debian-changelog,initial-upload-closes-no-bugs"
[ "$(id -u)" -ne 0 ] || suppress="$suppress --allow-root"
[ -n "${SKIP_LINTIAN:-}" ] || lintian --fail-on error $suppress "$dir"/*.changes
ls -l "$dir"/*.deb
