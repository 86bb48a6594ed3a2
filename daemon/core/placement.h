/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * In which store a pool is made when the client names none: of the available ones that its tenant may use,
 * the one with the most free bytes first; among equals the one configured first.
 */

#include "base/list.h"
#include "core/store.h"
#include "core/tenant.h"

/* The candidate that comes after `previous` (NULL: the first), or NULL. Nothing may be charged in
 * between. */
Store *placement_next(const List *stores, const Tenant *tenant, const Store *previous);
