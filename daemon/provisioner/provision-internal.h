/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* For provision*.c and deprovision.c alone: a run, and what it says. */

#include <stdbool.h>

#include "provisioner/blk.h"
#include "provisioner/nd.h"
#include "provisioner/provision.h"

typedef struct Provision {
        const StoreConfig *config;
        const ProvisionContext *context;
        ProvisionHow how;
        NdSnapshot snapshot;
        JobStepKind kind; /* of the step that is worked on */
        int percent;      /* erased, as it was said last */
} Provision;

int provision_begin(Provision *p);
void provision_end(Provision *p);

/* "preparing: TEXT" from now on. */
void provision_at(Provision *p, JobStepKind kind, const char *text);
void provision_say(Provision *p, JobStepState state, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
/* REFUSED with this error, which is returned. */
int provision_refuse(Provision *p, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* FAILED: what was tried, and ": strerror". */
int provision_fail(Provision *p, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

bool provision_is_plan(const Provision *p);

/* The namespace that is the store's, NULL if there is none. -EEXIST: several. */
int provision_find(Provision *p, const NdNamespace **ret);
/* What is on it. */
int provision_look(Provision *p, const NdNamespace *ns, BlkProbe *ret);
int provision_erase(Provision *p, const NdNamespace *ns);
/* What is there is not ours. */
int provision_refuse_content(Provision *p, const NdNamespace *ns, const BlkProbe *probe);
/* Whoever has it open has more of a right to it. */
bool provision_is_busy(const NdNamespace *ns);
int provision_refuse_busy(Provision *p, const NdNamespace *ns);

/* The store's namespace, found or made, in the mode that its kind takes. *ret NULL: it would be made. */
int provision_get_namespace(Provision *p, const NdNamespace **ret);
/* Destroyed if it was made for the store; what was adopted stays, as `text` says. */
int provision_give_back(Provision *p, const NdNamespace *ns, const char *text);

/* Everything, for a store of that kind; and the way back. */
int fsdax_provision(Provision *p);
int fsdax_deprovision(Provision *p);
int kmem_provision(Provision *p);
int kmem_deprovision(Provision *p);
