/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "provisioner/account.h"

int account_get(List *accounts, uint64_t id, Account **ret)
{
        Account *account;

        list_for_each (it, accounts) {
                account = list_entry(it, Account, account_link);
                if (account->id == id) {
                        *ret = account;
                        return 0;
                }
        }
        account = calloc(1, sizeof(*account));
        if (!account)
                return -ENOMEM;
        account->id = id;
        list_init(&account->waiting);
        list_append(accounts, &account->account_link);
        *ret = account;
        return 0;
}

void account_put(Account *account)
{
        if (account->running > 0 || !list_is_empty(&account->waiting))
                return;
        list_unlink(&account->account_link);
        free(account);
}

Account *account_next(List *accounts)
{
        list_for_each (it, accounts) {
                Account *account = list_entry(it, Account, account_link);
                if (account->running >= ACCOUNT_RUNNING_MAX || list_is_empty(&account->waiting))
                        continue;
                /* To the end of the line. */
                list_unlink(&account->account_link);
                list_append(accounts, &account->account_link);
                return account;
        }
        return NULL;
}
