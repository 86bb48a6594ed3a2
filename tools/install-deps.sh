#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Install the Debian packages that building, testing and the demo need. Does nothing, quickly and without the
# network, when all is there.
#
#   install-deps.sh build    what `make all` and `make demo` need
#   install-deps.sh check    that, and what `make check` needs
#   install-deps.sh bench    what `make bench` needs beside `build`: the allocators that it measures
#   install-deps.sh deb      what `make deb` needs
#   install-deps.sh vm       what `make check-vm` needs beside `build`
#   install-deps.sh analyze  what `make analyze` needs beside `build`
#   install-deps.sh coverage what `make coverage` needs beside `check`
set -eu

build="gcc make pkg-config libc6-dev dpkg-dev ca-certificates
       libsystemd-dev libprotobuf-c-dev protobuf-c-compiler libinih-dev libsmartcols-dev uthash-dev
       libndctl-dev libdaxctl-dev libblkid-dev uuid-dev libmicrohttpd-dev"
check="clang clang-format g++ libcmocka-dev libjemalloc2 libmemkind-dev protobuf-compiler
       python3 python3-pytest python3-protobuf python3-prometheus-client python3-yaml procps
       mandoc man-db jq openssh-client openssh-server systemd valgrind zsh"
bench="libmemkind-dev libjemalloc2 libtcmalloc-minimal4 libmimalloc2.0 python3"
deb="debhelper lintian libcmocka-dev systemd valgrind"
analyze="clang clang-tidy cppcheck"
coverage="gcovr"
vm="mmdebstrap qemu-system-x86 squashfs-tools libmemkind-dev python3"

case "${1:-build}" in
build) want=$build ;;
check) want="$build $check" ;;
bench) want="$build $bench" ;;
deb) want="$build $deb" ;;
vm) want="$build $vm" ;;
analyze) want="$build $analyze" ;;
coverage) want="$build $check $coverage" ;;
*) echo "usage: $0 [build|check|bench|deb|vm|analyze|coverage]" >&2; exit 64 ;;
esac

command -v dpkg-query >/dev/null || {
    echo "$0: not a Debian system; please install the equivalents of:" $want >&2
    exit 0
}

missing=
for p in $want; do
    case $(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true) in
    installed) ;;
    *) missing="$missing $p" ;;
    esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "$0: missing Debian packages:$missing" >&2
    echo "$0: run as root: apt-get install --no-install-recommends$missing" >&2
    exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
# Tests start the services that they need by themselves, with configurations of their own: nothing is to run here for it.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
fi
# shellcheck disable=SC2086
apt-get install -y -q --no-install-recommends $missing >/dev/null 2>&1 && exit 0
# The package lists may be old or missing.
apt-get update -q
# shellcheck disable=SC2086
apt-get install -y -q --no-install-recommends $missing
