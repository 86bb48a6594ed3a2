/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Public: whose memory a SIGBUS is of. The handler of the signal looks the address up in the registry and calls
 * the application's, or what was installed before. All that it reads is either constant while it is
 * installed, or atomic: it takes no lock.
 */

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "client/pool.h"
#include "client/registry.h"

typedef int Handler(const struct pmb_fault *fault, void *userdata);

/* What belongs together is read together. Never freed, as a handler may be reading it, but used again for the same
 * two. */
typedef struct Told {
        Handler *handler;
        void *userdata;
        struct Told *older;
} Told;

static pthread_mutex_t change_lock = PTHREAD_MUTEX_INITIALIZER;
static bool installed;
static struct sigaction before; /* what was there, does not change while ours is installed */
static Told *_Atomic told;
static Told *all_told;

/* Whether the kernel has raised it, because of the address that it names. */
static bool is_fault(const siginfo_t *si)
{
        return si->si_code == BUS_ADRERR || si->si_code == BUS_OBJERR || si->si_code == BUS_MCEERR_AR ||
               si->si_code == BUS_MCEERR_AO;
}

/* Whether the application has dealt with it. */
static bool tell(const siginfo_t *si)
{
        const Told *t = atomic_load(&told);
        struct pmb_pool *pool;
        struct pmb_fault fault;
        bool broken;

        if (!t || !is_fault(si))
                return false;
        pool = registry_find_in_handler(si->si_addr);
        if (!pool)
                return false;
        broken = si->si_code == BUS_MCEERR_AR || si->si_code == BUS_MCEERR_AO;
        fault = (struct pmb_fault){
                .reason = broken ? PMB_FAULT_BROKEN : PMB_FAULT_GONE,
                .pool = pool,
                .id = pool->id,
                .offset = (uint64_t)((const uint8_t *)si->si_addr - pool->mapping.base),
                .length = broken ? UINT64_C(1) << si->si_addr_lsb : 0,
                .address = si->si_addr,
        };
        return t->handler(&fault, t->userdata) == 0;
}

/* As if ours were not there. */
static void pass_on(int sig, siginfo_t *si, void *context)
{
        struct sigaction action = before;

        if (action.sa_flags & SA_SIGINFO) {
                action.sa_sigaction(sig, si, context);
                return;
        }
        if (action.sa_handler == SIG_IGN && !is_fault(si))
                return;
        if (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN) {
                action.sa_handler(sig);
                return;
        }
        /* An access that is repeated ends the process now, as one that is ignored does; what somebody has sent
         * has to be sent again. It is blocked until we return. */
        action = (struct sigaction){.sa_handler = SIG_DFL};
        (void)sigaction(sig, &action, NULL);
        if (!is_fault(si) || si->si_code == BUS_MCEERR_AO)
                (void)raise(sig);
}

static void on_sigbus(int sig, siginfo_t *si, void *context)
{
        int saved = errno;

        if (!tell(si))
                pass_on(sig, si, context);
        errno = saved;
}

static bool is_handler(const struct sigaction *action)
{
        return action->sa_flags & SA_SIGINFO ||
               (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN);
}

static int install(void)
{
        struct sigaction action = {.sa_sigaction = on_sigbus,
                                 .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART},
                         now;

        if (sigaction(SIGBUS, NULL, &now) < 0)
                return -errno;
        /* Ours; or somebody's who came later and may pass on to us: with him behind us they would go in circles. */
        if (installed && is_handler(&now))
                return 0;
        before = now;
        /* Whoever is called in the end finds blocked what he has asked for. */
        action.sa_mask = before.sa_mask;
        action.sa_flags |= before.sa_flags & SA_NODEFER;
        if (sigaction(SIGBUS, &action, NULL) < 0)
                return -errno;
        installed = true;
        return 0;
}

/* Somebody who came later calls us, or not: that stays as it is, and we only pass on. */
static int uninstall(void)
{
        struct sigaction now;

        if (sigaction(SIGBUS, NULL, &now) < 0)
                return -errno;
        if (!(now.sa_flags & SA_SIGINFO) || now.sa_sigaction != on_sigbus)
                return 0;
        if (sigaction(SIGBUS, &before, NULL) < 0)
                return -errno;
        installed = false;
        return 0;
}

static Told *get_told(Handler *handler, void *userdata)
{
        Told *t;

        for (t = all_told; t; t = t->older)
                if (t->handler == handler && t->userdata == userdata)
                        return t;
        t = malloc(sizeof(*t));
        if (t) {
                *t = (Told){.handler = handler, .userdata = userdata, .older = all_told};
                all_told = t;
        }
        return t;
}

static int change(Handler *handler, void *userdata)
{
        Told *t;
        int r;

        if (!handler) {
                atomic_store(&told, NULL);
                return installed ? uninstall() : 0;
        }
        t = get_told(handler, userdata);
        if (!t)
                return -ENOMEM;
        r = install();
        if (r >= 0)
                atomic_store(&told, t);
        return r;
}

int pmb_set_fault_handler(Handler *handler, void *userdata)
{
        int r;

        (void)pthread_mutex_lock(&change_lock);
        r = change(handler, userdata);
        (void)pthread_mutex_unlock(&change_lock);
        return r;
}
