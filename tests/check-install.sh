#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# `make install` into a DESTDIR: everything is where it should be, a program builds and runs against what was installed,
# no path of the build leaks into it, and `make uninstall` leaves nothing. Usage: check-install.sh BUILD
set -eu
build=${1:?usage: $0 BUILD}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
passed=0

fail() {
    echo "install: $*"
    echo "install: $passed passed, 1 failed"
    exit 1
}
ok() { passed=$((passed + 1)); }

vars="BUILD=$build DESTDIR=$dir/root PREFIX=/opt/pmb SYSCONFDIR=/opt/etc UNITDIR=/opt/units"
# shellcheck disable=SC2086
make --no-print-directory -s $vars install >"$dir/log" 2>&1 || { cat "$dir/log"; fail "make install failed"; }

for f in opt/pmb/sbin/pmbrokerd opt/pmb/bin/pmbrokerctl opt/pmb/lib/libpmbroker.so opt/pmb/include/pmbroker.h \
    opt/pmb/include/pmbroker.proto opt/pmb/include/pmbroker.hpp opt/pmb/share/man/man7/pmbroker-protocol.7 \
    opt/pmb/lib/pkgconfig/libpmbroker.pc opt/etc/pmbroker/pmbrokerd.conf opt/units/pmbrokerd.socket \
    opt/units/pmbrokerd.service opt/units/pmbroker-provisioner.socket opt/units/pmbroker-provisioner.service \
    opt/pmb/share/man/man8/pmbrokerd.8 opt/pmb/share/man/man1/pmbrokerctl.1 \
    opt/pmb/bin/pmbroker-metrics opt/units/pmbroker-metrics.socket opt/units/pmbroker-metrics.service \
    usr/lib/systemd/catalog/pmbroker.catalog \
    opt/pmb/share/man/man3/pmbroker.3 opt/pmb/share/man/man3/pmb_calloc.3 \
    opt/pmb/share/man/man5/pmbrokerd.conf.5 usr/lib/sysusers.d/pmbroker.conf usr/lib/tmpfiles.d/pmbroker.conf; do
    [ -s "$dir/root/$f" ] || fail "/$f is missing or empty"
done
ok

# shellcheck disable=SC2013
for f in $(grep -rlE '@(SBINDIR|BINDIR|PREFIX|LIBDIR|INCLUDEDIR|SYSCONFDIR|VERSION)@' "$dir/root" || true); do
    fail "${f#"$dir/root"} has a place that was not filled in"
done
grep -q '^ExecStart=/opt/pmb/sbin/pmbrokerd --broker' "$dir/root/opt/units/pmbrokerd.service" ||
    fail "pmbrokerd.service does not start the installed daemon"
ok

cat >"$dir/p.c" <<'C'
#include <pmbroker.h>
#include <stdio.h>
int main(void)
{
        struct pmb_client *client = NULL;
        int r = pmb_client_connect("/nonexistent/socket", 0, &client);

        printf("%s %d\n", pmb_version(), r);
        return r == 0;
}
C
PKG_CONFIG_PATH=$dir/root/opt/pmb/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$dir/root
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR
# shellcheck disable=SC2046
cc -Wall -Werror -o "$dir/p" "$dir/p.c" $(pkg-config --cflags --libs libpmbroker) || fail "cannot build with pkg-config"
out=$(LD_LIBRARY_PATH=$dir/root/opt/pmb/lib "$dir/p") || fail "the program failed: $out"
[ "$out" = "$(PKG_CONFIG_SYSROOT_DIR='' pkg-config --modversion libpmbroker) -2" ] || fail "the program said: $out"
ok

cat >"$dir/p.cpp" <<'C'
#include <pmbroker.hpp>
#include <cstdio>
#include <vector>
int main()
{
        try {
                pmb::client client("/nonexistent/socket");
                pmb::pool pool(client);
                std::vector<int, pmb::allocator<int>> vector{pool};
        } catch (const pmb::error &e) {
                std::printf("%d\n", e.code().value());
        }
}
C
# shellcheck disable=SC2046
c++ -std=c++14 -Wall -Wextra -Werror -o "$dir/p" "$dir/p.cpp" $(pkg-config --cflags --libs libpmbroker) ||
    fail "cannot build C++ with pkg-config"
out=$(LD_LIBRARY_PATH=$dir/root/opt/pmb/lib "$dir/p") || fail "the C++ program failed: $out"
[ "$out" = 2 ] || fail "the C++ program said: $out"
ok

# Nothing but our functions leaves the library; a private allocator least of all.
leaks=$(nm -D --defined-only "$dir/root/opt/pmb/lib/libpmbroker.so" | awk '{print $3}' |
    grep -v -e '^pmb_' -e '^LIBPMBROKER_' || true)
[ -z "$leaks" ] || fail "the library exports:" "$leaks"
ok

# Its symbols are those of this minor version: a program linked with another 0.x must not be loaded with it.
version=$(PKG_CONFIG_SYSROOT_DIR='' pkg-config --modversion libpmbroker)
foreign=$(nm -D --with-symbol-versions --defined-only "$dir/root/opt/pmb/lib/libpmbroker.so" | awk '{print $3}' |
    grep '^pmb_' | grep -v "@@LIBPMBROKER_${version%.*}\$" || true)
[ -z "$foreign" ] || fail "not in the node of $version:" "$foreign"
ok

# shellcheck disable=SC2086
make --no-print-directory -s $vars uninstall >/dev/null
left=$(find "$dir/root" ! -type d)
[ -z "$left" ] || fail "uninstall leaves:" "$left"
ok
echo "install: $passed passed, 0 failed"
