/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What pmbrokerctl can do: one function per verb, each in its verb-*.c. They return an exit status (exit.h). */

#include "ctl/arguments.h"
#include "ctl/table.h"

int verb_status(const Arguments *arguments);
int verb_list(const Arguments *arguments);
int verb_show(const Arguments *arguments);
int verb_stores(const Arguments *arguments);
int verb_tenants(const Arguments *arguments);
int verb_resize(const Arguments *arguments);
int verb_revoke(const Arguments *arguments);
int verb_regions(const Arguments *arguments);
int verb_provision(const Arguments *arguments);
int verb_deprovision(const Arguments *arguments);
int verb_sessions(const Arguments *arguments);
int verb_create(const Arguments *arguments);
int verb_drain(const Arguments *arguments);
int verb_set_limit(const Arguments *arguments);
int verb_reload(const Arguments *arguments);
int verb_check(const Arguments *arguments);
int verb_top(const Arguments *arguments);
int verb_monitor(const Arguments *arguments);
int verb_metrics(const Arguments *arguments);
int verb_bridge(const Arguments *arguments);

/* For --help; those of list and show are in pool-table.h. */
extern const TableColumn store_columns[];
extern const TableColumn tenant_columns[];
extern const TableColumn region_columns[];
extern const TableColumn session_columns[];
extern const TableColumn check_columns[];
