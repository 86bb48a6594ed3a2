#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A directory is a layer: an include names its layer, and arrows point down only. The core's objects may refer to
# nothing but themselves and a short list of libc. Usage: check-layers.sh BUILD
set -u
build=${1:?usage: $0 BUILD}
failed=0 checked=0

fail() {
    echo "layers: $*"
    failed=$((failed + 1))
}

# layer: directories of ours that its files may include from
allowed() {
    case $1 in
    base) echo base ;;
    proto) echo base proto ;;
    daemon/core) echo base core ;; # and proto/result.h, see below
    daemon/provisioner) echo base proto provisioner ;;
    daemon/ipc) echo base proto core ipc ;; # and provisioner/job.h
    daemon) echo base proto core ipc provisioner ;;
    client) echo base proto client ;;
    ctl) echo base proto ctl ;;
    exporter) echo base proto ctl exporter ;;
    examples | bench | bench/heap) echo client ;;
    esac
}

for layer in base proto daemon/core daemon/provisioner daemon/ipc daemon client ctl exporter examples bench bench/heap; do
    for f in "$layer"/*.c "$layer"/*.h; do
        [ -e "$f" ] || continue
        checked=$((checked + 1))
        while read -r inc; do
            case $inc in
            */*) dir=${inc%%/*} ;;
            *)  # a name without directory: the layer's own top level, or the public header
                case $layer in daemon | bench/heap) [ -e "$layer/$inc" ] && continue ;; esac
                [ "$inc" = pmbroker.h ] && case $layer in client | examples | bench) continue ;; esac
                [ "$inc" = log.h ] && case $layer in daemon/ipc | daemon/provisioner) continue ;; esac
                [ "$inc" = pmb_jemalloc.h ] && [ "$layer" = client ] && continue
                fail "$f includes \"$inc\", which names no layer"
                continue
                ;;
            esac
            [ "$layer $inc" = "daemon/core proto/result.h" ] && continue
            [ "$layer $inc" = "daemon/ipc provisioner/job.h" ] && continue
            case " $(allowed "$layer") " in
            *" $dir "*) ;;
            *) fail "$f includes \"$inc\": $layer may include from $(allowed "$layer" | tr ' ' ',')" ;;
            esac
        done < <(sed -n 's/^#include "\(.*\)".*/\1/p' "$f")
    done
done

# The core decides and does nothing else: what it may call.
pure=" assert __assert_fail abort calloc malloc free realloc reallocarray memcpy memmove memset memcmp memchr
       strlen strnlen strcmp strncmp strchr strrchr strcspn strspn strdup strndup qsort fnmatch snprintf
       __stack_chk_fail __memcpy_chk __memset_chk __snprintf_chk __strcpy_chk __ubsan_ __asan_ _GLOBAL_OFFSET_TABLE_ "
own=" $(nm --defined-only --format=posix "$build"/daemon/core/*.o "$build"/proto/result.o 2>/dev/null |
    awk 'NF >= 2 {print $1}' | sort -u | tr '\n' ' ') "
objects=0
for o in "$build"/daemon/core/*.o; do
    [ -e "$o" ] || { fail "no objects of the core in $build"; break; }
    objects=$((objects + 1))
    while read -r symbol; do
        case $symbol in __ubsan_* | __asan_* | __tsan_* | __sanitizer_* | __gcov_*) continue ;; esac
        case "$own$pure" in
        *" $symbol "*) ;;
        *) echo "$pure" | tr -s ' \n' '\n' | grep -qx -- "$symbol" || fail "${o#"$build"/} calls $symbol: the core is pure" ;;
        esac
    done < <(nm -u --format=posix "$o" | awk '{print $1}')
done

echo "layers: $checked files and $objects core objects checked"
[ "$checked" -gt 20 ] || fail "only $checked files were found"
if [ "$failed" -gt 0 ]; then
    echo "layers: 0 passed, $failed failed"
    exit 1
fi
echo "layers: 1 passed, 0 failed"
