/* SPDX-License-Identifier: BSD-3-Clause */
/* What pmbrokerctl can do. A new verb is a row here, a section of pmbrokerctl(1), and a word in both completions; the
 * tests hold them against each other. */

#include "ctl/verbs.h"

#include <stdint.h>

#include "base/cleanup.h"
#include "ctl/pool-table.h"
#include "ctl/verb.h"

const Verb verbs[] = {
        {
                .name = "status",
                .operands = "",
                .summary = "how the daemon is (this is the default)",
                .details = "Version, uptime, provisioner, stores, capacity, pools, sessions, refusals, and "
                           "whether a\n"
                           "restart of the provisioner keeps the pools. Most of it is for administrators.",
                .examples = "  pmbrokerctl\n"
                            "  pmbrokerctl status --json | jq .pools\n",
                .run = verb_status,
        },
        {
                .name = "list",
                .operands = "",
                .columns = pool_columns,
                .summary = "all pools, a row each",
                .details = "Administrators and observers see everybody's pools.",
                .examples = "  pmbrokerctl list\n"
                            "  pmbrokerctl list -o +MAX,ENFORCED\n"
                            "  pmbrokerctl list -o ID,USED --noheadings --bytes\n"
                            "  pmbrokerctl list --json | jq '[.pools[].limit] | add'\n",
                .run = verb_list,
        },
        {
                .name = "show",
                .operands = "POOL",
                .operands_min = 1,
                .operands_max = 1,
                .columns = pool_columns,
                .all_columns = true,
                .summary = "all there is to say of one pool",
                .details = "POOL is an id (16 hexadecimal digits), the beginning of one, or a name; the "
                           "last two must\n"
                           "fit exactly one pool.",
                .examples = "  pmbrokerctl show 3f9c\n"
                            "  pmbrokerctl show web -o USED --noheadings --bytes\n",
                .run = verb_show,
        },
        {
                .name = "stores",
                .operands = "[STORE...]",
                .operands_max = SIZE_MAX,
                .columns = store_columns,
                .summary = "what pools are cut from",
                .details = "All stores, or those that are named.",
                .examples = "  pmbrokerctl stores\n"
                            "  pmbrokerctl stores pmem0 -o FREE --noheadings --bytes\n",
                .run = verb_stores,
        },
        {
                .name = "tenants",
                .operands = "[TENANT...]",
                .operands_max = SIZE_MAX,
                .columns = tenant_columns,
                .summary = "who is charged, and up to what",
                .details = "All tenants, or those that are named. A limit that was set at run time has its "
                           "name in\n"
                           "column SET.",
                .examples = "  pmbrokerctl tenants\n"
                            "  pmbrokerctl tenants batch --json\n",
                .run = verb_tenants,
        },
        {
                .name = "sessions",
                .operands = "",
                .columns = session_columns,
                .summary = "who is connected",
                .details = "Every connection to the broker, the oldest first, this one among them.",
                .examples = "  pmbrokerctl sessions\n"
                            "  pmbrokerctl sessions -o +UNREAD,UNIT\n",
                .run = verb_sessions,
        },
        {
                .name = "create",
                .operands = "[-- COMMAND...]",
                .operands_max = SIZE_MAX,
                .takes = TAKES_SIZE | TAKES_MAX | TAKES_STORE | TAKES_NAME,
                .local = true,
                .local_why = "a pool's descriptor does not travel; run it there",
                .summary = "a pool for a script",
                .details = "With a COMMAND: run it with the pool's descriptor in $PMBROKER_FD, the pool's "
                           "id, size and\n"
                           "length in $PMBROKER_POOL, $PMBROKER_SIZE and $PMBROKER_LENGTH; the exit status "
                           "is its own.\n"
                           "Without: print the id, and hold the pool until a signal ends this.",
                .examples = "  pmbrokerctl create --size 1G -- sh -c 'sort -S1G <in "
                            ">/proc/self/fd/$PMBROKER_FD'\n"
                            "  pmbrokerctl create --size 64M --store pmem0 --name scratch\n",
                .run = verb_create,
        },
        {
                .name = "resize",
                .operands = "POOL SIZE|+SIZE|-SIZE",
                .operands_min = 2,
                .operands_max = 2,
                .takes = TAKES_WAIT,
                .summary = "give a pool more or less memory",
                .details = "SIZE is in bytes or has a suffix K, M, G, T (powers of 1024), and is rounded up "
                           "to a\n"
                           "multiple of 2M. A pool shrinks by what its owner gives back; when the owner has "
                           "given\n"
                           "nothing for 30 s the resize ends at what was reached, with exit status 1. With "
                           "--wait it\n"
                           "goes on. On a terminal a bar shows how far it is.",
                .examples = "  pmbrokerctl resize web 256M\n"
                            "  pmbrokerctl resize web -64M --wait\n",
                .run = verb_resize,
        },
        {
                .name = "revoke",
                .operands = "POOL",
                .operands_min = 1,
                .operands_max = 1,
                .takes = TAKES_GRACE,
                .summary = "take a pool away, without asking",
                .details = "Its owner gets SIGBUS when it touches the memory again. With --grace it is told "
                           "first, and\n"
                           "has so long to save what is in it; an interrupt ends the waiting here, not the "
                           "grace.",
                .examples = "  pmbrokerctl revoke 3f9c2b7a10d4e586\n"
                            "  pmbrokerctl revoke --grace 30 web\n",
                .run = verb_revoke,
        },
        {
                .name = "drain",
                .operands = "STORE",
                .operands_min = 1,
                .operands_max = 1,
                .takes = TAKES_UNDO | TAKES_PERMANENT | TAKES_CONFIG,
                .summary = "let a store run empty: no new pools",
                .details = "The pools that it has stay, and may be resized. Until --undo, or a restart of "
                           "the broker.\n"
                           "With --permanent, as root, it is written to a drop-in beside the configuration, "
                           "too, "
                           "or with\n"
                           "--undo removed from there.",
                .examples = "  pmbrokerctl drain pmem0\n"
                            "  pmbrokerctl drain --undo pmem0\n"
                            "  pmbrokerctl drain --permanent pmem0\n",
                .run = verb_drain,
        },
        {
                .name = "set-limit",
                .operands = "TENANT SETTING=VALUE...",
                .operands_min = 2,
                .operands_max = SIZE_MAX,
                .takes = TAKES_PERMANENT | TAKES_CONFIG,
                .summary = "other limits for a tenant",
                .details = "SETTING is Bytes, Pools or PoolBytes, as in pmbrokerd.conf(5); an empty VALUE "
                           "takes it back.\n"
                           "It holds until the broker restarts. With --permanent, as root, it is written to "
                           "a drop-in\n"
                           "beside the configuration instead, which is read again.",
                .examples = "  pmbrokerctl set-limit batch Bytes=8G Pools=100\n"
                            "  pmbrokerctl set-limit batch Bytes='8G 25%' PoolBytes=infinity\n"
                            "  pmbrokerctl set-limit batch Bytes=\n"
                            "  pmbrokerctl set-limit --permanent batch Bytes=8G\n",
                .run = verb_set_limit,
        },
        {
                .name = "reload",
                .operands = "",
                .summary = "read the configuration again",
                .details = "Broker and provisioner do so together, or not at all; what is wrong is said.",
                .examples = "  pmbrokerctl reload\n",
                .run = verb_reload,
        },
        {
                .name = "regions",
                .operands = "",
                .columns = region_columns,
                .summary = "persistent memory, and what is on it",
                .details = "Each region, and behind it its namespaces. ADDRESS is what Region= and, of a "
                           "region\n"
                           "without labels, Adopt= take; UUID is what Adopt= takes otherwise.",
                .examples = "  pmbrokerctl regions\n"
                            "  pmbrokerctl regions --json | jq '.regions[] | select(.namespace == null)'\n",
                .run = verb_regions,
        },
        {
                .name = "provision",
                .operands = "",
                .takes = TAKES_STORE | TAKES_APPLY,
                .summary = "what a store on persistent memory needs, or make it",
                .details = "Each step for each store of Type=fsdax or kmem: what exists, what would be "
                           "done, and\n"
                           "what is refused and why. With --apply it is done; a second time there is "
                           "nothing left "
                           "to do.",
                .examples = "  pmbrokerctl provision\n"
                            "  pmbrokerctl provision --store pmem0 --apply\n",
                .run = verb_provision,
        },
        {
                .name = "deprovision",
                .operands = "STORE",
                .operands_min = 1,
                .operands_max = 1,
                .takes = TAKES_FORCE,
                .summary = "take a store on persistent memory down again",
                .details =
                        "Its file system and, if the store made it, its namespace are removed, after being\n"
                        "overwritten with Scrub=release; memory of a NUMA node becomes a dax device again.\n"
                        "Refused while the store holds pools, unless --force revokes them. The next start\n"
                        "makes the store again if it is still in the configuration.",
                .examples = "  pmbrokerctl deprovision pmem0\n",
                .run = verb_deprovision,
        },
        {
                .name = "check",
                .operands = "",
                .takes = TAKES_CONFIG | TAKES_ROOT,
                .local = true,
                .local_why = "it looks at this machine; run it there",
                .columns = check_columns,
                .summary = "what is wrong with this machine or its configuration",
                .details = "The socket, the configuration, stores, tenants, the kernel and its settings, "
                           "limits,\n"
                           "systemd; for each finding what can be done. The exit status is 1 when something "
                           "fails.",
                .examples = "  pmbrokerctl check\n"
                            "  pmbrokerctl check --quiet || echo broken\n"
                            "  pmbrokerctl check --json | jq '.findings[] | select(.result != \"ok\")'\n",
                .run = verb_check,
        },
        {
                .name = "top",
                .operands = "",
                .takes = TAKES_INTERVAL | TAKES_COUNT | TAKES_SORT,
                .summary = "stores, tenants and pools, again and again",
                .details =
                        "On a terminal: q ends it, s changes the order, r reverses it, space asks at once.\n"
                        "Otherwise one screen is printed, or --count of them.",
                .examples = "  pmbrokerctl top\n"
                            "  pmbrokerctl top --sort used --interval 5\n"
                            "  pmbrokerctl top --count 1 | head -20\n",
                .run = verb_top,
        },
        {
                .name = "monitor",
                .operands = "",
                .takes = TAKES_COUNT,
                .summary = "what happens, as it happens",
                .details = "Pools that are made, resized, revoked and released, refusals, what "
                           "administrators do: a\n"
                           "line each, or with --json an object on a line each. The same is in the journal.",
                .examples = "  pmbrokerctl monitor\n"
                            "  pmbrokerctl monitor --json | jq 'select(.event == \"request-refused\")'\n",
                .run = verb_monitor,
        },
        {
                .name = "metrics",
                .operands = "",
                .summary = "figures for Prometheus",
                .details =
                        "In the OpenMetrics text format; pmbroker-metrics.socket serves the same over HTTP.",
                .examples = "  pmbrokerctl metrics | grep pool_bytes\n",
                .run = verb_metrics,
        },
        {
                .name = "bridge",
                .operands = "",
                .local = true,
                .local_why = "it is the far side of that itself",
                .summary = "the far side of --host",
                .details = "Packets of the protocol over standard input and output, each after its length "
                           "(32 bits, big\n"
                           "endian). No descriptor comes through.",
                .examples = "  pmbrokerctl --host root@db7 list\n",
                .run = verb_bridge,
        },
};

const size_t n_verbs = ELEMENTSOF(verbs);
