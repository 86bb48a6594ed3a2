/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Who has how many orders under way, and whose turn it is. An order that hangs counts until it ends, so that
 * an account whose orders all hang waits for itself and nobody else waits for it.
 */

#include <stdint.h>

#include "base/list.h"

#define ACCOUNT_RUNNING_MAX 2 /* orders of one account under way */

typedef struct Account {
        uint64_t id;
        uint32_t running;
        List waiting; /* of orders */
        List account_link;
} Account;

/* Find it, or make it. -ENOMEM. */
int account_get(List *accounts, uint64_t id, Account **ret);
/* Frees it if it has no order left. */
void account_put(Account *account);

/* The one whose turn it is: an order of it waits and may be started. NULL: there is none. */
Account *account_next(List *accounts);
