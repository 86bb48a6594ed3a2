/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The drop-in that VERB --permanent writes: CONFIG.d/zz-VERB-NAME.conf, sorted behind what administrators write by hand,
 * with nothing in it but the section of one tenant or store, and the settings of that verb. Replaced as a whole, so that
 * whoever reads the configuration meanwhile finds the old one or the new one.
 */

#include <stddef.h>

#include "base/cleanup.h"

#define DROPIN_KEYS_MAX 8

typedef struct DropinKind {
        const char *verb;
        const char *section; /* "Tenant" */
        const char *keys[DROPIN_KEYS_MAX];
} DropinKind;

extern const DropinKind dropin_set_limit;
extern const DropinKind dropin_drain;

typedef struct Dropin Dropin;

/* The one of this tenant or store, and what is in it (nothing if it does not exist). 0, or a negative errno; -EINVAL for a
 * name that nothing can have. */
int dropin_open(const char *config, const DropinKind *kind, const char *name, Dropin **ret);
Dropin *dropin_free(Dropin *dropin);
DEFINE_CLEANUP(Dropin, dropin_free);

const char *dropin_path(const Dropin *dropin);
/* "Bytes" and its value; "": without. 0, -ENOENT (not a key of that verb) or -ENOMEM. */
int dropin_set(Dropin *dropin, const char *key, const char *value);
/* Write it, or remove it when nothing is left in it. */
int dropin_write(const Dropin *dropin);
/* As it was when it was opened. */
int dropin_restore(const Dropin *dropin);
