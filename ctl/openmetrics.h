/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* The OpenMetrics text format, 1.0. Pure. */

#include <stdio.h>

#include "ctl/overview.h"

#define OPENMETRICS_CONTENT_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

/* With OVERVIEW_METRICS; the pools are not needed. */
void openmetrics_write(const Overview *overview, FILE *out);
