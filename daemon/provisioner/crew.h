/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The workers: orders come in, are started when it is their account's turn (account.h), and are left behind
 * when they are past their time.
 */

#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/cleanup.h"
#include "provisioner/work.h"

#define CREW_BUSY_MAX 64  /* orders under way in all, but for those that hang */
#define CREW_HUNG_MAX 512 /* orders that hang; beyond, new ones wait */
#define CREW_IDLE_MAX 4   /* workers kept for the next order: forking one takes longer than most orders */

typedef struct Crew Crew;

/* The order has been carried out, or could not be: the last that is heard of it. */
typedef void (*CrewDoneFn)(void *userdata, const WorkResult *result);
/* It is past its time; the worker is left behind and `done` will be called whenever it ends. */
typedef void (*CrewLateFn)(void *userdata);

int crew_new(sd_event *event, WorkFn work, Crew **ret);
/* Forgets all orders without calling anybody; workers under way finish by themselves. NULL-safe, returns
 * NULL. */
Crew *crew_free(Crew *crew);
DEFINE_CLEANUP(Crew, crew_free);

/*
 * Have an order carried out, now or when the account's turn comes. It may wait for `usec`, then it is done()
 * with -ETIMEDOUT, and run for `usec`, then it is late(). `fds` (-EBADF where there is none) must stay open
 * until done(). Neither function is called before this one has returned; after an error never.
 */
int crew_submit(Crew *crew, uint64_t account, const WorkOrder *order, const int fds[static WORK_FDS_MAX],
        uint64_t usec, CrewDoneFn done, CrewLateFn late, void *userdata);

/* Orders that hang at this moment. */
uint32_t crew_hung(const Crew *crew);
