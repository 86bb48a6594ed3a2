#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# A container with Podman (or, with CONTAINER=docker, Docker) that may ask the host's pmbrokerd for memory:
#
#   run.sh IMAGE [COMMAND...]
#
# The image has libpmbroker.so.0 and libprotobuf-c.so.1. It is charged as the tenant that pools.conf names for its user,
# who must not be root: root without a user namespace may administrate the host's pools.
set -eu
exec "${CONTAINER:-podman}" run --rm --interactive \
    --user 20001:20001 --cap-drop all --security-opt no-new-privileges \
    --volume /run/pmbroker:/run/pmbroker:ro \
    "$@"
