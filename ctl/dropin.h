/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The drop-in that set-limit --permanent writes: CONFIG.d/zz-set-limit-TENANT.conf, sorted behind what administrators
 * write by hand, with nothing in it but a [Tenant] section and limits. Replaced as a whole, so that whoever reads the
 * configuration meanwhile finds the old one or the new one.
 */

#include <stddef.h>

#include "base/cleanup.h"

typedef struct Dropin Dropin;

/* The one of this tenant, and what is in it (nothing if it does not exist). 0, or a negative errno; -EINVAL for a name
 * that no tenant can have. */
int dropin_open(const char *config, const char *tenant, Dropin **ret);
Dropin *dropin_free(Dropin *dropin);
DEFINE_CLEANUP(Dropin, dropin_free);

const char *dropin_path(const Dropin *dropin);
/* "Bytes" and its value; "": without. 0 or -ENOMEM. */
int dropin_set(Dropin *dropin, const char *key, const char *value);
/* Write it, or remove it when nothing is left in it. */
int dropin_write(const Dropin *dropin);
/* As it was when it was opened. */
int dropin_restore(const Dropin *dropin);
