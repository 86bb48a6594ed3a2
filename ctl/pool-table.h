/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Pools as rows of a table: the same columns for list and show. */

#include "ctl/table.h"
#include "ctl/user.h"
#include "proto/pmbroker.pb-c.h"

extern const TableColumn pool_columns[];

/* The table borrows from the row and from the users. EXIT_DONE or EXIT_REFUSED (out of memory). */
int table_add_pool(Table *table, const Pmbroker__V1__PoolRow *row, Users *users);
